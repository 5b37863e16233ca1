//! A decoded event in EventFlow's own envelope, whatever its vendor sent: every decimal a string of its exact digits.

use crate::model::time_of_micros;
use contracts::avro::datum::Event;
use time::format_description::well_known::Rfc3339;

/// On one line.
pub(crate) fn compact(event: &Event<'_>) -> String {
    let fields = fields(event).map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.join(","))
}

/// One field a line, for an editor.
pub(crate) fn lines(event: &Event<'_>) -> String {
    let fields = fields(event).map(|(name, value)| format!("  \"{name}\": {value}"));
    format!("{{\n{}\n}}\n", fields.join(",\n"))
}

/// Names and JSON of the envelope's fields, in their usual order.
fn fields(event: &Event<'_>) -> [(&'static str, String); 4] {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let payload = if event.payload_json.is_empty() {
        "{}"
    } else {
        &event.payload_json
    };
    [
        ("event_id", quoted(event.event_id)),
        ("event_type", quoted(event.event_type)),
        (
            "timestamp",
            quoted(&rfc3339(event.occurred_at_micros).unwrap_or_default()),
        ),
        ("payload", payload.to_owned()),
    ]
}

/// Microseconds since the epoch as people write a time; none outside the calendar.
pub(crate) fn rfc3339(micros: i64) -> Option<String> {
    time_of_micros(micros)?.format(&Rfc3339).ok()
}
