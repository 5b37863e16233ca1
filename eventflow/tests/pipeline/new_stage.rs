//! A stage that nobody planned for: a handler and one entry in the pipeline's description, on the embedded broker. What it dead-letters is
//! indexed, explained and replayed to it alone, and the audit of the path beside it still finds no gap.

use crate::oncall::{OnCall, items, until};
use crate::post::{authorized, post_all};
use crate::recovery::{by_raw, topic};
use crate::world::{DEADLINE, World, embedded_with};
use bytes::Bytes;
use clap::{Args as _, FromArgMatches as _};
use contracts::pipeline::{Pipeline, Stage};
use contracts::{Rejection, RejectionCode};
use runtime::consumer::{
    self, ConsumerSettings, Forward, Handler, Outcome, Record, StageArgs, StageError,
};
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::replay::Retry;
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const EVENTS: usize = 300;

/// The one entry, and the topics it names.
fn described() -> String {
    let built_in = include_str!("../../../infra/kafka/pipeline.json");
    let mut description: serde_json::Value = serde_json::from_str(built_in).unwrap();
    let stage = json!({
        "name": "sampler", "group": "eventflow-sampler", "reads": "events.validated.v1", "values": "avro",
        "writes": ["events.sampled.v1"], "retry": "events.retry.eventflow-sampler.v1",
    });
    description["stages"].as_array_mut().unwrap().push(stage);
    for topic in ["events.sampled.v1", "events.retry.eventflow-sampler.v1"] {
        description["topics"][topic] = json!({ "partitions": 3 });
    }
    description.to_string()
}

/// Copies what it reads; of ten records it takes one only as a replay.
struct Sampler(Arc<str>);

fn is_taken(offset: i64) -> bool {
    offset % 10 != 0
}

impl Handler for Sampler {
    fn stage(&self) -> &'static str {
        "sampler"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let outcome = |record: &Record<'_>| match (record.refused(), record.raw()) {
            (Some(refused), _) => Outcome::Reject(refused),
            (None, Some(raw)) if record.is_replay() || is_taken(raw.offset) => {
                let value = Bytes::copy_from_slice(record.value());
                Outcome::Forward(vec![Forward::new(&self.0, value)])
            }
            (None, _) => Outcome::Reject(Rejection::new(
                RejectionCode::BlankField,
                None,
                "not sampled at first",
            )),
        };
        Ok(batch.iter().map(outcome).collect())
    }
}

/// As a role would run it.
fn start(
    world: &World,
    pipeline: &Pipeline,
    stage: &Stage,
    stop: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let (kafka, health) = (world.admin.clone(), Health::new());
    let flags = StageArgs::augment_args(clap::Command::new("sampler"))
        .try_get_matches_from([
            "sampler",
            "--breaker",
            "off",
            "--topic-dlq",
            &pipeline.dead_letters,
        ])
        .unwrap();
    let args = StageArgs::from_arg_matches(&flags).unwrap();
    let retry = stage.retry.clone().map(|topic| Retry {
        topic,
        max_replays: 5,
    });
    let settings = ConsumerSettings {
        raw_topic: Some(stage.reads.clone()),
        ..args.settings(
            &kafka,
            &stage.group,
            vec![stage.reads.clone()],
            retry,
            "sampler",
        )
    };
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage(&stage.name), &health).unwrap();
    let (handler, stop) = (Sampler(stage.writes[0].as_str().into()), stop.clone());
    tokio::spawn(async move {
        consumer::run(settings, handler, Some(publisher), health, stop)
            .await
            .unwrap();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_added_by_a_handler_and_one_entry() {
    let description = described();
    let pipeline = Pipeline::parse(&description).unwrap();
    let stage = pipeline.stage("sampler").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &description).unwrap();
    let file = file.path().to_str().unwrap();

    let (broker, flags) = embedded_with(&pipeline);
    let world = World::on(broker.kafka(), flags);
    let _registry = world.role("registry", &[]);
    let roles = [
        world.role("producer", &[]),
        world.role("validator", &[]),
        world.role("persistence", &[]),
        world.role("recovery", &["--pipeline", file]),
    ];
    for role in &roles {
        role.until_ready().await;
    }
    let stop = CancellationToken::new();
    let running = start(&world, &pipeline, stage, &stop);
    let oncall = OnCall::of(&world).await;
    let events: Vec<String> = (0..EVENTS)
        .map(|event| authorized(&format!("event-{event}")))
        .collect();
    post_all(&world.edge, &events).await;

    // Indexed: one in ten, and every event has its row all the same.
    let raw = topic(&world, pipeline.raw.clone()).await;
    let rejected = raw.iter().filter(|record| !is_taken(record.offset)).count() as i64;
    assert!(rejected > 0 && raw.len() == EVENTS);
    oncall.until_indexed(rejected).await;
    oncall
        .until_number("SELECT count(*) FROM persistence.events", EVENTS as i64)
        .await;

    // Explained: whose it is, and what today's checks know of it.
    let listed = oncall
        .json(&["dlq", "ls", "--stage", "sampler", "--limit", "1"])
        .await;
    let letter = listed["letters"][0]["id"].to_string();
    let explained = oncall.json(&["explain", &letter]).await;
    let today = explained["today"].as_str().unwrap();
    assert!(today.contains("sampler"), "{explained}");

    // Replayed to it alone, and settled when it has read them.
    let group = oncall.group("blank_field", "payment.authorized.v1").await;
    assert_eq!(group.1, rejected);
    let job = oncall.plan(&["--group", &group.0]).await;
    let expected = oncall.json(&["replay", "dry-run", &job]).await;
    assert_eq!(
        (&expected["would_process"], &expected["would_fail"]),
        (&rejected.into(), &0.into()),
        "{expected}"
    );
    oncall.apply(&job, "1000").await;
    assert_eq!(
        oncall.until_finished(&job).await,
        items([("processed", rejected)])
    );
    let replayed = topic(&world, stage.retry.clone().unwrap()).await;
    assert_eq!(replayed.len() as i64, rejected);
    for (other, retry) in pipeline.replayable() {
        let sent = topic(&world, retry.to_owned()).await;
        assert!(other.name == stage.name || sent.is_empty(), "{retry}");
    }
    until("all of it is sampled", async || {
        by_raw(&topic(&world, stage.writes[0].clone()).await).len() == EVENTS
    })
    .await;

    // The audit is of the path: it closes, and a stage beside it changes no fate.
    let audit = oncall.audit().await;
    assert_eq!(
        (&audit["records"], &audit["stored"], &audit["in_flight"]),
        (&EVENTS.into(), &EVENTS.into(), &0.into()),
        "{audit}"
    );
    stop.cancel();
    tokio::time::timeout(DEADLINE, running)
        .await
        .unwrap()
        .unwrap();
}
