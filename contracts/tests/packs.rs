//! Every pack: its examples are judged as their names say, and each of its contracts is reached by a request of one of its sources.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::avro::datum::Decoder;
use contracts::event::{Catalog, Contract, Envelope, Mappings};
use contracts::pack::{self, Pack};
use contracts::webhook::source::Sources;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn packs() -> impl Iterator<Item = Pack> {
    pack::names()
        .into_iter()
        .map(|name| pack::named(name).unwrap())
}

fn folder(pack: &Pack) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packs")
        .join(pack.name)
}

/// The pack's own contracts.
fn own<'c>(pack: &Pack, catalog: &'c Catalog) -> Vec<&'c Contract> {
    let files = pack.contracts.iter();
    files
        .map(|files| {
            let label = format!("{}.v{}", files.name, files.version);
            catalog.contract(&label).unwrap()
        })
        .collect()
}

/// Names and bytes of the examples of a contract.
fn examples(pack: &Pack, contract: &Contract, kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder(pack)
        .join("events")
        .join(&contract.name)
        .join(format!("v{}", contract.version))
        .join("examples")
        .join(kind);
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

/// A payload in EventFlow's own envelope, which names the contract.
fn enveloped(contract: &Contract, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        r#"{{"event_id":"e1","event_type":"{}","timestamp":"2026-01-02T03:04:05Z","payload":"#,
        contract.label
    );
    [head.as_bytes(), payload, b"}"].concat()
}

#[test]
fn there_are_two_packs_and_nothing_of_another_name() {
    assert_eq!(pack::names(), ["commerce", "film"]);
    assert!(pack::named("Film").is_none() && pack::named("").is_none());
}

#[test]
fn packs_stand_beside_each_other_and_the_built_in_contracts() {
    let all = packs().flat_map(|pack| pack.contracts);
    let catalog = Catalog::compile(Catalog::builtin_files().into_iter().chain(all)).unwrap();
    let ids: BTreeSet<i32> = catalog
        .iter()
        .map(|contract| contract.schema_id.unwrap())
        .collect();
    assert_eq!(ids.len(), catalog.iter().count());
    let sources = |pack: Pack| {
        let sources = Sources::described(pack.sources_toml).unwrap();
        sources
            .iter()
            .map(|source| source.name.clone())
            .collect::<Vec<_>>()
    };
    let names: Vec<String> = packs().flat_map(sources).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn every_valid_example_passes_and_is_read_back_whole() {
    for pack in packs() {
        let catalog = pack.catalog().unwrap();
        for contract in own(&pack, &catalog) {
            let found = examples(&pack, contract, "valid");
            assert!(found.len() >= 2, "{}", contract.label);
            for (name, payload) in found {
                let body = enveloped(contract, &payload);
                let envelope = Envelope::own(&body).unwrap();
                let event = catalog.validate(envelope);
                let event =
                    event.unwrap_or_else(|fault| panic!("{} {name}: {fault:?}", contract.label));
                let mut datum = Vec::new();
                event.encode(&mut datum);
                let decoder = Decoder::new(&contract.record_avsc).unwrap();
                let read = decoder.decode(&datum).unwrap();
                let sent: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                let row: serde_json::Value = serde_json::from_str(&read.payload_json).unwrap();
                let names = |value: &serde_json::Value| {
                    let members = value.as_object().unwrap().iter();
                    members
                        .filter(|(_, value)| !value.is_null())
                        .map(|(name, _)| name.clone())
                        .collect::<BTreeSet<_>>()
                };
                assert_eq!(names(&row), names(&sent), "{} {name}", contract.label);
            }
        }
    }
}

#[test]
fn every_invalid_example_fails_with_the_code_that_its_name_begins_with() {
    let mut wrong = Vec::new();
    for pack in packs() {
        let catalog = pack.catalog().unwrap();
        for contract in own(&pack, &catalog) {
            let found = examples(&pack, contract, "invalid");
            assert!(found.len() >= 2, "{}", contract.label);
            for (name, payload) in found {
                let body = enveloped(contract, &payload);
                let envelope = Envelope::own(&body).unwrap();
                let fault = catalog.validate(envelope).map(drop).err();
                let code = fault.as_ref().map(|fault| fault.code.code());
                if code != name.split("--").next() {
                    wrong.push(format!("{} {name}: {fault:?}", contract.label));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_contract_is_reached_by_a_request_of_a_source_and_no_event_is_slow() {
    let secret = Secret::new("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3");
    for pack in packs() {
        let catalog = pack.catalog().unwrap();
        let mappings = Mappings::from_toml(pack.sources_toml).unwrap();
        let sources = Sources::from_toml(pack.sources_toml, &|reference| {
            assert_eq!(reference, format!("env:{}", pack::SECRET_VARIABLE));
            Ok(secret.clone())
        })
        .unwrap();
        assert!((2..=6).contains(&sources.iter().count()), "{}", pack.name);
        for source in sources.iter() {
            assert!(source.name.starts_with(&format!("{}-", pack.name)));
            source.verifier.can_sign().unwrap();
            assert!(pack.requests.iter().any(|one| one.source == source.name));
        }
        let mut reached = BTreeSet::new();
        for request in &pack.requests {
            let mut headers = vec![
                ("ef.source", Some(request.source)),
                ("ef.received_at", Some("1767323045000000")),
                // Made when a request is signed.
                ("webhook-id", Some("msg_1")),
            ];
            headers.extend(request.headers.lines().map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name, Some(value))
            }));
            let seen = format!("{} {}", request.source, request.name);
            let envelope = mappings
                .find(headers.as_slice(), request.body.as_bytes())
                .unwrap_or_else(|fault| panic!("{seen}: {fault:?}"));
            assert_eq!(envelope.event_type, request.name, "{seen}");
            assert!(envelope.entity.is_some(), "{seen}: no entity key");
            let event = catalog.validate(envelope);
            let event = event.unwrap_or_else(|fault| panic!("{seen}: {fault:?}"));
            reached.insert(event.contract().label.clone());
        }
        let own = own(&pack, &catalog);
        let wanted: BTreeSet<String> = own.iter().map(|one| one.label.clone()).collect();
        assert_eq!(reached, wanted, "{}", pack.name);
        for contract in own {
            assert!(contract.slow_keywords().is_empty(), "{}", contract.label);
        }
    }
}

#[test]
fn what_is_compiled_in_is_the_folder() {
    for pack in packs() {
        let files = pack.files();
        let mut seen = 0;
        let mut folders = vec![folder(&pack)];
        while let Some(one) = folders.pop() {
            for entry in std::fs::read_dir(one).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder(&pack)).unwrap().to_str().unwrap();
                let (_, content) = files.iter().find(|(file, _)| *file == name).unwrap();
                assert_eq!(*content, std::fs::read(&path).unwrap(), "{name}");
                seen += 1;
            }
        }
        assert_eq!(files.len(), seen);
        assert!(pack.readme.starts_with("# "));
    }
}
