//! A request that the edge refused, as it stands in `events.rejections.v1`: who, why, and what was there. A sample for people: nothing
//! counts it as an event, and no event's fate depends on it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

/// The source of a request to a URL that no source has. The path itself is the stranger's text, and is not kept.
pub const UNKNOWN_SOURCE: &str = "unknown";
/// Longest user agent that is kept, in characters.
pub const USER_AGENT_CHARACTERS: usize = 200;
/// Longest query that is captured, in bytes; a longer one is left out.
pub const QUERY_BYTES: usize = 4 << 10;

/// What a source lets be captured of its refused requests, beside the facts: headers and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureRejected {
    /// Largest body that is captured, in bytes. A larger one is not captured in part: half a body cannot be verified
    pub bytes: usize,
    /// How long the index keeps what was captured, in hours
    pub hours: u32,
}

impl CaptureRejected {
    /// Most bytes that may be configured: what is captured must fit into a record beside the facts.
    pub const MOST_BYTES: usize = 256 << 10;
    /// Most hours that may be configured.
    pub const MOST_HOURS: u32 = 72;

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// Says which number, and its range.
    pub fn check(&self) -> Result<(), String> {
        let (bytes, hours) = (Self::MOST_BYTES, Self::MOST_HOURS);
        if self.bytes > bytes {
            return Err(format!("capture_rejected: bytes must be at most {bytes}"));
        }
        if !(1..=hours).contains(&self.hours) {
            return Err(format!(
                "capture_rejected: hours must be from 1 to {hours}; without capture_rejected, nothing is captured"
            ));
        }
        Ok(())
    }
}

/// A refused request. Holds no secret: no credential, no cookie, and headers and body only where the source says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// When it was refused
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// A configured source, `ingest`, or [`UNKNOWN_SOURCE`]
    pub source: String,
    /// The code of the answer
    pub code: String,
    /// The answer's HTTP status
    pub status: u16,
    /// The answer's detail: what the sender was told
    pub detail: String,
    /// Name of the preset, or `custom`
    pub scheme: Option<String>,
    /// The client's address; of IPv6 its network
    pub peer: String,
    /// As sent, at most [`USER_AGENT_CHARACTERS`]
    pub user_agent: Option<String>,
    /// The signed time less ours, where the scheme has one and it could be read: negative is the past
    pub skew_seconds: Option<i64>,
    /// The headers that the scheme reads, and how often each was there
    pub parts: Vec<SignaturePart>,
    /// Bytes of the body, where it was read
    pub body_bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal
    pub body_sha256: Option<String>,
    /// The trace id, where the request had a `traceparent`
    pub trace_id: Option<String>,
    /// Refused requests of this source and code that this edge process did not write since the one before: over the rate, or dropped
    pub left_out: u64,
    /// Headers and body, where the source has `capture_rejected`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Captured>,
}

/// A header that the scheme reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignaturePart {
    /// Its name in lower case
    pub header: String,
    /// How often the request had it
    pub times: u32,
}

/// What was captured of a request, so that its signature can be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// When it is to be forgotten
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// Its method
    pub method: String,
    /// Its query as received, at most [`QUERY_BYTES`]
    pub query: Option<String>,
    /// Name and value as sent, but no credential; what is not visible ASCII is replaced
    pub headers: Vec<(String, String)>,
    /// As received; `None` where it was not read, or is larger than the source lets be captured
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub body: Option<Vec<u8>>,
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn to_base64<S: Serializer>(body: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = body.as_ref().map(|body| STANDARD.encode(body));
    text.serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let decode = |text: String| STANDARD.decode(text).map_err(serde::de::Error::custom);
    text.map(decode).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn a_refused_request_is_the_same_after_the_topic() {
        let captured = Captured {
            until: OffsetDateTime::from_unix_timestamp(1_800_086_400).unwrap(),
            method: "POST".to_owned(),
            query: Some("a=%20".to_owned()),
            headers: vec![("x-a".to_owned(), "1".to_owned())],
            body: Some(b"\xff{}\n".to_vec()),
        };
        let mut refused = RefusedRequest {
            time: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
            source: "acme".to_owned(),
            code: "signature_mismatch".to_owned(),
            status: 401,
            detail: "the signature does not match".to_owned(),
            scheme: Some("github".to_owned()),
            peer: "192.0.2.1".to_owned(),
            user_agent: None,
            skew_seconds: Some(-301),
            parts: vec![SignaturePart {
                header: "x-hub-signature-256".to_owned(),
                times: 1,
            }],
            body_bytes: Some(4),
            body_sha256: None,
            trace_id: None,
            left_out: 7,
            captured: Some(captured),
        };
        for _ in 0..2 {
            let text = serde_json::to_string(&refused).unwrap();
            assert_eq!(
                serde_json::from_str::<RefusedRequest>(&text).unwrap(),
                refused
            );
            refused.captured = None;
        }
        let text = serde_json::to_string(&refused).unwrap();
        assert!(!text.contains("captured"), "{text}");
    }

    #[test]
    fn a_limit_that_cannot_be_meant_is_refused() {
        for (bytes, hours, allowed) in [
            (0, 1, true),
            (256 << 10, 72, true),
            ((256 << 10) + 1, 1, false),
            (1, 0, false),
            (1, 73, false),
        ] {
            let capture = CaptureRejected { bytes, hours };
            assert_eq!(capture.check().is_ok(), allowed, "{capture:?}");
        }
    }
}
