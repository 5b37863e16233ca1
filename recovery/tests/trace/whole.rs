//! The whole timeline, whatever it is asked by, and its bytes verified again.

use crate::timeline::{RAW, World, world};
use crate::traced;
use contracts::kafka::headers as h;
use recovery::model::{Payload, Timeline, TraceFate};
use recovery::query::events;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const BODY: &[u8] = br#"{"event_id":"e-1","payload":{"payment_id":"pay-1","amount":"x"}}"#;
const RECEIVED: i64 = 1_790_000_000;

/// A sources file with one secret.
struct Vendors {
    directory: tempfile::TempDir,
}

impl Vendors {
    fn with(secret: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), secret).unwrap();
        let toml = format!(
            "[[source]]\nname = \"acme\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"2026-11\", from = \"file:{}\" }}]\nevent = {{ entity = \"/payload/payment_id\" }}\n",
            directory.path().join("secret").display()
        );
        std::fs::write(directory.path().join("sources.toml"), toml).unwrap();
        Self { directory }
    }

    fn path(&self) -> String {
        self.directory
            .path()
            .join("sources.toml")
            .display()
            .to_string()
    }
}

/// The headers the edge would have given it.
fn edge_headers(secret: &str) -> Vec<(String, String)> {
    let vendors = Vendors::with(secret);
    let text = std::fs::read_to_string(vendors.path()).unwrap();
    let sources =
        contracts::webhook::source::Sources::from_toml(&text, &runtime::files::resolve_secret)
            .unwrap();
    let mut headers = vec![
        (h::SOURCE.to_owned(), "acme".to_owned()),
        (h::EVENT_ID.to_owned(), "e-1".to_owned()),
        (
            h::RECEIVED_AT.to_owned(),
            (RECEIVED * 1_000_000).to_string(),
        ),
        (h::SCHEME.to_owned(), "eventflow".to_owned()),
        (h::SECRET_ID.to_owned(), "2026-11".to_owned()),
        (h::TRACEPARENT.to_owned(), TRACEPARENT.to_owned()),
    ];
    headers.extend(
        sources
            .get("acme")
            .unwrap()
            .verifier
            .sign(None, RECEIVED - 10, BODY, 0),
    );
    headers
}

async fn publish(kafka: &KafkaArgs, headers: &[(String, String)], body: &[u8]) {
    let publisher =
        Publisher::new(kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let mut of_record = RecordHeaders::new(headers.len());
    for (name, value) in headers {
        of_record = of_record.with(name, Some(value));
    }
    let record = OutRecord {
        topic: RAW,
        key: Some(b"pay-1"),
        value: Some(body),
        headers: of_record,
    };
    publisher
        .publish(record, Duration::from_secs(30))
        .await
        .unwrap();
}

/// A validator's dead letter of raw record 0:0, that failed, was edited, replayed, failed again, was edited and replayed once more, stored.
async fn a_long_story(world: &World, headers: &[(String, String)]) {
    let headers = serde_json::to_string(&headers).unwrap();
    world
        .run("INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', 'invalid_amount', 'acme', 'payment.authorized.v1')")
        .await;
    sqlx::query(
        "INSERT INTO dead_letters (state, group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset,
             consumer_group, detail, disposition, attempts, replay_count, first_failed_at, last_failed_at, received_at, event_id, entity_key,
             trace_id, value, value_bytes, headers, settled_at, settled_by, resolution)
         SELECT 'resolved', id, $1, 0, 0, 'eventflow', 1, 7, 'eventflow-validator', $2, 'contract', 1, 1, to_timestamp($3 + 1),
             to_timestamp($3 + 100), to_timestamp($3), 'e-1', 'pay-1', $4, $5, length($5), $6::json, to_timestamp($3 + 201), 'replay', 'stored'
         FROM groups",
    )
    .bind(RAW)
    .bind("/payload/amount: \u{1b}[31mstill no amount")
    .bind(RECEIVED as f64)
    .bind(TRACE)
    .bind(BODY)
    .bind(&headers)
    .execute(world.recovery.pool())
    .await
    .unwrap();
    world
        .run(format!(
            "INSERT INTO failures SELECT id, 1, 3, 'validator', 'invalid_amount', 'eventflow-validator', 'first', 0, to_timestamp({RECEIVED} + 1), NULL, '[]' FROM dead_letters;
             INSERT INTO failures SELECT id, 1, 4, 'validator', 'invalid_amount', 'eventflow-validator', 'first', 0, to_timestamp({RECEIVED} + 2), NULL, '[]' FROM dead_letters;
             INSERT INTO edits (dead_letter_id, edited_by, edited_at, reason, value, patch)
                 SELECT id, 'ada', to_timestamp({RECEIVED} + 50), 'typo', 'x', '[{{\"op\":\"replace\",\"path\":\"/payload/amount\",\"value\":\"1\"}}]' FROM dead_letters;
             INSERT INTO replay_jobs (id, selection, created_by, items, needs_confirmation, reason)
                 VALUES ('job-a', '{{}}', 'ada', 1, false, 'try'), ('job-b', '{{}}', 'bob', 1, false, 'again');
             INSERT INTO replay_items (job_id, dead_letter_id, position, state, code, replay_count, sent_at, edit_id)
                 SELECT 'job-a', id, 0, 'failed', 'invalid_amount', 1, to_timestamp({RECEIVED} + 99), 1 FROM dead_letters;
             INSERT INTO replay_items (job_id, dead_letter_id, position, state, replay_count, sent_at, edit_id)
                 SELECT 'job-b', id, 0, 'stored', 2, to_timestamp({RECEIVED} + 199), 1 FROM dead_letters;
             INSERT INTO persistence.events (source, event_id, event_type, contract, entity_key, occurred_at, received_at, stored_at,
                 payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset)
             VALUES ('acme', 'e-1', 'payment.authorized.v1', '1', 'pay-1', now(), to_timestamp({RECEIVED}), to_timestamp({RECEIVED} + 200), '{{}}', '',
                 1, '2026-11', '{TRACE}', 0, 0);
             INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id, received_at, seen_at)
             VALUES (1, 5, 'acme', 'e-1', to_timestamp({RECEIVED} + 300), to_timestamp({RECEIVED} + 301))"
        ))
        .await;
}

