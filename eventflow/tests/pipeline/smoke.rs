//! `eventflow smoke` against roles as processes: it passes where the pipeline works, and names the stage where it does not.

use crate::report::{ALL_PASSED, CommandOutput, detail, verdicts};
use crate::world::{DEADLINE, PEOPLE, RealKafka, Role, SECRET, World, embedded};
use std::process::{Command, Stdio};

/// The edge's checks, as far as it takes webhooks.
const EDGE_PASSED: &str = "ready passed, accepted passed, tampered passed, stale passed";
/// Somebody who may only read.
const VIEWER: &str = "carla-0123456789abcdef";

async fn smoke(world: &World, token: &str, arguments: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command
        .args([
            "smoke",
            "--json",
            "--url",
            &format!("http://{}", world.edge),
        ])
        .args(arguments)
        .env_clear();
    command
        .env("EVENTFLOW_WEBHOOK_SIGNING_SECRET", SECRET)
        .env("EVENTFLOW_RECOVERY_TOKEN", token)
        .stdin(Stdio::null());
    CommandOutput::of(command, DEADLINE).await
}

/// Both ways to fates, with every check.
async fn passes_both_ways(world: &World) {
    let api = format!("--recovery-url=http://{}", world.recovery);
    let database = format!("--database-url={}", world.postgres.url());
    for sight in [&api, &database] {
        let report = smoke(
            world,
            PEOPLE[0].1,
            &[sight, "--require-fates", "--deadline=100s"],
        )
        .await
        .json(0);
        assert_eq!(verdicts(&report), ALL_PASSED, "{report:#}");
        assert!(
            detail(&report, "corrupted").ends_with("discarded"),
            "{report:#}"
        );
        assert_eq!(
            report["latency"]["webhook_to_row_ms"]["samples"], 5,
            "{report:#}"
        );
    }
}

async fn all_ready(roles: &[&Role]) {
    for role in roles {
        role.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_is_not_there_fails_its_checks_by_the_deadline_and_is_named() {
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world
        .environment
        .push(("TOKEN_OF_carla", VIEWER.to_owned()));
    let _registry = world.role("registry", &[]);
    let (producer, mut validator) = (world.role("producer", &[]), world.role("validator", &[]));
    let _recovery = world.role(
        "recovery",
        &["--api-token", "carla:viewer=env:TOKEN_OF_carla"],
    );
    all_ready(&[&producer, &validator]).await;
    let api = format!("--recovery-url=http://{}", world.recovery);

    // No persistence: the dead letter is there, and no row.
    let output = smoke(&world, PEOPLE[0].1, &[&api, "--deadline=25s"]).await;
    let report = output.json(1);
    let expected = format!(
        "{EDGE_PASSED}, stored failed, duplicate failed, corrupted passed, batch failed, audit failed"
    );
    assert_eq!(verdicts(&report), expected, "{report:#}");
    for check in ["stored", "duplicate", "batch"] {
        assert!(detail(&report, check).contains(
            "the validator dead-letters, so it works: check /ready and the log of persistence"
        ));
    }
    assert!(
        detail(&report, "stored").contains("no row of smoke-"),
        "{report:#}"
    );
    assert!(
        output
            .err
            .ends_with("failed: stored, duplicate, batch, audit\n"),
        "{output:?}"
    );
    assert!(report["seconds"].as_f64().unwrap() < 30.0, "{report:#}");

    // With it what was sent before is stored too, and the next run passes; a token that may only read leaves the dead letter.
    let persistence = world.role("persistence", &[]);
    persistence.until_ready().await;
    let report = smoke(
        &world,
        VIEWER,
        &[&api, "--require-fates", "--deadline=100s"],
    )
    .await
    .json(0);
    assert_eq!(verdicts(&report), ALL_PASSED, "{report:#}");
    let left = detail(&report, "corrupted");
    assert!(
        left.contains("left open (the token may only read): eventflow dlq discard "),
        "{left}"
    );
    passes_both_ways(&world).await;

    // A row that is lost again is one gap, however well everything works.
    let pool = sqlx::PgPool::connect(&world.postgres.url()).await.unwrap();
    let lost = sqlx::query("DELETE FROM persistence.events WHERE event_id LIKE 'smoke-%-batch-20'")
        .execute(&pool)
        .await
        .unwrap();
    assert!(lost.rows_affected() >= 3, "{lost:?}");
    let report = smoke(&world, PEOPLE[0].1, &[&api]).await.json(1);
    assert_eq!(
        verdicts(&report),
        ALL_PASSED.replace("audit passed", "audit failed"),
        "{report:#}"
    );
    assert!(
        detail(&report, "audit").contains("gap")
            && detail(&report, "audit").contains("eventflow audit"),
        "{report:#}"
    );

    // No validator: neither, and the index cannot be blamed for the rows.
    validator.stop();
    let report = smoke(&world, PEOPLE[0].1, &[&api, "--deadline=20s"])
        .await
        .json(1);
    let expected = format!(
        "{EDGE_PASSED}, stored failed, duplicate failed, corrupted failed, batch failed, audit failed"
    );
    assert_eq!(verdicts(&report), expected, "{report:#}");
    for check in ["stored", "duplicate", "corrupted", "batch"] {
        assert!(
            detail(&report, check).contains("check /ready and the log of validator"),
            "{report:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smoke_passes_on_a_real_kafka_and_tells_a_stopped_broker() {
    let Some(kafka) = RealKafka::start("smoke_passes", false) else {
        return;
    };
    let world = World::new(
        kafka.plain(),
        vec![format!("--kafka-brokers={}", kafka.get("BOOTSTRAP"))],
    )
    .await;
    let _registry = world.role("registry", &[]);
    let [producer, validator, analytics, persistence, _recovery] = [
        "producer",
        "validator",
        "analytics",
        "persistence",
        "recovery",
    ]
    .map(|role| world.role(role, &[]));
    all_ready(&[&producer, &validator, &analytics, &persistence]).await;
    passes_both_ways(&world).await;

    kafka.stop(false);
    let api = format!("--recovery-url=http://{}", world.recovery);
    let report = smoke(&world, PEOPLE[0].1, &[&api, "--deadline=60s"])
        .await
        .json(1);
    assert!(
        detail(&report, "accepted").contains("503 publish_"),
        "{report:#}"
    );
    assert!(
        detail(&report, "accepted").contains("then Kafka"),
        "{report:#}"
    );
    kafka.restart();
    all_ready(&[&producer, &validator, &persistence]).await;
    passes_both_ways(&world).await;
}
