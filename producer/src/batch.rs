//! The events of a batch. What cannot be one is refused as a whole: the same signed bytes mean one event at the source's own URL, and must
//! never mean many here.

use crate::error::ApiError;
use axum::http::HeaderValue;
use serde_json::value::RawValue;

/// Content types of one JSON object a line.
const NDJSON: [&str; 4] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
];

/// By its content type NDJSON, whose blank lines mean nothing, or else a JSON array. Every part is a whole JSON object, and the body's own
/// bytes.
///
/// # Errors
/// [`ApiError::MalformedBatch`], or [`ApiError::EmptyBody`] without any event.
pub(crate) fn split<'a>(
    content_type: Option<&HeaderValue>,
    body: &'a [u8],
) -> Result<Vec<&'a [u8]>, ApiError> {
    let parts: Vec<&RawValue> = if is_ndjson(content_type) {
        lines(body)?
    } else {
        serde_json::from_slice(body).map_err(|error| ApiError::MalformedBatch(error.to_string()))?
    };
    if parts.is_empty() {
        return Err(ApiError::EmptyBody);
    }
    let is_object = |part: &&RawValue| part.get().starts_with('{');
    if let Some(at) = parts.iter().position(|part| !is_object(part)) {
        let problem = format!("event {} is no JSON object", at + 1);
        return Err(ApiError::MalformedBatch(problem));
    }
    Ok(parts
        .into_iter()
        .map(|part| part.get().as_bytes())
        .collect())
}

fn is_ndjson(content_type: Option<&HeaderValue>) -> bool {
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = text.split(';').next().unwrap_or_default().trim();
    NDJSON
        .iter()
        .any(|name| media_type.eq_ignore_ascii_case(name))
}

fn lines(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let ends = memchr::memchr_iter(b'\n', body).chain([body.len()]);
    let lines = ends.scan(0, |start, end| {
        let line = &body[*start..end];
        *start = end + 1;
        Some(line)
    });
    lines
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(number, line)| {
            serde_json::from_slice(line)
                .map_err(|error| ApiError::MalformedBatch(format!("line {}: {error}", number + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JSON: &str = "application/json";

    fn parts(content_type: Option<&'static str>, body: &[u8]) -> Result<Vec<String>, ApiError> {
        let content_type = content_type.map(HeaderValue::from_static);
        let parts = split(content_type.as_ref(), body)?;
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
        Ok(parts.into_iter().map(text).collect())
    }

    #[test]
    fn the_content_type_says_how_a_batch_is_read() {
        let array = br#" [ {"a":1} ,{ } ] "#;
        let lines = b"{\"a\":1}\r\n\n  \t\n{ }\n";
        let expected = vec![r#"{"a":1}"#.to_owned(), "{ }".to_owned()];
        for kind in [None, Some(JSON), Some("text/plain"), Some("application/x")] {
            assert_eq!(parts(kind, array).unwrap(), expected, "{kind:?}");
            assert_eq!(parts(kind, lines).unwrap_err().code(), "malformed_batch");
        }
        for kind in NDJSON.into_iter().chain([
            "application/x-ndjson; charset=utf-8",
            "Application/X-NDJSON ;q=1",
        ]) {
            assert_eq!(parts(Some(kind), lines).unwrap(), expected, "{kind}");
            assert_eq!(
                parts(Some(kind), array).unwrap_err().code(),
                "malformed_batch"
            );
        }
    }

    #[test]
    fn what_is_no_batch_is_refused_as_a_whole() {
        let pretty =
            b"{\n  \"event_id\": \"e-1\",\n  \"payload\": {\n    \"payment_id\": \"p-1\"\n  }\n}\n";
        for kind in [JSON, "application/x-ndjson"] {
            for body in [
                &pretty[..],
                b"\xef\xbb\xbf[{}]",
                b"\xef\xbb\xbf{}\n{}",
                b"{}{}",
                b"{}\n{}{}",
                b"[{},{}",
                b"[{},]",
                b"[{},1]",
                b"[{}]\n{}",
                b"{},\n{}",
                b"1\n2",
                b"null",
                b"\"a\"",
                b"{\"a\":\"\xff\"}\n{}",
                b"{\"a\":\xff}",
                b"event",
            ] {
                let error = parts(Some(kind), body).unwrap_err();
                let shown = String::from_utf8_lossy(body);
                assert_eq!(error.code(), "malformed_batch", "{kind}: {shown}");
            }
        }
        assert_eq!(parts(Some(JSON), b"[ ]").unwrap_err().code(), "empty_body");
        let blank = parts(Some("application/jsonl"), b" \n\n").unwrap_err();
        assert_eq!(blank.code(), "empty_body");
    }

    proptest! {
        /// What is one event at the source's own URL is never several here, whatever the content type claims.
        #[test]
        fn one_object_is_never_torn_apart(text in any::<String>(), number in any::<i64>(), pretty in any::<bool>()) {
            let event = serde_json::json!({"a": text, "n": [number, {"b": [text]}]});
            let body = if pretty { serde_json::to_vec_pretty(&event) } else { serde_json::to_vec(&event) }.unwrap();
            for kind in [None, Some(JSON), Some("application/x-ndjson")] {
                if let Ok(parts) = parts(kind, &body) {
                    prop_assert_eq!(parts, vec![String::from_utf8(body.clone()).unwrap()]);
                }
            }
        }
    }
}
