//! The validator on the embedded broker: what passes, what is dead-lettered and how, and what is nobody's fault.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "stage/replays.rs"]
mod replays;

use axum::http::StatusCode;
use common::{EDGE_HEADERS, Stage, authorized};
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use contracts::kafka::headers::{self, dlq};
use contracts::kafka::topics;
use runtime::admin::{OwnedRecord, TopicIdsReader};
use sandbox::broker::{BrokerFault, BrokerRequest};
use std::collections::HashMap;
use std::time::Duration;

fn owned(headers: &[(&str, &[u8])]) -> Vec<(String, Option<Vec<u8>>)> {
    headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Some(value.to_vec())))
        .collect()
}

/// The raw record that says it is the origin of `made`.
fn origin<'a>(made: &OwnedRecord, raw: &'a [OwnedRecord]) -> &'a OwnedRecord {
    raw.iter()
        .find(|raw| Some((raw.partition, raw.offset)) == made.raw())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_record_becomes_framed_avro_with_its_key_its_origin_and_the_headers_that_still_apply()
 {
    let stage = Stage::start(&[], None).await;
    let bodies: Vec<Vec<u8>> = (0..20)
        .map(|number| authorized(&format!("e-{number}")))
        .collect();
    stage
        .send(
            &bodies
                .iter()
                .map(|body| Some(&body[..]))
                .collect::<Vec<_>>(),
        )
        .await;
    stage
        .until("all committed", |stage| stage.committed() == 20)
        .await;
    let (raw, made) = (stage.read(topics::RAW), stage.read(topics::VALIDATED));
    assert_eq!(
        (raw.len(), made.len(), stage.read(topics::DLQ).len()),
        (20, 20, 0)
    );
    let raw_topic = TopicIdsReader::new(&stage.broker.kafka(), [topics::RAW.to_owned()])
        .read(Duration::from_secs(10))
        .await
        .unwrap()
        .remove(topics::RAW)
        .unwrap();
    let contracts = Catalog::builtin();
    let id = stage.schemas.id("eventflow.payment.PaymentAuthorized");
    let mut origins = Vec::new();
    for record in &made {
        let raw = origin(record, &raw);
        origins.push((raw.partition, raw.offset));
        assert_eq!(
            record.key, raw.key,
            "the key decides the order, so it stays"
        );
        let (schema_id, datum) = framing::unframe(record.value.as_deref().unwrap()).unwrap();
        assert_eq!(schema_id, id, "the id the registry gave");
        let mut expected = Vec::new();
        contracts
            .validate(Envelope::own(raw.value.as_deref().unwrap()).unwrap())
            .unwrap()
            .encode(&mut expected);
        assert_eq!(datum, expected);
        let mut carried = owned(&EDGE_HEADERS);
        // What signs the raw bytes, or describes them, is not true of the Avro.
        carried.retain(|(name, _)| {
            ![
                "x-provider-signature",
                headers::BATCH,
                headers::CONTENT_TYPE,
            ]
            .contains(&name.as_str())
        });
        carried.push((
            headers::RAW.to_owned(),
            Some(format!("{}:{}:{raw_topic}", raw.partition, raw.offset).into_bytes()),
        ));
        let contract = b"payment.authorized.v1".to_vec();
        carried.push((headers::CONTRACT.to_owned(), Some(contract)));
        assert_eq!(record.headers, carried);
    }
    origins.sort_unstable();
    origins.dedup();
    assert_eq!(origins.len(), 20, "each raw record was forwarded once");
    let (subject, avsc) =
        stage.schemas.registered.lock().unwrap()[usize::try_from(id - 41).unwrap()].clone();
    assert_eq!(
        subject,
        "events.validated.v1-eventflow.payment.PaymentAuthorized"
    );
    assert_eq!(
        avsc,
        contracts
            .contract("payment.authorized.v1")
            .unwrap()
            .record_avsc
    );
    stage.finish().await;
}

