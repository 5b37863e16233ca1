//! Every preset's example becomes events: with an id, a type and a time, of its own contract or of the generic one.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::event::{Catalog, Mappings, Unknown};
use contracts::webhook::body::Parts;
use contracts::webhook::preset;
use contracts::webhook::source::Sources;

type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Verified, and no event that can be read: what is in them needs a reader of its own.
const UNREADABLE: [&str; 1] = ["braintree"];

fn example(name: &str) -> (Headers, Vec<u8>) {
    let folder = format!("{}/sources/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut headers: Headers = vec![
        ("ef.source".to_owned(), Some(b"vendor".to_vec())),
        (
            "ef.received_at".to_owned(),
            Some(b"1767323045000000".to_vec()),
        ),
        // Made when a request is signed, so no example has them.
        ("webhook-id".to_owned(), Some(b"msg_1".to_vec())),
        (
            "x-signature-timestamp".to_owned(),
            Some(b"1767323045".to_vec()),
        ),
        (
            "twitch-eventsub-message-timestamp".to_owned(),
            Some(b"2026-01-15T12:00:00Z".to_vec()),
        ),
    ];
    let text = std::fs::read_to_string(format!("{folder}/headers.txt")).unwrap_or_default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let value = value.trim().as_bytes().to_vec();
        headers.push((name.trim().to_ascii_lowercase(), Some(value)));
    }
    let body = ["json", "form", "xml", "txt"]
        .iter()
        .find_map(|kind| std::fs::read(format!("{folder}/body.{kind}")).ok());
    (headers, body.unwrap_or_else(|| panic!("{name} has a body")))
}

/// The events of an example, one line each: id, type, entity, contract.
fn events(name: &str) -> Result<Vec<String>, String> {
    let toml = format!(
        "[[source]]\nname = \"vendor\"\npreset = \"{name}\"\npublic_url = \"https://hooks.example.com/api/webhooks/vendor\"\n"
    );
    let mappings = Mappings::from_toml(&toml).map_err(|error| error.to_string())?;
    let form = mappings.body("vendor").unwrap();
    let (mut headers, body) = example(name);
    let mut parts = vec![body.clone()];
    if form.has_items() {
        let Parts::Events(events) = form.parts(&body, 100) else {
            return Err("no items".to_owned());
        };
        parts = events.into_iter().map(<[u8]>::to_vec).collect();
        headers.push(("ef.batch".to_owned(), Some(b"sha256:0".to_vec())));
    }
    let catalog = Catalog::builtin();
    parts
        .iter()
        .map(|part| {
            let headers = headers.as_slice();
            let json = mappings
                .open(&headers, part)
                .map_err(|rejection| format!("{rejection:?}"))?;
            let envelope = mappings
                .find(headers, &json)
                .map_err(|rejection| format!("{rejection:?}"))?;
            let line = format!(
                "{} {} {:?}",
                envelope.id, envelope.event_type, envelope.entity
            );
            if envelope.unknown == Unknown::Store && envelope.filtered.is_none() {
                let event = catalog
                    .validate(envelope)
                    .map_err(|rejection| format!("{rejection:?}"))?;
                let mut datum = Vec::new();
                event.encode(&mut datum);
                assert!(!datum.is_empty());
            }
            Ok(line)
        })
        .collect()
}

#[test]
fn every_presets_example_is_read() {
    let mut failed = Vec::new();
    for name in preset::names() {
        match events(name) {
            Ok(events) if events.is_empty() => failed.push(format!("{name}: no event")),
            Ok(events) => println!("{name}: {}", events.join("; ")),
            Err(_) if UNREADABLE.contains(&name) => {}
            Err(problem) => failed.push(format!("{name}: {problem}")),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn what_a_preset_does_not_know_of_a_source_is_the_sources() {
    for name in preset::names() {
        let toml = format!(
            "[[source]]\nname = \"vendor\"\npreset = \"{name}\"\nkeep_headers = [\"x-request-id\"]\n\
             secrets = [{{ id = \"k\", from = \"env:S\" }}]\n"
        );
        let refused = Sources::from_toml(&toml, &|_| Ok(Secret::new("not a key of any kind")));
        if let Err(refused) = refused {
            let text = refused.to_string();
            assert!(!text.contains("unknown field"), "{name}: {text}");
        }
    }
}

#[test]
fn the_mappings_in_the_docs_are_those_of_the_presets() {
    let page = include_str!("../../docs/EXTEND.md");
    let (_, rest) = page.split_once("\nSix vendors, ").unwrap();
    let (_, block) = rest.split_once("```toml\n").unwrap();
    let (block, _) = block.split_once("```\n").unwrap();
    let shown: toml::Table = toml::from_str(block).unwrap();
    assert_eq!(shown.len(), 6);
    for (name, mapping) in &shown {
        let text = preset::text(name).unwrap();
        let preset: toml::Table = toml::from_str(text).unwrap();
        assert_eq!(mapping, &preset["event"], "{name}");
    }
}
