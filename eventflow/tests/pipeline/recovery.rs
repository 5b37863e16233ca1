//! Ten thousand dead letters on a real Apache Kafka: fixed by one patch, replayed while recovery, validator and persistence are killed.

use crate::oncall::{OnCall, items, until};
use crate::post::{authorized, post_all};
use crate::recovery_audit;
use crate::world::{RealKafka, Role, World};
use contracts::kafka::headers;
use contracts::kafka::topics;
use runtime::admin::{OwnedRecord, read_all};
use std::collections::{BTreeMap, BTreeSet};

/// Dead letters that one patch fixes, and how many of them were delivered twice.
const BROKEN: i64 = 10_400;
const BROKEN_TWICE: i64 = 100;
const SOUND: i64 = 1_300;
const SOUND_TWICE: i64 = 150;
const CONFLICTS: i64 = 50;
const ALL: i64 = BROKEN + BROKEN_TWICE + SOUND + SOUND_TWICE + CONFLICTS;

/// An event whose currency no contract takes.
pub(crate) fn broken(event_id: &str) -> String {
    authorized(event_id).replace(r#""EUR""#, r#""eur""#)
}

/// What fixes it.
pub(crate) const PATCH: &str = r#"[{"op":"replace","path":"/payload/currency","value":"EUR"}]"#;

fn events() -> Vec<String> {
    let event = |kind: fn(&str) -> String, name: &str, count| {
        (0..count)
            .map(move |n| kind(&format!("{name}-{n}")))
            .collect()
    };
    let other = |event_id: &str| authorized(event_id).replace("1.50", "9.99");
    let all: [Vec<String>; 5] = [
        event(authorized, "sound", SOUND),
        event(broken, "broken", BROKEN),
        event(authorized, "sound", SOUND_TWICE),
        event(broken, "broken", BROKEN_TWICE),
        event(other, "sound", CONFLICTS),
    ];
    all.concat()
}

pub(crate) async fn topic(world: &World, name: String) -> Vec<OwnedRecord> {
    let admin = world.admin.clone();
    tokio::task::spawn_blocking(move || read_all(&admin, &name).unwrap())
        .await
        .unwrap()
}

/// How often each raw record is behind these records.
pub(crate) fn by_raw(records: &[OwnedRecord]) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for record in records {
        *copies
            .entry(record.header(headers::RAW).unwrap())
            .or_default() += 1;
    }
    copies
}

/// The sum of a metric over its labels.
async fn metric(role: &Role, name: &str) -> f64 {
    let (_, text) = role.ask("/metrics").await.unwrap();
    let of = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    text.lines()
        .filter(of)
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_are_fixed_and_replayed_through_kills_and_each_has_one_fate() {
    let Some(kafka) = RealKafka::start("ten_thousand_are_fixed", false) else {
        return;
    };
    let flags = vec![
        format!("--kafka-brokers={}", kafka.get("BOOTSTRAP")),
        "--kafka-config=session.timeout.ms=6000".to_owned(),
    ];
    let world = World::new(kafka.plain(), flags).await;
    // No bad deploy: the vendor's fault, which is let through.
    let stage = |role: &str| world.role(role, &["--breaker", "off"]);
    let _registry = world.role("registry", &[]);
    let (producer, mut validator, mut persistence) = (
        world.role("producer", &[]),
        stage("validator"),
        stage("persistence"),
    );
    let (analytics, mut recovery) = (world.role("analytics", &[]), world.role("recovery", &[]));
    for role in [&producer, &validator, &persistence, &analytics, &recovery] {
        role.until_ready().await;
    }
    let oncall = OnCall::of(&world).await;
    post_all(&world.edge, &events()).await;
    oncall
        .until_indexed(BROKEN + BROKEN_TWICE + CONFLICTS)
        .await;

    let (group, open) = oncall
        .group("unknown_currency", "payment.authorized.v1")
        .await;
    assert_eq!(open, BROKEN + BROKEN_TWICE);
    let unconfirmed = oncall
        .types(
            "anna",
            &["dlq", "edit", "--group", &group, "--patch", PATCH],
        )
        .await;
    assert_eq!(
        unconfirmed.code,
        Some(3),
        "so many must be confirmed: {unconfirmed:?}"
    );
    let edited = oncall
        .json(&[
            "dlq", "edit", "--group", &group, "--patch", PATCH, "--reason", "INC-1", "--yes",
        ])
        .await;
    assert_eq!(edited["changed"], open);
    let job = oncall.plan(&["--group", &group, "--reason", "INC-1"]).await;
    oncall.apply(&job, "2000").await;

    // Each is killed twice, while the replay is under way, and started again at once.
    let victims = [
        "recovery",
        "validator",
        "persistence",
        "validator",
        "recovery",
        "persistence",
        "validator",
    ];
    for (number, victim) in (1..).zip(victims) {
        let at = 1_300 * number;
        until(&format!("{at} sent"), async || {
            open - oncall
                .items(&job)
                .await
                .get("pending")
                .copied()
                .unwrap_or(0)
                >= at
        })
        .await;
        match victim {
            "recovery" => {
                recovery.kill();
                recovery = world.role("recovery", &[]);
            }
            "validator" => {
                validator.kill();
                validator = stage("validator");
            }
            _ => {
                persistence.kill();
                persistence = stage("persistence");
            }
        }
        let ended = oncall
            .number("SELECT count(*) FROM recovery.replay_jobs WHERE finished_at IS NOT NULL")
            .await;
        assert_eq!(
            ended, 0,
            "the replay was still under way when {victim} was killed the last time"
        );
    }
    assert_eq!(
        oncall.until_finished(&job).await,
        items([("stored", BROKEN), ("duplicate", BROKEN_TWICE)])
    );
    recovery.until_ready().await;
    let log = oncall.json(&["dlq", "audit-log", "--job", &job]).await;
    let actions: Vec<&str> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["replay.end", "replay.apply", "replay.plan"],
        "each once, whoever was killed"
    );

    let audit = oncall.audit().await;
    let counts =
        ["records", "stored", "duplicate", "in_flight"].map(|name| audit[name].as_i64().unwrap());
    assert_eq!(
        counts,
        [ALL, BROKEN + SOUND, BROKEN_TWICE + SOUND_TWICE, 0],
        "{audit}"
    );
    assert_eq!(
        (
            &audit["dead_lettered"]["open"],
            &audit["dead_lettered"]["replaying"]
        ),
        (&CONFLICTS.into(), &0.into()),
        "{audit}"
    );
    one_fate_each(&world, &oncall).await;
    each_sent_once(&world, &analytics).await;

    recovery_audit::retention_passed(&kafka, &world, &oncall, recovery).await;
}

