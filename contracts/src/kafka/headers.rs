//! Record headers: the only place a name is spelled.

/// Configured name of the source.
pub const SOURCE: &str = "ef.source";
/// Event id, found by the source's mapping.
pub const EVENT_ID: &str = "ef.event_id";
/// When the edge received it: decimal text, microseconds since the epoch.
pub const RECEIVED_AT: &str = "ef.received_at";
/// Name of the signature scheme that verified it.
pub const SCHEME: &str = "ef.scheme";
/// Id of the secret that verified it.
pub const SECRET_ID: &str = "ef.secret_id";
/// The query of the request, without the question mark, where the scheme signs it.
pub const QUERY: &str = "ef.query";
/// What the signature does not cover, so that whoever has the signed body may have written it: `event_id`, `event_type`,
/// `entity_key`, `time`, separated by commas. Absent where all of them are signed.
pub const UNSIGNED: &str = "ef.unsigned";
/// Of an event whose id is not signed: the signed body, by which a copy under another id is known; see [`SignedBody`]. Absent where a signed time
/// tells a repeat, where nothing of the body is signed, and where different events may have the same body (`resend_hours = 0`).
pub const SIGNED_BODY: &str = "ef.signed_body";
/// What is not proven of a webhook that was accepted: `stale` or `unverified` ([`crate::webhook::unproven`]). Absent where all is.
pub const UNPROVEN: &str = "ef.unproven";
/// With [`UNPROVEN`]: the code with which verification failed at the edge.
pub const SIGNATURE_ERROR: &str = "ef.signature_error";
/// Of a replay: who said that an unverified webhook is genuine.
pub const GENUINE_BY: &str = "ef.genuine_by";
/// The raw record this was made from: `partition:offset:topic id`, see [`RawCoordinates`].
pub const RAW: &str = "ef.raw";
/// For an event of a batch: `sha256:` and the digest of the whole signed body.
pub const BATCH: &str = "ef.batch";
/// The contract that a validated event satisfies, with its version: `payment.authorized.v1`.
pub const CONTRACT: &str = "ef.contract";
/// How many headers of the request are not in the raw record, because they did not fit beside the others. Absent where all did.
pub const LEFT_OUT: &str = "ef.headers_left_out";
/// Of a record without value in the validated topic: the rule of its source that filters the event.
pub const FILTERED: &str = "ef.filtered";
/// With [`FILTERED`]: the event's id, as the mapping found it.
pub const FILTERED_ID: &str = "ef.filtered.event_id";
/// With [`FILTERED`]: the event's type.
pub const FILTERED_TYPE: &str = "ef.filtered.event_type";
/// Content type as received.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Replay job this record comes from.
pub const REPLAY_ID: &str = "ef.replay_id";
/// How often it was replayed.
pub const REPLAY_COUNT: &str = "ef.replay_count";
/// Who edited it before the replay.
pub const EDITED_BY: &str = "ef.edited_by";
/// Of an edited replay: `sha256:` and the digest of the value before the edit.
pub const ORIGINAL_HASH: &str = "ef.original_hash";

/// Of a record that a revalidation sends: the contract that the event's row has. The event is stored, so that this copy of it is never
/// dead-lettered, whatever a stage thinks of it.
pub const REVALIDATES: &str = "ef.revalidates";

/// Whether a header still applies to a record made from another one. The signature headers do not: they sign the raw bytes.
#[must_use]
pub fn is_carried(name: &str) -> bool {
    // Compared by length first: every record is asked for each of its headers.
    matches!(
        name,
        SOURCE
            | EVENT_ID
            | RECEIVED_AT
            | SCHEME
            | SECRET_ID
            | UNSIGNED
            | SIGNED_BODY
            | UNPROVEN
            | SIGNATURE_ERROR
            | GENUINE_BY
            | CONTRACT
            | TRACEPARENT
            | REPLAY_ID
            | REPLAY_COUNT
            | EDITED_BY
            | ORIGINAL_HASH
            | REVALIDATES
    )
}

/// Where a raw record is, as the value of [`RAW`] names it: `partition:offset:topic id`, or `partition:offset` where the broker gives topics
/// no ids (Kafka before 2.8) and in records of version 0.1.
///
/// A topic that is deleted and created again counts its offsets from 0 again, but has another id (KIP-516).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawCoordinates<'a> {
    /// As Kafka's tools print it; `None`: not known
    pub topic_id: Option<&'a str>,
    /// Not negative
    pub partition: i32,
    /// Not negative
    pub offset: i64,
}

impl<'a> RawCoordinates<'a> {
    /// Reads a header's value; `None` when it is something else.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(value).ok()?.splitn(3, ':');
        let (partition, offset) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let topic_id = parts.next();
        (partition >= 0 && offset >= 0 && topic_id.is_none_or(is_topic_id)).then_some(Self {
            topic_id,
            partition,
            offset,
        })
    }
}

impl std::fmt::Display for RawCoordinates<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)?;
        self.topic_id.map_or(Ok(()), |id| write!(f, ":{id}"))
    }
}

