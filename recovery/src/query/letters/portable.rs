//! Dead letters as JSON lines, verbatim, out of one index and into another.

use crate::index::formats::RecordPosition;
use crate::index::row::{Label, NAME_BYTES, Row, clean, name};
use crate::model::{State, Time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::borrow::Cow;

/// Bytes: text where they are UTF-8, else base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bytes {
    Text(String),
    Base64(String),
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(
            |_| Self::Base64(STANDARD.encode(bytes)),
            |text| Self::Text(text.to_owned()),
        )
    }

    fn into_bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => STANDARD
                .decode(text)
                .map_err(|error| format!("its base64 cannot be read: {error}")),
        }
    }
}

/// A line. What only means something in the index it comes from (edits, replays) is left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// The Kafka cluster its places are of
    #[serde(default)]
    pub(super) cluster: Option<String>,
    origin: (String, i32, i64),
    #[serde(default)]
    origin_group: String,
    state: State,
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
    key: Option<Bytes>,
    value: Option<Bytes>,
    /// Without the value: it was dropped
    value_bytes: Option<i32>,
    value_sha256: Option<String>,
    headers: Vec<(String, Value)>,
    pub(super) resolution: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) settled_at: Option<Time>,
    pub(super) reason: Option<String>,
}

/// Columns of [`Line::of`], from `dead_letters d` and `groups g`.
pub(super) const COLUMNS: &str = "d.origin_topic, d.origin_partition, d.origin_offset, d.origin_group, d.state, g.stage, g.code, \
     g.source, g.event_type, d.family, d.dlq_partition, d.dlq_offset, d.consumer_group, d.failed_topic, d.failed_partition, \
     d.failed_offset, d.detail, d.disposition, d.attempts, d.replay_count, d.first_failed_at, d.last_failed_at, d.received_at, \
     d.service_version, d.event_id, d.entity_key, d.trace_id, d.key, d.value, d.value_bytes, d.value_sha256, d.headers::text, \
     d.resolution, d.settled_at, d.reason";

impl Line {
    pub(super) fn of(row: &PgRow, cluster: Option<&String>) -> Result<Self, sqlx::Error> {
        let failed = match (row.try_get(13)?, row.try_get(14)?, row.try_get(15)?) {
            (Some(topic), Some(partition), Some(offset)) => Some((topic, partition, offset)),
            _ => None,
        };
        let bytes = |index: usize| {
            Ok::<_, sqlx::Error>(row.try_get::<Option<&[u8]>, _>(index)?.map(Bytes::of))
        };
        Ok(Self {
            cluster: cluster.cloned(),
            origin: (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
            origin_group: row.try_get(3)?,
            state: State::of_word(row.try_get(4)?).unwrap_or(State::Open),
            stage: row.try_get(5)?,
            code: row.try_get(6)?,
            source: row.try_get(7)?,
            event_type: row.try_get(8)?,
            family: row.try_get(9)?,
            dlq: (row.try_get(10)?, row.try_get(11)?),
            consumer_group: row.try_get(12)?,
            failed,
            detail: row.try_get(16)?,
            disposition: row.try_get(17)?,
            attempts: row.try_get(18)?,
            replay_count: row.try_get(19)?,
            first_failed_at: row.try_get(20)?,
            last_failed_at: row.try_get(21)?,
            received_at: row.try_get(22)?,
            service_version: row.try_get(23)?,
            event_id: row.try_get(24)?,
            entity_key: row.try_get(25)?,
            trace_id: row.try_get(26)?,
            key: bytes(27)?,
            value: bytes(28)?,
            value_bytes: row.try_get(29)?,
            value_sha256: row.try_get::<Option<&[u8]>, _>(30)?.map(hex::encode),
            headers: serde_json::from_str(row.try_get(31)?).unwrap_or_default(),
            resolution: row.try_get(32)?,
            settled_at: row.try_get(33)?,
            reason: row.try_get(34)?,
        })
    }

    /// The state it has in another index: what was on its way there is open here.
    pub(super) fn settled(&self) -> Option<State> {
        match self.state {
            State::Open | State::Replaying => None,
            State::Resolved | State::Discarded => Some(self.state),
        }
    }

    /// A row like one the index makes: a file is no better than a topic. A place in another cluster than `ours` is another place: it keeps
    /// that cluster's name, and can be read and given up, but not replayed here.
    pub(super) fn into_row(mut self, ours: Option<&String>) -> Result<Row<'static>, String> {
        if self.cluster.as_ref() != ours {
            let cluster = self
                .cluster
                .take()
                .unwrap_or_else(|| "elsewhere".to_owned());
            self.origin.0 = format!("{cluster}/{}", self.origin.0);
        }
        let bound = |text: String, most| name(Cow::Owned(text), most).into_owned();
        let named = |text: String| Cow::Owned(bound(text, NAME_BYTES));
        let place = |(topic, partition, offset): (String, i32, i64)| RecordPosition {
            topic: named(topic),
            partition,
            offset,
        };
        let value = self.value.map(Bytes::into_bytes).transpose()?;
        let sha256 = match (&value, self.value_sha256) {
            (Some(value), _) => Some(Sha256::digest(value).to_vec()),
            (None, Some(text)) => Some(
                hex::decode(text)
                    .map_err(|error| format!("its value_sha256 is no hex: {error}"))?,
            ),
            (None, None) => None,
        };
        let value_bytes = value
            .as_ref()
            .map_or(self.value_bytes, |value| i32::try_from(value.len()).ok());
        let years = 0..=9999;
        if !years.contains(&self.last_failed_at.year())
            || !years.contains(&self.first_failed_at.year())
        {
            return Err("a time of it is beyond the calendar".to_owned());
        }
        Ok(Row {
            group_id: 0,
            label: Label {
                stage: bound(self.stage, 200),
                code: bound(self.code, 200),
                source: bound(self.source, 200),
                event_type: bound(self.event_type, 200),
            },
            origin: place(self.origin),
            origin_group: named(self.origin_group),
            family: named(self.family),
            dlq: self.dlq,
            consumer_group: named(self.consumer_group),
            failed: self.failed.map(place),
            detail: clean(Cow::Owned(self.detail)).into_owned().into(),
            disposition: named(self.disposition),
            attempts: self.attempts,
            replay_count: self.replay_count,
            first_failed_at: self.first_failed_at,
            last_failed_at: self.last_failed_at,
            received_at: self.received_at.filter(|at| years.contains(&at.year())),
            service_version: self.service_version.map(named),
            event_id: self.event_id.map(named),
            entity_key: self.entity_key.map(named),
            trace_id: self.trace_id.map(named),
            key: self.key.map(Bytes::into_bytes).transpose()?.map(Cow::Owned),
            value: value.map(Cow::Owned),
            value_bytes,
            value_sha256: sha256,
            headers: serde_json::to_string(&self.headers).map_err(|error| error.to_string())?,
        })
    }
}
