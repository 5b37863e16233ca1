//! Bytes and texts of strangers as people can read them.

use crate::context::Context;
use crate::envelope;
use crate::model::Payload;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runtime::text::is_unsafe;
use std::time::Duration;

/// Longest wait for the registry; then the bytes are shown as they are.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Renders a value. `bytes` is how many it had: a null value that had some was dropped by retention.
pub(super) async fn payload(
    context: &Context,
    value: Option<&[u8]>,
    bytes: Option<i32>,
) -> Payload {
    let Some(value) = value else {
        return bytes.map_or(Payload::Null, |bytes| Payload::Dropped { bytes });
    };
    if let Ok(Ok(Ok(framed))) = tokio::time::timeout(REGISTRY_TIMEOUT, context.decode(value)).await
    {
        return Payload::Avro {
            schema_id: framed.schema_id,
            text: envelope::compact(&framed.event),
        };
    }
    match printable(value) {
        Some(text) => Payload::Text {
            text: text.to_owned(),
        },
        None => Payload::Binary {
            base64: STANDARD.encode(value),
        },
    }
}

/// The text that bytes are. A text with NUL is no text to a terminal or a browser.
pub(super) fn printable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// The text that bytes are, or base64 that says so.
pub(super) fn readable(bytes: &[u8]) -> String {
    printable(bytes).map_or_else(
        || format!("base64:{}", STANDARD.encode(bytes)),
        str::to_owned,
    )
}

/// A header of `dead_letters.headers`.
pub(super) fn header_text(value: &serde_json::Value) -> Option<String> {
    match (
        value.as_str(),
        value.get("base64").and_then(serde_json::Value::as_str),
    ) {
        (Some(text), _) => Some(text.to_owned()),
        (None, Some(base64)) => Some(format!("base64:{base64}")),
        (None, None) => None,
    }
}

/// Bounds a text and takes out what would drive a terminal or turn the reading direction. Markup stays as it is: whoever writes HTML
/// escapes it.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most * 4));
    for (place, character) in text.chars().enumerate() {
        if place == most {
            shown.push('…');
            break;
        }
        shown.push(if is_unsafe(character) {
            '\u{fffd}'
        } else {
            character
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escapes_and_direction_marks_are_taken_out_and_long_texts_end() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{202e}c\u{0}\n", 100),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(plain("äöü€", 3), "äöü…");
        assert_eq!(plain("äöü", 3), "äöü");
    }
}
