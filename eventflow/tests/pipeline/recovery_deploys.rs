//! Replays and deploys, steps of [`crate::recovery_waits`]: a contract that is missing opens the breaker, its deploy closes it, and a policy
//! replays what a deploy fixed.

use crate::contracts::settled;
use crate::contracts::write_contract;
use crate::oncall::{items, until};
use crate::post::{authorized, post_all};
use crate::recovery::topic;
use crate::recovery_waits::{Pipeline, REFUNDED, SETTLED, many};
use crate::secure::until_reason;
use contracts::kafka::topics;
use serde_json::json;
use std::path::Path;

/// The contract of the deploy that forgets another.
const OTHER: &str = "invoice.other.v1";

/// A deploy that forgot a contract: the breaker holds live events, and with them what is replayed.
pub(crate) async fn the_breaker_is_open_for_live_events(pipeline: &mut Pipeline) {
    let calm = many(1, authorized, "calm");
    post_all(&pipeline.world.edge, &calm).await;
    let admin = pipeline.world.admin.clone();
    until("the source is fine, and the group knows it", async || {
        let admin = admin.clone();
        let committed = tokio::task::spawn_blocking(move || {
            runtime::admin::committed(&admin, validator::GROUP, topics::RAW).unwrap()
        });
        let committed = committed.await.unwrap();
        committed
            .into_iter()
            .filter_map(|(_, next)| next)
            .sum::<i64>()
            == 601
    })
    .await;
    write_contract(pipeline.contracts.path(), OTHER, "InvoiceOther", 76);
    pipeline.deploy(&["--breaker-window", "1"], &[]).await;
    let oncall = &pipeline.oncall;
    // One rejected live record opens it now. Sixty rejected replays do not.
    let job = oncall.plan(&["--event-type", SETTLED]).await;
    let hopeless = oncall
        .types(
            "anna",
            &["replay", "apply", "--event-type", SETTLED, "--yes"],
        )
        .await;
    assert!(
        hopeless.code == Some(1) && hopeless.err.contains("every one would fail again"),
        "{hopeless:?}"
    );
    oncall.apply(&job, "1000").await;
    assert_eq!(oncall.until_finished(&job).await, items([("failed", 60)]));
    assert_eq!(
        oncall.types("anna", &["replay", "status", &job]).await.code,
        Some(1)
    );
    let (status, text) = pipeline.validator.ask("/ready").await.unwrap();
    assert_eq!(status, 200, "replays open no breaker: {text}");

    post_all(
        &pipeline.world.edge,
        &many(30, |event_id| settled(event_id, |_| {}), "live"),
    )
    .await;
    until_reason(&pipeline.validator, "unknown_event_type").await;
    let (_, metrics) = pipeline.validator.ask("/metrics").await.unwrap();
    assert!(
        metrics.contains(r#"eventflow_consumer_breaker_open{stage="validator"} 1"#),
        "{metrics}"
    );
    let before = topic(&pipeline.world, topics::VALIDATED.to_owned())
        .await
        .len();
    let job = pipeline.fixed("20").await;
    oncall.apply(&job, "1000").await;
    until("all are sent", async || {
        oncall.items(&job).await == items([("sent", 20)])
    })
    .await;
    until_reason(&pipeline.validator, "unknown_event_type").await;
    assert_eq!(
        topic(&pipeline.world, topics::VALIDATED.to_owned())
            .await
            .len(),
        before,
        "it waits as a whole"
    );
    assert_eq!(
        oncall
            .number("SELECT count(*) FROM recovery.dead_letters")
            .await,
        550,
        "and dead-letters nothing"
    );

    write_contract(pipeline.contracts.path(), SETTLED, "InvoiceSettledV3", 77);
    pipeline.deploy(&["--breaker-window", "1"], &[]).await;
    assert_eq!(
        pipeline.oncall.until_finished(&job).await,
        items([("stored", 20)])
    );
    until("live events are stored", async || {
        pipeline.stored("live-%").await == 30
    })
    .await;
}

/// What failed for want of a contract passes once there is one; what has none yet still fails, and the dry run tells them apart.
pub(crate) async fn the_contract_is_deployed(pipeline: &Pipeline) {
    let oncall = &pipeline.oncall;
    let (group, open) = oncall.group("unknown_event_type", SETTLED).await;
    assert_eq!(open, 60);
    let all = oncall.plan(&["--code", "unknown_event_type"]).await;
    let tried = oncall.json(&["replay", "dry-run", &all]).await;
    assert_eq!(
        (&tried["would_store"], &tried["would_fail_by_code"]),
        (&60.into(), &json!({"unknown_event_type": 60})),
        "{tried}"
    );
    oncall.json(&["replay", "stop", &all]).await;
    let job = oncall.plan(&["--group", &group]).await;
    let tried = oncall.json(&["replay", "dry-run", &job]).await;
    assert_eq!(
        (&tried["would_store"], &tried["would_fail"]),
        (&60.into(), &0.into()),
        "{tried}"
    );
    oncall.apply(&job, "100").await;
    assert_eq!(oncall.until_finished(&job).await, items([("stored", 60)]));
    assert_eq!(pipeline.stored("settled-%").await, 60);
    // A second time changes nothing, and there is nothing left to plan.
    oncall.apply(&job, "100").await;
    assert_eq!(
        oncall
            .types("boris", &["replay", "plan", "--group", &group])
            .await
            .code,
        Some(1)
    );
    assert_eq!(oncall.items(&job).await, items([("stored", 60)]));
}

fn write_policy(path: &Path) {
    let policy = "every = \"1s\"\n[[policy]]\nname = \"after-a-deploy\"\ncodes = [\"unknown_event_type\"]\nyoungest = \"1s\"\nrate = 20.0\n";
    std::fs::write(path, policy).unwrap();
}

/// Nobody types anything: the deploy is enough.
pub(crate) async fn a_policy_replays_what_a_deploy_fixed(pipeline: &mut Pipeline) {
    let file = pipeline.contracts.path().join("policies.toml");
    write_policy(&file);
    write_contract(pipeline.contracts.path(), REFUNDED, "InvoiceRefundedV3", 78);
    pipeline
        .deploy(&[], &["--policies", file.to_str().unwrap()])
        .await;
    until("the policy's replay", async || {
        pipeline.stored("refunded-%").await == 60
    })
    .await;
    let oncall = &pipeline.oncall;
    let job: String =
        sqlx::query_scalar("SELECT id FROM recovery.replay_jobs WHERE policy IS NOT NULL")
            .fetch_one(&oncall.pool)
            .await
            .unwrap();
    assert_eq!(
        oncall.until_finished(&job).await,
        items([("stored", 60)]),
        "one replay, of all of them"
    );
    let shown = oncall.json(&["replay", "status", &job]).await;
    assert_eq!(
        (&shown["policy"], &shown["rate"]),
        (&"after-a-deploy".into(), &20.0.into()),
        "{shown}"
    );
    let log = oncall.json(&["dlq", "audit-log", "--job", &job]).await;
    let log: Vec<_> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["who"], &entry["action"]))
        .collect();
    let expected = [
        ("recovery", "replay.end"),
        ("policy:after-a-deploy", "replay.apply"),
        ("policy:after-a-deploy", "replay.plan"),
    ];
    assert_eq!(log.len(), expected.len(), "{log:?}");
    assert!(
        log.iter()
            .zip(expected)
            .all(|((who, action), expected)| (*who, *action)
                == (&expected.0.into(), &expected.1.into())),
        "{log:?}"
    );
    // Half a second's worth at once, then twenty a second: in no second more than thirty.
    let most = oncall
        .number(
            "SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY sent_at RANGE BETWEEN CURRENT ROW AND interval '1 s' FOLLOWING) AS n
             FROM recovery.replay_items i JOIN recovery.replay_jobs j ON j.id = i.job_id WHERE j.policy IS NOT NULL) counts",
        )
        .await;
    assert!((10..=30).contains(&most), "{most} in a second");
}