fn whats(timeline: &Timeline) -> Vec<(&str, &str)> {
    timeline
        .steps
        .iter()
        .map(|step| (step.what.as_str(), step.place.as_str()))
        .collect()
}

const WHATS: [(&str, &str); 11] = [
    ("received", "events.raw.v1:0:0"),
    ("dead_lettered", "events.dlq.v1:1:3"),
    ("dead_lettered", "events.dlq.v1:1:4"),
    ("edited", "recovery.edits"),
    ("replayed", "events.retry.eventflow-validator.v1"),
    ("dead_lettered", "events.dlq.v1:1:7"),
    ("replayed", "events.retry.eventflow-validator.v1"),
    ("stored", "persistence.events"),
    ("received", "events.raw.v1:1:5"),
    ("duplicate", "persistence.duplicates"),
    ("published", "events.raw.v1:0:0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_is_found_whatever_it_is_asked_by_and_its_bytes_verify_again() {
    let vendors = Vendors::with("s3cret");
    // The broker stamps records with its own time, which is after this timeline's: published comes last here.
    let broker = EmbeddedBroker::start(&[(RAW, 1)]).unwrap();
    let headers = edge_headers("s3cret");
    publish(&broker.kafka(), &headers, BODY).await;
    let world = world(true, Some(broker.kafka()), &["--sources", &vendors.path()]).await;
    a_long_story(&world, &headers).await;
    for asked in ["e-1", "pay-1", TRACE, TRACEPARENT, "  e-1 "] {
        let trace = traced(&world, asked).await;
        assert_eq!(
            (trace.timelines.len(), trace.truncated),
            (1, false),
            "{asked}"
        );
        let timeline = &trace.timelines[0];
        // Whether "published" is before or after depends on today's date.
        let mut expected = WHATS.to_vec();
        expected.sort_by_key(|(what, _)| *what == "published");
        let mut steps = whats(timeline);
        steps.sort_by_key(|(what, _)| *what == "published");
        assert_eq!(steps, expected, "{asked}");
        assert_eq!(
            (
                timeline.fate,
                timeline.event_id.as_deref(),
                timeline.source.as_deref()
            ),
            (TraceFate::Stored, Some("e-1"), Some("acme"))
        );
        let total: f64 = timeline.steps.iter().map(|step| step.delay_seconds).sum();
        let span = timeline.steps.last().unwrap().at - timeline.steps[0].at;
        assert!(
            (total - span.as_seconds_f64()).abs() < 0.001
                && timeline.steps.iter().all(|step| step.delay_seconds >= 0.0)
        );
        assert_eq!(
            timeline.signature.as_deref(),
            Some("scheme eventflow, secret 2026-11 of source acme")
        );
        let verdict = timeline.verified_again.as_deref().unwrap();
        assert!(
            verdict.starts_with("verified: ") && verdict.contains("edited"),
            "{verdict}"
        );
        let text = serde_json::to_string(&trace).unwrap();
        assert!(
            text.contains("a further copy: ")
                && text.contains("job job-b by bob, as edited, replay 2: stored. again"),
            "{text}"
        );
        assert!(
            !timeline
                .steps
                .iter()
                .any(|step| step.detail.contains('\u{1b}')),
            "a terminal would take that for a command"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_shows_the_signed_bytes_beside_its_row() {
    let vendors = Vendors::with("s3cret");
    let broker = EmbeddedBroker::start(&[(RAW, 1)]).unwrap();
    let headers = edge_headers("s3cret");
    publish(&broker.kafka(), &headers, BODY).await;
    let with_kafka = world(true, Some(broker.kafka()), &["--sources", &vendors.path()]).await;
    let without = world(true, None, &["--sources", &vendors.path()]).await;
    for world in [with_kafka, without] {
        a_long_story(&world, &headers).await;
        let event = events::detail(&world.recovery, "0:0").await.unwrap();
        let row = event.row.unwrap();
        assert_eq!((row.event_id.as_str(), row.payload.as_str()), ("e-1", "{}"));
        assert_eq!(event.timeline.fate, TraceFate::Stored);
        let verdict = event.timeline.verified_again.unwrap();
        assert!(verdict.starts_with("verified: "), "{verdict}");
        let received = event.received.unwrap();
        let text = String::from_utf8(BODY.to_vec()).unwrap();
        assert_eq!(received.value, Payload::Text { text });
        let kept = (h::SOURCE.to_owned(), Some("acme".to_owned()));
        assert!(received.headers.contains(&kept), "{:?}", received.headers);
        let curl = received.curl.unwrap();
        assert!(
            curl.contains("/api/webhooks/acme") && curl.contains("x-provider-signature"),
            "{curl}"
        );
        assert_eq!(event.letters.len(), 1);
        // The further delivery has a raw record of its own, and the same timeline.
        let again = events::detail(&world.recovery, "1:5").await.unwrap();
        assert_eq!((again.row, again.received), (None, None));
        assert_eq!(again.timeline.event_id.as_deref(), Some("e-1"));
        for (raw, code) in [
            ("7:7", "not_found"),
            ("x", "invalid_request"),
            ("0:0@other", "not_found"),
        ] {
            let refused = events::detail(&world.recovery, raw).await.unwrap_err();
            assert_eq!(refused.code(), code, "{raw}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_signature_does_not_cover_is_marked() {
    let world = world(true, None, &[]).await;
    let mut headers = edge_headers("s3cret");
    headers.push((h::UNSIGNED.to_owned(), "event_id,time".to_owned()));
    a_long_story(&world, &headers).await;
    let timeline = traced(&world, "e-1").await.timelines.remove(0);
    assert_eq!(
        timeline.signature.as_deref(),
        Some("scheme eventflow, secret 2026-11 of source acme; NOT signed: event_id, time")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_the_dead_letters_own_bytes_are_verified_and_every_doubt_is_shown() {
    let (right, rotated) = (Vendors::with("s3cret"), Vendors::with("another"));
    let headers = edge_headers("s3cret");
    for (options, expected) in [
        (
            vec!["--sources".to_owned(), right.path()],
            "verified: the stored bytes carry the signature of secret 2026-11",
        ),
        (
            vec!["--sources".to_owned(), rotated.path()],
            "NOT verified: no secret that source acme has today gives this signature",
        ),
        (
            vec![],
            "not verified again: this role has no sources; give it --sources",
        ),
    ] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let world = world(true, None, &options).await;
        a_long_story(&world, &headers).await;
        let verdict = traced(&world, "e-1")
            .await
            .timelines
            .remove(0)
            .verified_again
            .unwrap();
        assert!(verdict.starts_with(expected), "{verdict}");

        let of_a_batch = format!(
            "UPDATE dead_letters SET headers = '[[\"{}\", \"sha256:00\"]]'",
            h::BATCH
        );
        world.run(of_a_batch).await;
        let verdict = traced(&world, "e-1")
            .await
            .timelines
            .remove(0)
            .verified_again
            .unwrap();
        assert!(verdict.starts_with("cannot be verified alone"), "{verdict}");
        world
            .run("UPDATE dead_letters SET value = NULL, headers = '[]'")
            .await;
        let verdict = traced(&world, "e-1")
            .await
            .timelines
            .remove(0)
            .verified_again
            .unwrap();
        assert!(
            verdict.starts_with(
                "not verified again: the raw record is gone from Kafka or was not read"
            ),
            "{verdict}"
        );
    }
    let world = world(true, None, &["--sources", &right.path()]).await;
    a_long_story(&world, &headers).await;
    world.run("UPDATE dead_letters SET value = convert_to('{\"event_id\":\"e-1\",\"amount\":\"1000000\"}', 'UTF8')").await;
    let verdict = traced(&world, "e-1")
        .await
        .timelines
        .remove(0)
        .verified_again
        .unwrap();
    assert!(
        verdict.starts_with("NOT verified: "),
        "changed bytes: {verdict}"
    );
}
