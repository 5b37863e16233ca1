//! A row as JSON, for people: one that would be stored and one that is, in the same form.

use crate::persistence_views::StoredEvent;
use store::row::{EventRow, RawPosition};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is shown of a row.
pub(super) struct RowFields<'a> {
    source: &'a str,
    event_id: &'a str,
    event_type: &'a str,
    contract: Option<&'a str>,
    entity_key: Option<&'a str>,
    occurred_at: OffsetDateTime,
    received_at: Option<OffsetDateTime>,
    amount: Option<&'a str>,
    currency: Option<&'a str>,
    payload: &'a str,
    raw: &'a RawPosition,
}

impl<'a> RowFields<'a> {
    pub(super) fn of(row: &'a EventRow<'_>) -> Self {
        let event = &row.event;
        Self {
            source: row.source,
            event_id: event.event_id,
            event_type: event.event_type,
            contract: row.contract,
            entity_key: row.entity_key,
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            amount: event.amount.as_deref(),
            currency: event.currency.as_deref(),
            payload: &event.payload_json,
            raw: &row.raw,
        }
    }

    pub(super) fn of_stored(row: &'a StoredEvent) -> Self {
        Self {
            source: &row.source,
            event_id: &row.event_id,
            event_type: &row.event_type,
            contract: row.contract.as_deref(),
            entity_key: row.entity_key.as_deref(),
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            amount: row.amount.as_deref(),
            currency: row.currency.as_deref(),
            payload: &row.payload,
            raw: &row.raw,
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let time = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        serde_json::json!({
            "source": self.source,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "contract": self.contract,
            "entity_key": self.entity_key,
            "occurred_at": time(self.occurred_at),
            "received_at": self.received_at.map(time),
            "amount": self.amount,
            "currency": self.currency,
            "payload": serde_json::from_str::<serde_json::Value>(self.payload).unwrap_or_default(),
            "raw": self.raw.to_string(),
        })
    }
}