/// A signed body, as the value of [`SIGNED_BODY`] names it: `until:item:digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBody {
    /// Until when another delivery of it is a copy: the end of the time in which its vendor sends again. Microseconds since the epoch
    pub until_micros: i64,
    /// Which event of the body, from 0 on
    pub item: i32,
    /// SHA-256 of the signed bytes
    pub digest: [u8; 32],
}

impl SignedBody {
    /// Reads a header's value; `None` when it is something else.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.splitn(3, ':');
        let (until_micros, item) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mut digest = [0; 32];
        hex::decode_to_slice(parts.next()?, &mut digest).ok()?;
        (item >= 0).then_some(Self {
            until_micros,
            item,
            digest,
        })
    }
}

impl std::fmt::Display for SignedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            until_micros,
            item,
            digest,
        } = self;
        write!(f, "{until_micros}:{item}:{}", hex::encode(digest))
    }
}

/// 16 bytes in base64url.
fn is_topic_id(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() == 22 && text.bytes().all(digit)
}

/// Headers of a dead letter.
pub mod dlq {
    /// Topic the record failed in (KIP-1191).
    pub const ERRORS_TOPIC: &str = "__dlq.errors.topic";
    /// Its partition there.
    pub const ERRORS_PARTITION: &str = "__dlq.errors.partition";
    /// Its offset there.
    pub const ERRORS_OFFSET: &str = "__dlq.errors.offset";
    /// Consumer group that failed.
    pub const ERRORS_GROUP: &str = "__dlq.errors.group";
    /// How often it was tried.
    pub const ERRORS_DELIVERY_COUNT: &str = "__dlq.errors.delivery.count";
    /// Why, for people.
    pub const ERRORS_MESSAGE: &str = "__dlq.errors.message";
    /// Stage that failed.
    pub const STAGE: &str = "ef.dlq.stage";
    /// Consumer group that failed.
    pub const GROUP: &str = "ef.dlq.group";
    /// Stable code.
    pub const CODE: &str = "ef.dlq.code";
    /// Why, for people.
    pub const DETAIL: &str = "ef.dlq.detail";
    /// What kind of fault.
    pub const DISPOSITION: &str = "ef.dlq.disposition";
    /// How often it was tried.
    pub const ATTEMPTS: &str = "ef.dlq.attempts";
    /// First failure: decimal text, microseconds since the epoch.
    pub const FIRST_FAILED_AT: &str = "ef.dlq.first_failed_at";
    /// This failure: decimal text, microseconds since the epoch.
    pub const LAST_FAILED_AT: &str = "ef.dlq.last_failed_at";
    /// Version of the service that dead-lettered it.
    pub const SERVICE_VERSION: &str = "ef.dlq.service_version";

    /// All of them.
    pub const ALL: &[&str] = &[
        ERRORS_TOPIC,
        ERRORS_PARTITION,
        ERRORS_OFFSET,
        ERRORS_GROUP,
        ERRORS_DELIVERY_COUNT,
        ERRORS_MESSAGE,
        STAGE,
        GROUP,
        CODE,
        DETAIL,
        DISPOSITION,
        ATTEMPTS,
        FIRST_FAILED_AT,
        LAST_FAILED_AT,
        SERVICE_VERSION,
    ];
}

#[cfg(test)]
mod tests {
    use super::{RawCoordinates, SignedBody};

    #[test]
    fn a_signed_body_is_read_as_it_is_written_and_nothing_else_is() {
        let body = SignedBody {
            until_micros: 1_700_000_000_000_000,
            item: 3,
            digest: [0xab; 32],
        };
        assert_eq!(SignedBody::parse(&body.to_string()), Some(body));
        let hex = "ab".repeat(32);
        for text in [
            "",
            "1",
            "1:2",
            "1:2:",
            "1:2:ab",
            &format!("a:2:{hex}"),
            &format!("1:-2:{hex}"),
            &format!("1:2:{hex}0"),
            &format!("1:2:{hex}:3"),
        ] {
            assert_eq!(SignedBody::parse(text), None, "{text}");
        }
    }

    #[test]
    fn raw_coordinates_are_read_as_they_are_written_and_nothing_else_is() {
        for (text, topic_id) in [
            ("3:5", None),
            ("0:9223372036854775807", None),
            ("3:5:pWt5kqO-QF6tq_Yk0xyzAA", Some("pWt5kqO-QF6tq_Yk0xyzAA")),
        ] {
            let parsed = RawCoordinates::parse(text.as_bytes()).unwrap();
            assert_eq!((&*parsed.to_string(), parsed.topic_id), (text, topic_id));
        }
        for text in [
            "",
            "3",
            "3:",
            ":5",
            "a:5",
            "-1:5",
            "3:-5",
            "3:5:",
            "3:5:short",
            "3:5:pWt5kqO-QF6tq_Yk0xyzA:",
            "3:5:pWt5kqO-QF6tq_Yk0xyzAA:1",
            "3:5:pWt5kqO@QF6tq_Yk0xyzAA",
            "3 :5",
        ] {
            assert_eq!(RawCoordinates::parse(text.as_bytes()), None, "{text}");
        }
    }
}
