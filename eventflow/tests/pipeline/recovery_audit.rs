//! The index after the topic's retention, and the audit after rows were lost.

use crate::oncall::{OnCall, items, until};
use crate::post::post_all;
use crate::recovery::{PATCH, broken, topic};
use crate::world::{DEADLINE, RealKafka, Role, World};
use contracts::kafka::topics;
use sandbox::harness::wait_for;
use serde_json::{Value, json};

/// The dead-letter topic's records are gone after they were indexed: values are in the index, and a replay works as ever.
pub(crate) async fn retention_passed(
    kafka: &RealKafka,
    world: &World,
    oncall: &OnCall,
    recovery: Role,
) {
    let known = oncall
        .number("SELECT count(*) FROM recovery.dead_letters")
        .await;
    let late: Vec<String> = (0..40).map(|n| broken(&format!("late-{n}"))).collect();
    post_all(&world.edge, &late).await;
    oncall.until_indexed(known + 40).await;

    let partitions: Vec<Value> = (0..3)
        .map(|partition| json!({"topic": topics::DLQ, "partition": partition, "offset": -1}))
        .collect();
    let file = kafka.directory.path().join("delete.json");
    std::fs::write(
        &file,
        json!({"partitions": partitions, "version": 1}).to_string(),
    )
    .unwrap();
    kafka.tool(
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", file.to_str().unwrap()],
    );
    assert_eq!(
        topic(world, topics::DLQ.to_owned()).await.len(),
        0,
        "as after the retention"
    );

    // Also by an instance that never saw them in the topic.
    let log = recovery.log();
    assert_eq!(recovery.terminate(), Some(0), "{log}");
    let recovery = world.role("recovery", &[]);
    recovery.until_ready().await;
    let (group, open) = oncall
        .group("unknown_currency", "payment.authorized.v1")
        .await;
    assert_eq!(open, 40);
    oncall
        .json(&["dlq", "edit", "--group", &group, "--patch", PATCH])
        .await;
    let job = oncall.plan(&["--group", &group]).await;
    oncall.apply(&job, "100").await;
    assert_eq!(oncall.until_finished(&job).await, items([("stored", 40)]));
    assert_eq!(
        oncall
            .number("SELECT count(*) FROM persistence.events WHERE event_id LIKE 'late-%'")
            .await,
        40
    );
    oncall.audit().await;
    faults_planted_in_the_database_are_found(oncall).await;
    assert_eq!(recovery.terminate(), Some(0));
}

async fn execute(oncall: &OnCall, statement: &'static str) {
    assert_eq!(
        sqlx::query(statement)
            .execute(&oncall.pool)
            .await
            .unwrap()
            .rows_affected(),
        1,
        "{statement}"
    );
}

async fn raw(oncall: &OnCall, event_id: &str) -> (i32, i64) {
    let query = "SELECT raw_partition, raw_offset FROM persistence.events WHERE event_id = $1";
    sqlx::query_as(query)
        .bind(event_id)
        .fetch_one(&oncall.pool)
        .await
        .unwrap()
}

/// A row deleted and a second one for a raw record: `audit` ends with exit code 1 and names both, until they are fixed.
async fn faults_planted_in_the_database_are_found(oncall: &OnCall) {
    let (gone, twice) = (
        raw(oncall, "sound-700").await,
        raw(oncall, "broken-700").await,
    );
    execute(
        oncall,
        "CREATE TABLE public.kept AS SELECT * FROM persistence.events WHERE event_id = 'sound-700'",
    )
    .await;
    execute(
        oncall,
        "DELETE FROM persistence.events WHERE event_id = 'sound-700'",
    )
    .await;
    execute(
        oncall,
        "INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id)
         SELECT raw_partition, raw_offset, source, event_id FROM persistence.events WHERE event_id = 'broken-700'",
    )
    .await;
    let found = |audit: &Value| {
        (
            audit["gaps"].as_i64().unwrap(),
            audit["double_fates"].as_i64().unwrap(),
        )
    };
    let audit = wait_for(DEADLINE, async || {
        let audit = oncall.types("anna", &["audit", "--json"]).await;
        if serde_json::from_str(&audit.out).is_ok_and(|audit: Value| found(&audit) == (1, 1)) {
            Ok(audit)
        } else {
            Err(format!("one gap and one double fate: {audit:?}"))
        }
    })
    .await;
    let audit = audit.json(1);
    for ((partition, offset), kind) in [(gone, "gap"), (twice, "double_fate")] {
        let of = |finding: &&Value| {
            finding["partition"] == partition
                && finding["offset"] == offset
                && finding["kind"] == kind
        };
        assert_eq!(
            audit["findings"]
                .as_array()
                .unwrap()
                .iter()
                .filter(of)
                .count(),
            1,
            "{partition}:{offset} {kind}: {audit}"
        );
    }
    let page = oncall.types("boris", &["audit"]).await;
    assert_eq!(page.code, Some(1), "{page:?}");
    assert!(
        page.err.contains("1 gap and 1 double fate") && page.out.contains("not stored"),
        "{page:?}"
    );

    execute(
        oncall,
        "INSERT INTO persistence.events OVERRIDING SYSTEM VALUE SELECT * FROM public.kept",
    )
    .await;
    execute(
        oncall,
        "DELETE FROM persistence.duplicates WHERE event_id = 'broken-700'",
    )
    .await;
    until("both are fixed", async || {
        oncall.types("anna", &["audit"]).await.code == Some(0)
    })
    .await;
}
