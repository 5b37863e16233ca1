//! Refused requests in the API: one, their groups, and why a signature failed.

use super::Time;
use serde::{Deserialize, Serialize};

/// Which refused requests: all conditions must hold; several values of one are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectionFilter {
    /// Sources
    pub source: Vec<String>,
    /// Codes of answers
    pub code: Vec<String>,
    /// The client's address, as shown
    pub peer: Option<String>,
    /// Refused at this time or later
    pub since: Option<Time>,
    /// Refused before this time
    pub until: Option<Time>,
    /// At most so many
    pub limit: Option<u32>,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct RefusedRequestRow {
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    pub source: String,
    pub code: String,
    pub status: i32,
    /// What the sender was told
    pub detail: String,
    pub scheme: Option<String>,
    pub peer: String,
    pub user_agent: Option<String>,
    /// The signed time less ours: negative is the past
    pub skew_seconds: Option<i64>,
    pub body_bytes: Option<i64>,
    pub body_sha256: Option<String>,
    pub trace_id: Option<String>,
    /// Further ones of the same source and code that the edge left out before it
    pub left_out: i64,
    /// Headers and body are there
    pub captured: bool,
}

/// A page of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RejectionPage {
    pub rejections: Vec<RefusedRequestRow>,
}

/// Everything about one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RejectionDetail {
    #[serde(flatten)]
    pub rejection: RefusedRequestRow,
    /// Headers that the scheme reads, and how often each was there
    pub parts: Vec<contracts::webhook::refused::SignaturePart>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub captured_until: Option<Time>,
    pub method: Option<String>,
    pub query: Option<String>,
    /// Where they were captured
    pub headers: Vec<(String, String)>,
    /// The body as text, where it was captured and is text
    pub body: Option<String>,
    /// Otherwise in base64
    pub body_base64: Option<String>,
}

/// What refused requests have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct RejectionGroup {
    pub source: String,
    pub code: String,
    /// Those that are kept
    pub kept: i64,
    /// Those and the ones that were left out
    pub refused: i64,
    /// Different addresses among those that are kept
    pub peers: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen: Time,
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: Time,
    /// The latest, or the latest that was captured
    pub sample: i64,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RejectionExplanation {
    pub rejection: i64,
    pub source: String,
    pub code: String,
    /// What the sender was told
    pub detail: String,
    /// The known mistake that fits, by its code
    pub mistake: Option<String>,
    pub meaning: Option<String>,
    /// What shows it
    pub shown_by: Option<String>,
    /// A signature fits; otherwise it only looks so
    pub certain: bool,
    /// What was tried and did not fit
    pub tried: Vec<String>,
    /// Why not everything was tried
    pub limits: Vec<String>,
    /// What to do
    pub next: Vec<String>,
}
