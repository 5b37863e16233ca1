//! What two planted bugs do to an event ([`runtime::faults`]).

use contracts::avro::datum::Event;
use serde_json::{Map, Value};

/// The amount in whole cents, by way of a float: 19.99 becomes 19.98.
pub(crate) fn through_a_float(event: &mut Event<'_>) {
    let cents = |text: &str| Some((text.parse::<f64>().ok()? * 100.0).trunc() / 100.0);
    if let Some(amount) = event.amount.as_deref().and_then(cents) {
        event.amount = Some(amount.to_string().into());
    }
}

/// The payload, without what a struct of a payment would not have.
pub(crate) fn known_fields_only(event: &mut Event<'_>) {
    const KNOWN: [&str; 4] = ["payment_id", "amount", "currency", "customer_id"];
    if let Ok(mut payload) = serde_json::from_str::<Map<String, Value>>(&event.payload_json) {
        payload.retain(|name, _| KNOWN.contains(&name.as_str()));
        event.payload_json = Value::Object(payload).to_string();
    }
}
