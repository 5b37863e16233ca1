//! Replays on a real Apache Kafka that cannot go on just now: no topic, no stage, an open breaker, no contract yet. Each says so, waits, and
//! ends by itself. And two people, or nobody, who start them.

use crate::contracts::settled;
use crate::oncall::{OnCall, items};
use crate::post::{authorized, post_all};
use crate::recovery::{PATCH, broken, by_raw, topic};
use crate::recovery_deploys::{
    a_policy_replays_what_a_deploy_fixed, the_breaker_is_open_for_live_events,
    the_contract_is_deployed,
};
use crate::retry::OLD_TOPICS;
use crate::world::{RealKafka, Role, World, create_topics};
use contracts::kafka::topics;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SETTLED: &str = "invoice.settled.v3";
pub(crate) const REFUNDED: &str = "invoice.refunded.v3";

pub(crate) fn many(count: usize, event: impl Fn(&str) -> String, name: &str) -> Vec<String> {
    (0..count).map(|n| event(&format!("{name}-{n}"))).collect()
}

fn refunded(event_id: &str) -> String {
    settled(event_id, |event| event["event_type"] = REFUNDED.into())
}

/// The roles that a deploy replaces, and on-call.
pub(crate) struct Pipeline {
    pub(crate) world: World,
    pub(crate) oncall: OnCall,
    registry: Role,
    pub(crate) validator: Role,
    recovery: Role,
    pub(crate) contracts: TempDir,
}

impl Pipeline {
    /// Restarts everything that knows contracts, with what is in the folder now.
    pub(crate) async fn deploy(&mut self, validator: &[&str], recovery: &[&str]) {
        self.world.contracts = Some(self.contracts.path().display().to_string());
        let Self { world, .. } = self;
        for role in [&mut self.registry, &mut self.validator, &mut self.recovery] {
            role.stop();
        }
        self.registry = world.role("registry", &[]);
        self.validator = world.role("validator", validator);
        self.recovery = world.role("recovery", recovery);
        self.validator.until_ready().await;
        self.recovery.until_ready().await;
    }

