//! `eventflow verify` of a whole pipeline: clean after a run, and each thing that is broken by hand is named.

use crate::oncall::OnCall;
use crate::recovery::topic;
use crate::report::CommandOutput;
use crate::world::{DEADLINE, SECRET, World, embedded, program};
use contracts::kafka::{headers, topics};
use runtime::admin::OwnedRecord;
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::harness::until;
use serde_json::Value;
use simulator::delivery::{Deliverer, DeliveryArgs};
use simulator::event::{Fault, Rate};
use simulator::stream::{self, StreamSettings};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a person makes of a payment in no currency.
const PATCH: &str = r#"[{"op":"replace","path":"/payload/currency","value":"EUR"},{"op":"replace","path":"/payload/amount","value":1.50}]"#;

/// The verdict of the command on a run.
pub(crate) async fn judge(world: &World, journals: &[&Path], within: Duration) -> verify::Report {
    let args = verify::VerifyArgs {
        journal: journals.iter().map(|&path| path.to_owned()).collect(),
        kafka: world.admin.clone(),
        database: store::DatabaseArgs {
            database_url: contracts::Secret::new(world.postgres.url()),
        },
        registry_url: Some(world.registry_url()),
        topic_raw: topics::RAW.to_owned(),
        topic_validated: topics::VALIDATED.to_owned(),
        topic_dlq: topics::DLQ.to_owned(),
        allow_others: false,
        audit: None,
        clocks_within: None,
        recreated: Vec::new(),
        metrics: Vec::new(),
        within,
        first: 3,
        temp_dir: None,
    };
    verify::run(&args).await.unwrap()
}

/// Events of every kind, in a journal.
async fn traffic(world: &World, journal: &Path) {
    let deliverer = Deliverer::new(&DeliveryArgs {
        webhook_url: format!("http://{}/api/webhooks/payment-authorized", world.edge),
        webhook_signing_secret: contracts::Secret::new(SECRET),
        webhook_timeout_seconds: 5.0,
        max_attempts: 10,
        backoff_base_seconds: 0.1,
        backoff_max_seconds: 0.5,
        backoff_jitter_seconds: 0.1,
    });
    let settings = StreamSettings {
        rate: 200.0,
        seed: 5,
        faults: Fault::ALL
            .map(|fault| Rate {
                fault,
                share: if fault == Fault::Burst { 0.001 } else { 0.03 },
            })
            .to_vec(),
        concurrency: 200,
        amount: None,
        currency: None,
        payment_prefix: "pay".to_owned(),
        order_prefix: "ord".to_owned(),
        journal: Some(journal.to_owned()),
    };
    let (tally, stop) = (stream::SharedTotals::default(), CancellationToken::new());
    let (shared, stopping, deliverer) = (tally.clone(), stop.clone(), deliverer.unwrap());
    let streaming =
        tokio::spawn(async move { stream::stream(&settings, &deliverer, shared, stopping).await });
    until("six hundred are sent", DEADLINE, async || {
        tally.lock().unwrap().sent >= 600
    })
    .await;
    stop.cancel();
    streaming.await.unwrap().unwrap();
}

async fn run_sql(world: &World, statement: &'static str) {
    let mut connection = PgConnection::connect(&world.postgres.url()).await.unwrap();
    let done = sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1, "{statement}");
}

async fn publish(world: &World, record: &OwnedRecord, code: &str, value: &[u8]) {
    let mut changed = RecordHeaders::new(record.headers.len());
    for (name, own) in &record.headers {
        let own = match name.as_str() {
            headers::dlq::CODE => Some(code.as_bytes()),
            _ => own.as_deref(),
        };
        changed = changed.with(name, own);
    }
    let settings = PublisherSettings::stage("test");
    let publisher = Publisher::new(&world.admin, &settings, &Health::new()).unwrap();
    let record = OutRecord {
        topic: topics::DLQ,
        key: record.key.as_deref(),
        value: Some(value),
        headers: changed,
    };
    publisher.publish(record, DEADLINE).await.unwrap();
}

