//! Why did this signature fail? A refused request is tried as if its sender had made one of the known mistakes, with the source's own
//! secrets; the one that fits is named.
//!
//! The work is bounded: so many bytes are signed at most ([`WORK_BYTES`]). A mistake is certain only when a signature fits whole: nothing here
//! tells whoever guesses signatures how close they are.

mod bodies;
mod json_forms;
mod mistake;
mod trials;

pub use mistake::Mistake;

use super::signature::{SignatureError, SignedRequest};
use super::source::{Source, Sources};
use http::HeaderMap;
use std::io::Read;
use trials::Trials;

/// Most bytes that are signed for one diagnosis.
const WORK_BYTES: usize = 64 << 20;
/// Largest body whose forms of JSON are tried, in bytes.
const REWRITTEN_BYTES: usize = 1 << 20;

/// A request, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'r> {
    /// Its method in capitals
    pub method: &'r str,
    /// Its query as received, without the question mark
    pub query: Option<&'r str>,
    /// Its headers
    pub headers: &'r HeaderMap,
    /// Its body as received; `None` where nobody kept it: then only headers are looked at
    pub body: Option<&'r [u8]>,
    /// When it was received, in unix seconds
    pub received_at: i64,
}

/// What a diagnosis comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whether it is genuine
    pub verdict: Verdict,
    /// The mistake that fits
    pub found: Option<Found>,
    /// What was tried and did not fit, in words
    pub tried: Vec<&'static str>,
    /// The request was too large to try everything
    pub is_cut_short: bool,
}

/// Whether a request is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// By this secret
    Genuine {
        /// Id of the secret
        secret_id: String,
    },
    /// It is not
    Refused(SignatureError),
    /// The body is not known, and nothing is wrong with the headers' shape
    Unknown,
}

/// A mistake, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which
    pub mistake: Mistake,
    /// What shows it; never a secret
    pub detail: String,
    /// A signature fits. Otherwise it only looks so
    pub is_certain: bool,
}

/// Looks for the mistake in a request of `source`. `all` are the sources whose secrets are tried.
#[must_use]
pub fn diagnose(source: &Source, all: &Sources, evidence: &Evidence<'_>) -> Diagnosis {
    let mut trials = Trials::new(source, all, evidence, WORK_BYTES);
    let verdict = verdict(source, evidence);
    let found = match &verdict {
        Verdict::Genuine { .. } => None,
        Verdict::Refused(SignatureError::TooOld | SignatureError::InFuture) => trials.skew(),
        Verdict::Refused(SignatureError::SecretExpired) => Some(Found {
            mistake: Mistake::SecretExpired,
            detail: format!(
                "the secret {:?} fits, and is past its not_after",
                expired(source, evidence).unwrap_or_default()
            ),
            is_certain: true,
        }),
        Verdict::Refused(
            SignatureError::MissingHeader
            | SignatureError::DuplicateHeader
            | SignatureError::MalformedHeader
            | SignatureError::Mismatch,
        ) => trials.mistake(),
        Verdict::Unknown => trials.mistake_by_shape(),
    };
    Diagnosis {
        verdict,
        found,
        tried: trials.tried,
        is_cut_short: trials.is_cut_short,
    }
}

fn verdict(source: &Source, evidence: &Evidence<'_>) -> Verdict {
    let Some(body) = evidence.body else {
        return match source.verifier.precheck(evidence.headers) {
            Ok(_) => Verdict::Unknown,
            Err(error) => Verdict::Refused(error),
        };
    };
    let verified = source
        .verifier
        .verify(&evidence.with(evidence.headers, body), evidence.received_at);
    match verified {
        Ok(verdict) => Verdict::Genuine {
            secret_id: verdict.secret_id.to_owned(),
        },
        Err(error) => Verdict::Refused(error),
    }
}

/// The secret past its `not_after` that fits.
fn expired<'s>(source: &'s Source, evidence: &Evidence<'_>) -> Option<&'s str> {
    let request = evidence.with(evidence.headers, evidence.body?);
    source
        .verifier
        .expired_secret(&request, evidence.received_at)
}

impl<'r> Evidence<'r> {
    /// The request with other headers and another body.
    fn with<'o>(&self, headers: &'o HeaderMap, body: &'o [u8]) -> SignedRequest<'o>
    where
        'r: 'o,
    {
        SignedRequest {
            method: self.method,
            query: self.query,
            headers,
            body,
        }
    }
}

/// The plain bytes of gzip; `None` for anything else, and for more than is tried.
fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    if !body.starts_with(b"\x1f\x8b") {
        return None;
    }
    let mut plain = Vec::new();
    let most = REWRITTEN_BYTES as u64;
    let reader = flate2::read::GzDecoder::new(body);
    let read = reader.take(most + 1).read_to_end(&mut plain).ok()?;
    (read as u64 <= most).then_some(plain)
}