/// Accounts for every record without recovery: rows in the database against records in the topics.
async fn one_fate_each(world: &World, oncall: &OnCall) {
    let rows: Vec<(i32, i64)> =
        sqlx::query_as("SELECT raw_partition, raw_offset FROM persistence.event_fates")
            .fetch_all(&oncall.pool)
            .await
            .unwrap();
    let settled: BTreeSet<_> = rows
        .iter()
        .map(|(partition, offset)| format!("{partition}:{offset}"))
        .collect();
    assert_eq!(settled.len(), rows.len(), "no raw record has two rows");
    let conflicts: Vec<(i32, i64)> = sqlx::query_as(
        "SELECT origin_partition, origin_offset FROM recovery.dead_letters WHERE state = 'open'",
    )
    .fetch_all(&oncall.pool)
    .await
    .unwrap();
    let conflicts: BTreeSet<_> = conflicts
        .iter()
        .map(|(partition, offset)| format!("{partition}:{offset}"))
        .collect();
    assert!(settled.is_disjoint(&conflicts));
    let raw = topic(world, topics::RAW.to_owned()).await;
    let raw: BTreeSet<_> = raw
        .iter()
        .map(|record| format!("{}:{}", record.partition, record.offset))
        .collect();
    assert_eq!(raw.len() as i64, ALL);
    assert_eq!(
        settled.union(&conflicts).cloned().collect::<BTreeSet<_>>(),
        raw,
        "every raw record, and nothing else"
    );
    let wrong = oncall
        .number("SELECT count(*) FROM persistence.events WHERE currency <> 'EUR' OR amount <> 1.50")
        .await;
    assert_eq!(
        wrong, 0,
        "what was sound is as it was sent, and what was broken as it was fixed"
    );
}

/// Nothing was sent, dead-lettered or counted twice, but for what a killed validator published and could not commit.
async fn each_sent_once(world: &World, analytics: &Role) {
    let sent = topic(world, topics::retry(validator::GROUP)).await;
    assert_eq!(
        by_raw(&sent).values().max(),
        Some(&1),
        "no replay was sent twice"
    );
    assert_eq!(sent.len() as i64, BROKEN + BROKEN_TWICE);
    let dead = topic(world, topics::DLQ.to_owned()).await;
    assert_eq!(
        (by_raw(&dead).len(), dead.len() as i64),
        (dead.len(), BROKEN + BROKEN_TWICE + CONFLICTS),
        "and none failed again"
    );
    let validated = topic(world, topics::VALIDATED.to_owned()).await;
    let copies = by_raw(&validated);
    assert_eq!(
        copies.len() as i64,
        ALL,
        "all of them passed, first or last"
    );
    let replayed = by_raw(&sent);
    let doubled: Vec<_> = copies.iter().filter(|(_, copies)| **copies > 1).collect();
    assert!(
        doubled
            .iter()
            .all(|(raw, copies)| **copies <= 4 && replayed.contains_key(*raw)),
        "at most once more a kill: {doubled:?}"
    );
    let counted = async || {
        let processed = metric(analytics, "eventflow_analytics_events_processed_total").await;
        (
            processed,
            metric(analytics, "eventflow_analytics_events_duplicate_total").await,
        )
    };
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let wanted = (
        validated.len() as f64,
        // It counts an event once, however often it came.
        validated.len() as f64 - (BROKEN + SOUND) as f64,
    );
    until(&format!("analytics counts {wanted:?}"), async || {
        counted().await == wanted
    })
    .await;
}
