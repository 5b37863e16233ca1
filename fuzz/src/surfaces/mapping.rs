//! A source's mapping, on the raw record alone.

use super::request;
use crate::examples::requests;
use contracts::event::Mappings;
use contracts::webhook::body::Parts;
use contracts::webhook::preset;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// Of every preset, each with the name of its preset.
static MAPPINGS: LazyLock<Mappings> = LazyLock::new(|| {
    let source = |name: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\npreset = \"{name}\"\npublic_url = \"https://a.example/\"\n"
        )
    };
    let file: String = preset::names().into_iter().map(source).collect();
    Mappings::from_toml(&file).unwrap_or_else(|error| panic!("the presets: {error}"))
});

pub(super) fn run(data: &[u8]) {
    let (pairs, body) = request(data);
    let headers: Vec<(String, Option<Vec<u8>>)> = pairs
        .into_iter()
        .map(|(name, value)| (name, Some(value)))
        .collect();
    let headers = headers.as_slice();
    let Ok(json) = MAPPINGS.open(&headers, body) else {
        return;
    };
    let found = MAPPINGS.find(headers, &json);
    let again = MAPPINGS.find(headers, &json);
    match (found, again) {
        (Ok(one), Ok(other)) => {
            assert_eq!((&one.id, &one.event_type), (&other.id, &other.event_type));
            let payload: Result<&RawValue, _> = serde_json::from_str(one.payload);
            assert!(payload.is_ok(), "{}", one.payload);
        }
        (Err(one), Err(other)) => assert_eq!(one.code.code(), other.code.code()),
        (one, other) => panic!("{one:?} is not {other:?}"),
    }
    if let Some(form) = headers
        .iter()
        .find(|(name, _)| name == "ef.source")
        .and_then(|(_, name)| MAPPINGS.body(std::str::from_utf8(name.as_deref()?).ok()?))
        && form.has_items()
        && let Parts::Events(events) = form.parts(&json, 100)
    {
        assert!(events.iter().all(|event| event.len() <= json.len()));
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let example = |(name, headers, body): (String, String, Vec<u8>)| {
        let mut data = format!(
            "ef.source: {name}\nef.received_at: 1767323045000000\nwebhook-id: msg_1\n{}\n\n",
            headers.trim()
        )
        .into_bytes();
        data.extend(body);
        data
    };
    requests().into_iter().map(example).collect()
}
