//! Record headers: the only place a name is spelled.

/// Configured name of the source.
pub const SOURCE: &str = "ef.source";
/// Event id, found by the source's locator.
pub const EVENT_ID: &str = "ef.event_id";
/// When the edge received it: decimal text, microseconds since the epoch.
pub const RECEIVED_AT: &str = "ef.received_at";
/// Name of the signature scheme that verified it.
pub const SCHEME: &str = "ef.scheme";
/// Id of the secret that verified it.
pub const SECRET_ID: &str = "ef.secret_id";
/// Coordinates of the raw record this was made from: `partition:offset`.
pub const RAW: &str = "ef.raw";
/// For an event of a batch: `sha256:` and the digest of the whole signed body.
pub const BATCH: &str = "ef.batch";
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

/// Headers that still apply to a record made from another one. The signature headers do not: they sign the raw bytes.
pub const CARRIED: &[&str] = &[
    SOURCE,
    EVENT_ID,
    RECEIVED_AT,
    SCHEME,
    SECRET_ID,
    TRACEPARENT,
    REPLAY_ID,
    REPLAY_COUNT,
    EDITED_BY,
    ORIGINAL_HASH,
];

/// Partition and offset, as the value of [`RAW`] names them.
#[must_use]
pub fn raw_position(value: &[u8]) -> Option<(i32, i64)> {
    let (partition, offset) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
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
