//! The row persistence would write.

use crate::replay::runner::letter::Letter;
use contracts::avro::datum::Event;
use contracts::kafka::headers as h;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// As persistence makes it of a record.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) schema_version: String,
    pub(crate) entity_key: Option<String>,
    pub(crate) occurred_at: OffsetDateTime,
    pub(crate) received_at: Option<OffsetDateTime>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) payload: String,
    pub(crate) content_hash: [u8; 32],
    pub(crate) secret_id: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) raw: (i32, i64),
}

fn time_of(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}

impl Row {
    /// # Errors
    /// What cannot be a row: a raw record that is not named, or a time no calendar has.
    pub(crate) fn new(
        letter: &Letter,
        datum: &[u8],
        event: &Event<'_>,
    ) -> Result<Self, &'static str> {
        let raw = letter.raw_text();
        let raw = raw
            .split_once(':')
            .and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
        Ok(Self {
            source: letter.header(h::SOURCE).unwrap_or(event.source).to_owned(),
            event_id: event.event_id.to_owned(),
            event_type: event.event_type.to_owned(),
            schema_version: event.schema_version.to_string(),
            entity_key: letter
                .key
                .as_deref()
                .and_then(|key| std::str::from_utf8(key).ok())
                .map(str::to_owned),
            occurred_at: time_of(event.occurred_at_micros)
                .ok_or("its time is beyond the calendar")?,
            received_at: letter
                .header(h::RECEIVED_AT)
                .and_then(|text| text.parse().ok())
                .and_then(time_of),
            amount: event.amount.as_deref().map(str::to_owned),
            currency: event.currency.as_deref().map(str::to_owned),
            payload: event.payload_json.clone(),
            content_hash: Sha256::digest(datum).into(),
            secret_id: letter.header(h::SECRET_ID).map(str::to_owned),
            trace_id: letter
                .header(h::TRACEPARENT)
                .and_then(runtime::traceparent::trace_id)
                .map(str::to_owned),
            raw: raw.ok_or("its ef.raw header names no raw record")?,
        })
    }

    /// One value for (source, event id), whatever is in them.
    pub(crate) fn identity(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.source.len().to_be_bytes());
        digest.update(&self.source);
        digest.update(&self.event_id);
        digest.finalize().into()
    }

    /// For people.
    pub(crate) fn json(&self) -> serde_json::Value {
        let time = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        serde_json::json!({
            "source": self.source,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "schema_version": self.schema_version,
            "entity_key": self.entity_key,
            "occurred_at": time(self.occurred_at),
            "received_at": self.received_at.map(time),
            "amount": self.amount,
            "currency": self.currency,
            "payload": serde_json::from_str::<serde_json::Value>(&self.payload).unwrap_or_default(),
            "raw": format!("{}:{}", self.raw.0, self.raw.1),
        })
    }
}
