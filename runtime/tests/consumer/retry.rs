//! The retry topic of a group: beside the live records, and never in their way.

use crate::world::{BREAKER, NO_BREAKER, Stage};
use contracts::kafka::headers;
use runtime::breaker::BreakerSettings;
use runtime::replay::Retry;

const AGAIN: &str = "events.retry.g.v1";
const REPLAYED: [(&str, &[u8]); 3] = [
    (headers::RAW, b"7:77"),
    (headers::REPLAY_ID, b"job"),
    (headers::REPLAY_COUNT, b"1"),
];

fn retry() -> Option<Retry> {
    Some(Retry {
        topic: AGAIN.to_owned(),
        max_replays: 2,
    })
}

async fn start(breaker: BreakerSettings) -> Stage {
    Stage::start_on(
        &[("in", 2), ("out", 2), ("dead", 1), (AGAIN, 1)],
        retry(),
        breaker,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_that_fail_again_do_not_open_the_breaker_and_stop_no_live_record() {
    let mut stage = start(BREAKER).await;
    stage.send_to(AGAIN, &vec!["bad"; 1000], &REPLAYED).await;
    stage.send(&vec!["good"; 50]).await;
    stage
        .until(
            "all replays are dead letters again and the live records are through",
            |stage| {
                assert_eq!(stage.held(), None);
                stage.count("dead") == 1000 && stage.committed() == 50
            },
        )
        .await;
    assert_eq!(stage.count("out"), 50);
    assert!(stage.health.is_ready());
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_that_pass_do_not_hide_a_bad_deploy_and_wait_with_the_stage() {
    let mut stage = start(BREAKER).await;
    for source in ["a", "b"] {
        stage
            .send_from(source, AGAIN, &vec!["good"; 250], &REPLAYED)
            .await;
    }
    stage
        .until("the replays pass", |stage| stage.count("out") == 500)
        .await;
    // Counted with the good replays, twenty bad records of each source would hold nothing.
    for source in ["a", "b"] {
        stage.send_from(source, "in", &vec!["bad"; 150], &[]).await;
    }
    stage.send_to(AGAIN, &vec!["good"; 500], &REPLAYED).await;
    let reason = stage.until_held().await;
    assert!(reason.contains("not_json"), "{reason}");
    assert!(stage.count("dead") < 300, "{}", stage.count("dead"));
    stage.finish().await;
    stage.run(NO_BREAKER);
    stage
        .until("nothing was lost", |stage| {
            stage.count("dead") >= 300 && stage.count("out") >= 1000
        })
        .await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_its_raw_record_and_its_headers_forwarded_dead_lettered_or_exhausted() {
    let mut stage = start(NO_BREAKER).await;
    let with = |count: &'static [u8]| {
        [
            (headers::RAW, &b"7:77"[..]),
            (headers::REPLAY_ID, b"job"),
            (headers::REPLAY_COUNT, count),
            (headers::EDITED_BY, b"ann"),
            (headers::ORIGINAL_HASH, b"sha256:00"),
            (headers::dlq::FIRST_FAILED_AT, b"123"),
            // The verdict it was replayed for, should whoever replays it leave it there.
            (headers::dlq::ERRORS_TOPIC, b"old"),
            (headers::dlq::CODE, b"old"),
            (headers::dlq::DETAIL, b"old"),
        ]
    };
    stage.send_to(AGAIN, &["good", "bad"], &with(b"2")).await;
    stage.send_to(AGAIN, &["good"], &with(b"3")).await;
    // In the input topic nobody counts: a replay that passed the stage before comes here as a record like any other.
    stage.send_to("in", &["good"], &with(b"3")).await;
    stage
        .until("all settled", |stage| {
            stage.count("out") == 2 && stage.count("dead") == 2
        })
        .await;
    let (out, dead) = (stage.read("out"), stage.read("dead"));
    for record in out.iter().chain(&dead) {
        for (name, value) in [
            (headers::RAW, "7:77"),
            (headers::REPLAY_ID, "job"),
            (headers::EDITED_BY, "ann"),
            (headers::ORIGINAL_HASH, "sha256:00"),
        ] {
            assert_eq!(record.header(name).as_deref(), Some(value), "{name}");
        }
    }
    for letter in &dead {
        assert_eq!(
            letter.header(headers::dlq::FIRST_FAILED_AT).as_deref(),
            Some("123")
        );
        assert_eq!(
            letter.header(headers::dlq::ERRORS_TOPIC).as_deref(),
            Some(AGAIN)
        );
        for name in headers::dlq::ALL {
            let copies: Vec<_> = letter
                .headers
                .iter()
                .filter(|(found, _)| found == name)
                .collect();
            assert!(
                copies.len() == 1 && copies[0].1.as_deref() != Some(b"old"),
                "{name}: {copies:?}"
            );
        }
    }
    let code = |count: &str| {
        let letter = dead
            .iter()
            .find(|letter| letter.header(headers::REPLAY_COUNT).as_deref() == Some(count));
        letter.and_then(|letter| letter.header(headers::dlq::CODE))
    };
    assert_eq!(
        (code("2").as_deref(), code("3").as_deref()),
        (Some("not_json"), Some("replays_exhausted"))
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_retry_topic_is_reported_and_stops_no_live_record_and_is_read_once_it_is_there() {
    let mut stage =
        Stage::start_on(&[("in", 2), ("out", 2), ("dead", 1)], retry(), NO_BREAKER).await;
    stage.send(&["one", "bad", "two"]).await;
    stage
        .until("live records go on", |stage| stage.committed() == 3)
        .await;
    let missing = |stage: &Stage| {
        stage
            .health
            .reasons()
            .into_iter()
            .find(|(check, _)| *check == "topic_missing")
    };
    stage
        .until("it is reported", |stage| missing(stage).is_some())
        .await;
    let (_, reason) = missing(&stage).unwrap();
    assert!(
        reason.contains(AGAIN) && reason.contains("eventflow admin topics apply --retry-group g"),
        "{reason}"
    );
    for round in 4..=8 {
        stage.send(&["more"]).await;
        stage
            .until("more live records", |stage| stage.committed() == round)
            .await;
        assert!(missing(&stage).is_some(), "settled records do not hide it");
    }
    // The embedded broker makes the topic with the first record.
    stage.send_to(AGAIN, &["good"], &REPLAYED).await;
    stage
        .until("the replay is forwarded", |stage| stage.count("out") == 8)
        .await;
    stage.until("ready", |stage| stage.health.is_ready()).await;
    assert_eq!(stage.finish().await.left_unsettled, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revalidation_sends_is_never_a_dead_letter_and_stops_nothing() {
    let mut stage = start(BREAKER).await;
    let copy = [
        (headers::RAW, &b"7:77"[..]),
        (headers::REPLAY_ID, b"job"),
        (headers::REPLAY_COUNT, b"1"),
        (headers::REVALIDATES, b"any.v1"),
    ];
    stage.send_to(AGAIN, &["bad", "good", "bad"], &copy).await;
    // Behind the first stage it comes by the input topic.
    stage.send_to("in", &["bad", "good"], &copy[..1]).await;
    stage.send_to("in", &["bad", "good"], &copy).await;
    stage
        .until("all are settled", |stage| {
            stage.count("out") == 3 && stage.committed() == 4
        })
        .await;
    let dead = stage.read("dead");
    assert_eq!(dead.len(), 1, "of the record that is no copy");
    assert_eq!(dead[0].header(headers::REVALIDATES), None);
    let carried = stage.read("out");
    let carried = carried
        .iter()
        .filter(|record| record.header(headers::REVALIDATES).as_deref() == Some("any.v1"));
    assert_eq!(carried.count(), 2, "the next stage knows it too");
    stage.finish().await;
}
