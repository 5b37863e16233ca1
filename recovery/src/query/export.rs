//! Dead letters as JSON lines, verbatim: evidence, or a hand-over to whoever can fix their cause.

use super::list::MAX_PAGE;
use super::{known, select};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DeadLetterState, Resolution, Selection, Time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sqlx::FromRow;

/// Most bytes of values and headers in one page.
const PAGE_BYTES: i64 = 16 << 20;

/// One line. What only means something in this index (edits, replays) is left out.
#[derive(FromRow, Serialize)]
struct ExportedDeadLetter {
    /// Where the next page begins
    #[serde(skip)]
    id: i64,
    /// The Kafka cluster its positions are of; none before a role has connected
    cluster: Option<String>,
    origin: (String, i32, i64),
    origin_group: String,
    state: DeadLetterState,
    stage: String,
    code: String,
    source: String,
    event_type: String,
    family: String,
    dlq: (i32, i64),
    consumer_group: String,
    failed: Option<(String, i32, i64)>,
    detail: String,
    disposition: String,
    attempts: i32,
    replay_count: i32,
    #[serde(with = "time::serde::rfc3339")]
    first_failed_at: Time,
    #[serde(with = "time::serde::rfc3339")]
    last_failed_at: Time,
    #[serde(with = "time::serde::rfc3339::option")]
    received_at: Option<Time>,
    service_version: Option<String>,
    event_id: Option<String>,
    entity_key: Option<String>,
    trace_id: Option<String>,
    #[serde(serialize_with = "text_or_base64")]
    key: Option<Vec<u8>>,
    #[serde(serialize_with = "text_or_base64")]
    value: Option<Vec<u8>>,
    /// Without the value: retention dropped it
    value_bytes: Option<i32>,
    #[serde(serialize_with = "hex_text")]
    value_sha256: Option<Vec<u8>>,
    #[sqlx(try_from = "String")]
    headers: RawJson,
    resolution: Option<Resolution>,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<Time>,
    reason: Option<String>,
}

const LINES: &str = "SELECT d.id, (SELECT cluster_id FROM kafka_cluster) AS cluster,
       (d.origin_topic, d.origin_partition, d.origin_offset) AS origin, d.origin_group, d.state, g.stage, g.code, g.source, g.event_type,
       d.family, (d.dlq_partition, d.dlq_offset) AS dlq, d.consumer_group,
       CASE WHEN d.failed_topic IS NOT NULL THEN (d.failed_topic, d.failed_partition, d.failed_offset) END AS failed,
       d.detail, d.disposition, d.attempts, d.replay_count, d.first_failed_at, d.last_failed_at, d.received_at, d.service_version,
       d.event_id, d.entity_key, d.trace_id, d.key, d.value, d.value_bytes, d.value_sha256, d.headers::text AS headers, d.resolution,
       d.settled_at, d.reason
FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = ANY($1) ORDER BY d.id DESC";

/// JSON that is written as it was read.
#[derive(Serialize)]
#[serde(transparent)]
struct RawJson(Box<RawValue>);

impl TryFrom<String> for RawJson {
    type Error = serde_json::Error;

    fn try_from(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }
}

/// `{"text": ...}` where the bytes are UTF-8, else `{"base64": ...}`.
#[expect(clippy::ref_option, reason = "serde gives a reference")]
fn text_or_base64<S: Serializer>(
    bytes: &Option<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(bytes) = bytes else {
        return serializer.serialize_none();
    };
    let mut map = serializer.serialize_map(Some(1))?;
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry("text", text)?,
        Err(_) => map.serialize_entry("base64", &STANDARD.encode(bytes))?,
    }
    map.end()
}

#[expect(clippy::ref_option, reason = "serde gives a reference")]
fn hex_text<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(hex::encode).serialize(serializer)
}

/// One page of a selection as JSON texts, one a dead letter: value, key and headers verbatim. And where the next page begins, if there is
/// one.
///
/// # Errors
/// [`RecoveryError`]
pub async fn export(
    context: &Context,
    selection: &Selection,
    before: Option<i64>,
) -> Result<(Vec<String>, Option<i64>), RecoveryError> {
    known::check(context, selection).await?;
    let limit = selection.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let mut connection = context.pool.acquire().await?;
    let ids = select::page(&mut connection, selection, before, limit)
        .await?
        .ids;
    // As many as fit, and one in any case.
    let fitting: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM (SELECT id, sum(kept_bytes) OVER (ORDER BY id DESC) - kept_bytes AS before_it
                         FROM dead_letters WHERE id = ANY($1)) d WHERE before_it < $2 ORDER BY id DESC",
    )
    .bind(&ids)
    .bind(PAGE_BYTES)
    .fetch_all(&mut *connection)
    .await?;
    let letters: Vec<ExportedDeadLetter> = sqlx::query_as(LINES)
        .bind(&fitting)
        .fetch_all(&mut *connection)
        .await?;
    let unwritable = |error: serde_json::Error| {
        RecoveryError::Unavailable(format!("a dead letter cannot be written as JSON: {error}"))
    };
    let lines = letters.iter().map(serde_json::to_string);
    let lines = lines.collect::<Result<_, _>>().map_err(unwritable)?;
    let more = ids.len() == limit as usize || fitting.len() < ids.len();
    let last = letters.last().map(|letter| letter.id);
    Ok((lines, last.filter(|_| more)))
}