/// A line of a journal, and its answer.
fn journalled(n: u64, expect: &str, body: &str) -> String {
    let sent = serde_json::json!({
        "at_micros": 1, "n": n, "source": "payment-authorized", "url": "http://edge", "headers": [], "body": body, "expect": expect,
        "events": [{"event_id": format!("by-hand-{n}"), "event_type": "payment.authorized.v1"}],
    });
    format!("{sent}\n{{\"at_micros\":2,\"n\":{n},\"status\":200}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_clean_and_what_is_broken_by_hand_is_named() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &[]);
    let stages = ["validator", "persistence"].map(|role| world.role(role, &["--breaker", "off"]));
    let recovery = world.role("recovery", &[]);
    for role in stages.iter().chain([&producer, &recovery]) {
        role.until_ready().await;
    }
    let journal = tempfile::NamedTempFile::new().unwrap();
    traffic(&world, journal.path()).await;
    world.account().await;

    // What a person edits and replays is accounted for, too.
    let oncall = OnCall::of(&world).await;
    let found = ["dlq", "ls", "--code", "unknown_currency", "--limit", "1"];
    oncall
        .until_number("SELECT least(count(*), 1) FROM recovery.dead_letters d JOIN recovery.groups g ON g.id = d.group_id WHERE code = 'unknown_currency'", 1)
        .await;
    let id = oncall.json(&found).await["letters"][0]["id"].to_string();
    oncall.json(&["dlq", "edit", &id, "--patch", PATCH]).await;
    let replay = ["replay", "apply", &id, "--yes"];
    assert_eq!(oncall.types("anna", &replay).await.code, Some(0));
    let report = judge(&world, &[journal.path()], DEADLINE).await;
    assert!(report.is_clean(), "{report}");
    for check in [
        "lost",
        "no_fate",
        "field_differs",
        "outage_dead_lettered",
        "wrong_fate",
    ] {
        assert!(report.checked(check) > 20, "{check}: {report}");
    }
    for check in [
        "accepted_forgery",
        "not_verbatim",
        "replay_unfounded",
        "out_of_order",
        "audit_differs",
    ] {
        assert!(report.checked(check) > 0, "{check}: {report}");
    }

    // As a command: exit code 0, then 1 with the offender whole, and 2 without a verdict.
    let url = world.postgres.url();
    let command = async |database: &str| {
        let mut command = Command::new(program());
        command
            .args(["verify", "--json", "--within", "2s", "--journal"])
            .arg(journal.path());
        command
            .args(["--database-url", database])
            .args(&world.kafka_flags);
        CommandOutput::of(command, DEADLINE).await
    };
    assert_eq!(command(&url).await.json(0)["clean"], true);
    run_sql(&world, "UPDATE persistence.events SET amount = amount + 0.01 WHERE ctid = (SELECT min(ctid) FROM persistence.events)").await;
    let found = command(&url).await;
    assert!(found.err.contains("failed: field_differs"), "{found:?}");
    let checks = found.json(1)["checks"].clone();
    let differs = |check: &&Value| check["check"] == "field_differs";
    let offender = checks.as_array().unwrap().iter().find(differs).unwrap()["offenders"][0].clone();
    let shown = offender["shown"].to_string();
    assert!(
        shown.contains("\"line\"") && shown.contains(topics::RAW) && shown.contains("\"row\""),
        "{offender}"
    );
    let none = command("postgres://nobody@127.0.0.1:1/none").await;
    assert!(
        none.code == Some(2) && none.err.contains("no verdict"),
        "{none:?}"
    );

    // Everything else that is broken adds its name.
    let mut expected = BTreeSet::from(["field_differs"]);
    let mut judged = async |adds: &[&'static str]| {
        expected.extend(adds);
        let report = judge(&world, &[journal.path()], Duration::from_secs(1)).await;
        assert_eq!(
            report.failed().into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{report}"
        );
    };
    run_sql(&world, "DELETE FROM persistence.events WHERE (source, event_id) = (SELECT source, event_id FROM persistence.events
             WHERE edited_by IS NULL AND (source, event_id) NOT IN (SELECT source, event_id FROM persistence.duplicates) ORDER BY stored_at DESC LIMIT 1)").await;
    judged(&["no_fate", "audit_differs"]).await;
    run_sql(
        &world,
        "DELETE FROM persistence.events WHERE (source, event_id) = (SELECT source, event_id FROM persistence.events
             WHERE (source, event_id) IN (SELECT source, event_id FROM persistence.duplicates) ORDER BY stored_at DESC LIMIT 1)",
    )
    .await;
    judged(&["duplicate_of_nothing"]).await;
    run_sql(&world, "INSERT INTO persistence.events (source, event_id, event_type, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
             SELECT source, 'added', event_type, occurred_at, payload, content_hash, schema_id, raw_partition, 1000000
             FROM persistence.events LIMIT 1").await;
    judged(&["invented"]).await;
    run_sql(&world, "INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id)
             SELECT raw_partition, raw_offset, source, event_id FROM persistence.events WHERE raw_offset < 1000000 ORDER BY ctid LIMIT 1").await;
    judged(&["two_fates"]).await;
    let letters = topic(&world, topics::DLQ.to_owned()).await;
    let letter = letters
        .iter()
        .find(|letter| letter.header(headers::dlq::CODE).as_deref() == Some("missing_field"));
    let letter = letter.unwrap();
    publish(&world, letter, "missing_field", b"altered").await;
    judged(&["not_verbatim"]).await;
    publish(
        &world,
        letter,
        "broker_down",
        letter.value.as_deref().unwrap(),
    )
    .await;
    judged(&["bad_code"]).await;
    let add = |lines: String| {
        let text = std::fs::read_to_string(journal.path()).unwrap();
        std::fs::write(journal.path(), text + &lines).unwrap();
    };
    add(journalled(1, "stored", "{\"never\":1}"));
    judged(&["lost"]).await;
    add(journalled(
        2,
        "refused signature_mismatch",
        "{\"forged\":1}",
    ));
    judged(&["accepted_forgery"]).await;
}