/// Bodies and the code each must be dead-lettered with: some by hand, then every invalid example of the built-in contracts.
fn broken() -> Vec<(Option<Vec<u8>>, String)> {
    let sound = String::from_utf8(authorized("e")).unwrap();
    let deep = |levels: usize| {
        format!(
            r#"{{"event_type":"payment.authorized.v1","x":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let mut cases: Vec<(Option<Vec<u8>>, &str)> = vec![
        (None, "empty_body"),
        (Some(Vec::new()), "empty_body"),
        (Some(b"not json \x07 at all".to_vec()), "not_json"),
        (
            Some(sound.as_bytes()[..sound.len() - 1].to_vec()),
            "not_json",
        ),
        (Some(format!("{sound} trailing").into_bytes()), "not_json"),
        (Some(b"{\"event_id\":\"\xc3\x28\"}".to_vec()), "not_utf8"),
        (Some(vec![0xff, 0xfe, 0x00]), "not_utf8"),
        (Some(deep(200).into_bytes()), "too_deep"),
        (Some(vec![b'['; 100_000]), "too_deep"),
        (
            Some(
                sound
                    .replace("payment.authorized.v1", "payment.imagined.v1")
                    .into_bytes(),
            ),
            "unknown_event_type",
        ),
        (
            Some(
                sound
                    .replace("\"schema_version\":1", "\"schema_version\":2")
                    .into_bytes(),
            ),
            "unsupported_schema_version",
        ),
        (Some(b"[]".to_vec()), "not_an_object"),
        (
            Some(sound.replace("event_id", "id").into_bytes()),
            "no_event_id",
        ),
        (
            Some(sound.replace("event_type", "type").into_bytes()),
            "no_event_type",
        ),
        (
            Some(sound.replace("timestamp", "time").into_bytes()),
            "no_event_time",
        ),
        (
            Some(sound.replace("payload", "data").into_bytes()),
            "missing_field",
        ),
    ];
    let mut all: Vec<(Option<Vec<u8>>, String)> = cases
        .drain(..)
        .map(|(body, code)| (body, code.to_owned()))
        .collect();
    let events = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/events");
    for contract in std::fs::read_dir(events).unwrap() {
        let contract = contract.unwrap();
        let examples = contract.path().join("v1/examples/invalid");
        for example in std::fs::read_dir(examples).unwrap() {
            let path = example.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let payload = std::fs::read_to_string(&path).unwrap();
            let body = format!(
                r#"{{"event_id":"e","event_type":{:?},"timestamp":"2026-01-02T03:04:05Z","payload":{payload}}}"#,
                contract.file_name()
            );
            let code = name.split("--").next().unwrap().to_owned();
            all.push((Some(body.into_bytes()), code));
        }
    }
    assert!(all.len() > 40, "the examples were found");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_record_is_dead_lettered_verbatim_with_its_code_and_sound_ones_between_them_pass()
 {
    let stage = Stage::start(&[], None).await;
    let (broken, sound) = (broken(), authorized("e-sound"));
    let mut sent: Vec<Option<&[u8]>> = Vec::new();
    for (body, _) in &broken {
        sent.extend([body.as_deref(), Some(&sound)]);
    }
    stage.send(&sent).await;
    stage
        .until("all committed", |stage| {
            usize::try_from(stage.committed()).unwrap() == sent.len()
        })
        .await;
    assert_eq!(stage.read(topics::VALIDATED).len(), broken.len());
    let (raw, dead) = (stage.read(topics::RAW), stage.read(topics::DLQ));
    assert_eq!(dead.len(), broken.len());
    let mut expected: HashMap<(Option<Vec<u8>>, String), i64> = HashMap::new();
    for case in broken {
        *expected.entry(case).or_default() += 1;
    }
    for letter in &dead {
        let raw = origin(letter, &raw);
        assert_eq!(
            (&letter.value, &letter.key),
            (&raw.value, &raw.key),
            "verbatim; null stays null"
        );
        let its_own = &letter.headers[..EDGE_HEADERS.len()];
        assert_eq!(
            its_own,
            owned(&EDGE_HEADERS),
            "its headers come first, unchanged and in order"
        );
        let code = letter.header(dlq::CODE).unwrap();
        let left = expected.get_mut(&(letter.value.clone(), code.clone()));
        *left.unwrap_or_else(|| {
            panic!(
                "{code} for {:?}",
                letter.value.as_deref().map(String::from_utf8_lossy)
            )
        }) -= 1;
        for (name, value) in [
            (dlq::STAGE, "validator".to_owned()),
            (dlq::GROUP, "eventflow-validator".to_owned()),
            (dlq::ERRORS_TOPIC, topics::RAW.to_owned()),
            (dlq::ERRORS_PARTITION, raw.partition.to_string()),
            (dlq::ERRORS_OFFSET, raw.offset.to_string()),
            (dlq::ATTEMPTS, "1".to_owned()),
        ] {
            assert_eq!(letter.header(name), Some(value), "{code}: {name}");
        }
        for name in dlq::ALL {
            let copies = letter
                .headers
                .iter()
                .filter(|(found, _)| found == name)
                .count();
            assert_eq!(copies, 1, "{code}: {name}");
        }
    }
    assert!(expected.values().all(|left| *left == 0), "{expected:?}");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_broken_registry_answers_nothing_is_dead_lettered_and_nothing_is_committed_until_it_is_fixed()
 {
    const BROKEN: [(StatusCode, &str); 5] = [
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"error_code":50001,"message":"down"}"#,
        ),
        (
            StatusCode::CONFLICT,
            r#"{"error_code":409,"message":"incompatible"}"#,
        ),
        (
            StatusCode::NOT_FOUND,
            r#"{"error_code":40403,"message":"not found"}"#,
        ),
        (StatusCode::UNAUTHORIZED, "who are you?"),
        (StatusCode::OK, "<html>a proxy's page</html>"),
    ];
    let stage = Stage::start(&[], Some(BROKEN[0])).await;
    let sound = authorized("e-1");
    stage
        .send(&[Some(&sound), Some(b"not json"), Some(&sound), None])
        .await;
    for broken in BROKEN {
        *stage.schemas.broken.lock().unwrap() = Some(broken);
        let before = *stage.schemas.asked.lock().unwrap();
        stage
            .until("asks again and again", |stage| {
                *stage.schemas.asked.lock().unwrap() >= before + 2
            })
            .await;
        stage.until_it_waits("registry_unavailable").await;
        assert_eq!(stage.committed(), 0, "{broken:?}");
        let made = (
            stage.read(topics::VALIDATED).len(),
            stage.read(topics::DLQ).len(),
        );
        assert_eq!(
            made,
            (0, 0),
            "{broken:?}: not even what is broken by itself, since it may be asked for again"
        );
    }
    *stage.schemas.broken.lock().unwrap() = None;
    stage
        .until("everything flows", |stage| stage.committed() == 4)
        .await;
    assert_eq!(
        (
            stage.read(topics::VALIDATED).len(),
            stage.read(topics::DLQ).len()
        ),
        (2, 2)
    );
    stage
        .until("ready again", |stage| stage.health.is_ready())
        .await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_refuses_the_validated_topic_nothing_is_dead_lettered_and_nothing_is_committed()
 {
    for fault in [
        BrokerFault::TopicAuthorizationFailed,
        BrokerFault::RecordTooLarge,
    ] {
        // Held by the registry, so that the records are in the raw topic before the broker begins to refuse.
        let stage = Stage::start(&[], Some((StatusCode::SERVICE_UNAVAILABLE, ""))).await;
        let sound = authorized("e-1");
        stage
            .send(&[Some(&sound), Some(&sound), Some(&sound)])
            .await;
        stage.until_it_waits("registry_unavailable").await;
        stage.broker.fail(BrokerRequest::Produce, vec![fault; 1000]);
        *stage.schemas.broken.lock().unwrap() = None;
        let code = if matches!(fault, BrokerFault::RecordTooLarge) {
            "record_too_large"
        } else {
            "publish_refused"
        };
        stage.until_it_waits(code).await;
        let made = (
            stage.committed(),
            stage.read(topics::VALIDATED).len(),
            stage.read(topics::DLQ).len(),
        );
        assert_eq!(
            made,
            (0, 0, 0),
            "{fault:?}: the broker's fault, not the record's"
        );
        stage.broker.stop_failing();
        stage
            .until("everything flows", |stage| stage.committed() == 3)
            .await;
        assert_eq!(
            (
                stage.read(topics::VALIDATED).len(),
                stage.read(topics::DLQ).len()
            ),
            (3, 0)
        );
        stage
            .until("ready again", |stage| stage.health.is_ready())
            .await;
        stage.finish().await;
    }
}