    /// Open dead letters of the unknown currency, fixed, as a planned replay.
    pub(crate) async fn fixed(&self, limit: &str) -> String {
        let answer = self
            .oncall
            .json(&["dlq", "ls", "--code", "unknown_currency", "--limit", limit])
            .await;
        let letters: Vec<String> = answer["letters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|letter| letter["id"].to_string())
            .collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        self.oncall
            .json(
                &[
                    &["dlq", "edit", "--patch", PATCH, "--yes"],
                    letters.as_slice(),
                ]
                .concat(),
            )
            .await;
        self.oncall.plan(&["--id", &letters.join(",")]).await
    }

    pub(crate) async fn stored(&self, event_ids: &'static str) -> i64 {
        let query = "SELECT count(*) FROM persistence.events WHERE event_id LIKE $1";
        sqlx::query_scalar(query)
            .bind(event_ids)
            .fetch_one(&self.oncall.pool)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_go_on_says_why_waits_and_ends_by_itself_once_it_can() {
    let Some(kafka) = RealKafka::start("a_replay_that_cannot_go_on", false) else {
        return;
    };
    let flags = vec![
        format!("--kafka-brokers={}", kafka.get("BOOTSTRAP")),
        "--kafka-config=session.timeout.ms=6000".to_owned(),
    ];
    let world = World::on(kafka.plain(), flags);
    // As an older version left them: without retry topics.
    create_topics(&world.admin, &OLD_TOPICS).await;
    let registry = world.role("registry", &[]);
    let (producer, persistence) = (world.role("producer", &[]), world.role("persistence", &[]));
    let validator = world.role("validator", &["--breaker", "off"]);
    let recovery = world.role("recovery", &[]);
    producer.until_ready().await;
    recovery.until_ready().await;
    let oncall = OnCall::of(&world).await;
    let contracts = tempfile::tempdir().unwrap();
    let mut pipeline = Pipeline {
        world,
        oncall,
        registry,
        validator,
        recovery,
        contracts,
    };

    let events = [
        many(50, authorized, "sound"),
        many(430, broken, "broken"),
        many(60, |event_id| settled(event_id, |_| {}), "settled"),
        many(60, refunded, "refunded"),
    ];
    post_all(&pipeline.world.edge, &events.concat()).await;
    pipeline.oncall.until_indexed(550).await;

    the_destination_is_missing(&mut pipeline).await;
    two_people_start_the_same_replay_at_once(&pipeline).await;
    the_breaker_is_open_for_live_events(&mut pipeline).await;
    the_contract_is_deployed(&pipeline).await;
    a_policy_replays_what_a_deploy_fixed(&mut pipeline).await;

    let audit = pipeline.oncall.audit().await;
    let counts =
        ["records", "stored", "duplicate", "in_flight"].map(|name| audit[name].as_i64().unwrap());
    assert_eq!(counts, [631, 631, 0, 0], "{audit}");
    let rows = pipeline
        .oncall
        .number("SELECT count(*) FROM persistence.event_fates")
        .await;
    assert_eq!(rows, 631, "one row each");
    for role in [producer, persistence, pipeline.validator, pipeline.recovery] {
        let log = role.log();
        assert_eq!(role.terminate(), Some(0), "{log}");
    }
}

/// No retry topic; then a topic and nobody who reads it.
async fn the_destination_is_missing(pipeline: &mut Pipeline) {
    let retry = topics::retry(validator::GROUP);
    let job = pipeline.fixed("10").await;
    pipeline.oncall.apply(&job, "100").await;
    pipeline
        .oncall
        .until_blocked(&job, &[&retry, "eventflow admin topics"])
        .await;
    assert_eq!(pipeline.oncall.items(&job).await, items([("pending", 10)]));
    runtime::admin::create_topics(
        &pipeline.world.admin,
        &contracts::pipeline::Pipeline::built_in().partitions(),
    )
    .await
    .unwrap();
    assert_eq!(
        pipeline.oncall.until_finished(&job).await,
        items([("stored", 10)])
    );

    // The group knows of it only after its session's timeout: what is sent until then waits in the topic, and that is counts, too.
    pipeline.validator.stop();
    let job = pipeline.fixed("10").await;
    pipeline.oncall.apply(&job, "100").await;
    pipeline
        .oncall
        .until_blocked(&job, &["nobody reads", validator::GROUP, "start its role"])
        .await;
    let before = pipeline.oncall.items(&job).await;
    assert!(
        [items([("sent", 10)]), items([("pending", 10)])].contains(&before),
        "{before:?}"
    );
    let later = pipeline.fixed("10").await;
    pipeline.oncall.apply(&later, "100").await;
    pipeline
        .oncall
        .until_blocked(&later, &["nobody reads"])
        .await;
    assert_eq!(
        pipeline.oncall.items(&later).await,
        items([("pending", 10)]),
        "nothing is sent to nobody"
    );
    pipeline.validator = pipeline.world.role("validator", &["--breaker-window", "1"]);
    for job in [&job, &later] {
        assert_eq!(
            pipeline.oncall.until_finished(job).await,
            items([("stored", 10)])
        );
    }
    let status = pipeline.oncall.json(&["replay", "status", &job]).await;
    assert_eq!(status["blocked"], Value::Null, "{status}");
}

/// Two plans of one selection, two applies at the same moment.
async fn two_people_start_the_same_replay_at_once(pipeline: &Pipeline) {
    let oncall = &pipeline.oncall;
    let (group, open) = oncall
        .group("unknown_currency", "payment.authorized.v1")
        .await;
    assert_eq!(open, 400);
    let ids = oncall
        .json(&["dlq", "ls", "--group", &group, "--limit", "380"])
        .await;
    let ids: Vec<String> = ids["letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["id"].to_string())
        .collect();
    let selection = ids.join(",");
    oncall
        .json(&["dlq", "edit", "--id", &selection, "--patch", PATCH, "--yes"])
        .await;
    let mut jobs = Vec::new();
    for who in ["anna", "boris"] {
        let job = oncall
            .types(who, &["replay", "plan", "--id", &selection, "--json"])
            .await
            .json(0);
        assert_eq!(
            (&job["created_by"], &job["items"]),
            (&who.into(), &380.into()),
            "{job}"
        );
        jobs.push(job["id"].as_str().unwrap().to_owned());
    }
    let applied = |who, job: &str| {
        let arguments =
            ["replay", "apply", job, "--rate", "400", "--yes", "--json"].map(str::to_owned);
        async move {
            oncall
                .types(who, &arguments.each_ref().map(String::as_str))
                .await
                .json(0)
        }
    };
    let (anna, boris) = tokio::join!(applied("anna", &jobs[0]), applied("boris", &jobs[1]));
    for job in [&anna, &boris] {
        assert_eq!(job["state"], "finished", "{job}");
        let skipped: i64 = job["by_code"]
            .as_object()
            .unwrap()
            .values()
            .map(|count| count.as_i64().unwrap())
            .sum();
        assert_eq!(
            job["by_state"]["skipped"].as_i64().unwrap_or(0),
            skipped,
            "{job}"
        );
        assert!(
            job["by_code"]
                .as_object()
                .unwrap()
                .keys()
                .all(|code| ["being_replayed", "not_open"].contains(&code.as_str()))
        );
    }
    let once = "SELECT count(*) FROM (SELECT dead_letter_id FROM recovery.replay_items WHERE job_id = ANY($1) GROUP BY 1
                HAVING count(*) FILTER (WHERE state = 'stored') = 1 AND count(*) FILTER (WHERE state = 'skipped') = 1) letters";
    let once: i64 = sqlx::query_scalar(once)
        .bind(&jobs)
        .fetch_one(&oncall.pool)
        .await
        .unwrap();
    assert_eq!(once, 380, "each by one of the two: {anna} {boris}");
    assert_eq!(pipeline.stored("broken-%").await, 410);
    let sent = topic(&pipeline.world, topics::retry(validator::GROUP)).await;
    assert_eq!(
        (sent.len(), by_raw(&sent).len()),
        (410, 410),
        "none was sent twice"
    );
}
