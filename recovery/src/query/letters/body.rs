//! A value as people read it.

use crate::context::Context;
use crate::model::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::avro::datum::Event;
use contracts::avro::framing;
use std::time::Duration;

/// Longest a person waits for the registry; then the bytes are shown as they are.
const PATIENCE: Duration = Duration::from_secs(2);

impl Context {
    /// Renders a value. `bytes` is how many it had: a null value that had some was dropped by the index's limits.
    pub(crate) async fn body(&self, value: Option<&[u8]>, bytes: Option<i32>) -> Body {
        let Some(value) = value else {
            return bytes.map_or(Body::Null, |bytes| Body::Dropped { bytes });
        };
        if let Ok((schema_id, datum)) = framing::unframe(value)
            && let Some(text) = self.envelope_of(schema_id, datum).await
        {
            return Body::Avro { schema_id, text };
        }
        match std::str::from_utf8(value) {
            // A text with NUL is no text to a terminal or a browser.
            Ok(text) if !text.contains('\0') => Body::Text {
                text: text.to_owned(),
            },
            Ok(_) | Err(_) => Body::Binary {
                base64: STANDARD.encode(value),
            },
        }
    }

    async fn envelope_of(&self, schema_id: i32, datum: &[u8]) -> Option<String> {
        let ask = async { self.registry.lock().await.decoder(schema_id).await.ok() };
        let decoder = tokio::time::timeout(PATIENCE, ask).await.ok()??;
        envelope(&decoder.decode(datum).ok()?)
    }
}

/// The envelope an event was validated from, as JSON a person can edit.
fn envelope(event: &Event<'_>) -> Option<String> {
    use std::fmt::Write as _;
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(
        i128::from(event.occurred_at_micros) * 1000,
    )
    .ok()?;
    let at = at
        .format(&time::format_description::well_known::Rfc3339)
        .ok()?;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    // A number in the contract, a text where a contract says so.
    let version = event.schema_version.parse::<i64>().map_or_else(
        |_| text(&event.schema_version),
        |version| version.to_string(),
    );
    let payload = if event.payload_json.is_empty() {
        "{}"
    } else {
        &event.payload_json
    };
    let mut out = String::new();
    write!(
        out,
        "{{\"event_id\":{},\"event_type\":{},\"schema_version\":{version},\"source\":{},\"timestamp\":{},\"payload\":{payload}}}",
        text(event.event_id),
        text(event.event_type),
        text(event.source),
        text(&at),
    )
    .ok()?;
    Some(out)
}
