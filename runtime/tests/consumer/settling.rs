//! Good records, bad ones and outages; members that come and go.

use crate::world::{DEADLINE, NO_BREAKER, Sorter, Stage};
use contracts::kafka::headers::{self, dlq};
use runtime::admin::read_all;
use runtime::consumer::{self, ConsumerSettings, StageSummary, Start};
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use sandbox::broker::{BrokerFault, BrokerRequest};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_among_good_ones_is_dead_lettered_unchanged_and_the_rest_goes_on() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage.send(&["one", "bad \u{7} two", "three"]).await;
    stage
        .until("everything settled", |stage| stage.committed() == 3)
        .await;
    let report = stage.finish().await;
    assert_eq!(
        report,
        StageSummary {
            done: 0,
            forwarded: 2,
            dead_lettered: 1,
            left_unsettled: 0
        }
    );
    let dead = read_all(&stage.kafka, "dead").unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some("bad \u{7} two".as_bytes()));
    assert_eq!(dead[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(
        dead[0].headers[1],
        ("x-signature".to_owned(), Some(vec![1, 255])),
        "headers as they were"
    );
    for (name, value) in [
        (dlq::CODE, "not_json"),
        (dlq::STAGE, "sorter"),
        (dlq::ERRORS_TOPIC, "in"),
        (dlq::ERRORS_GROUP, "g"),
    ] {
        assert_eq!(dead[0].header(name).as_deref(), Some(value), "{name}");
    }
    let out = read_all(&stage.kafka, "out").unwrap();
    assert!(
        out.iter()
            .all(|record| record.header(headers::RAW).is_some()
                && record.header("x-signature").is_none())
    );
    assert_eq!(out[0].header(headers::SOURCE).as_deref(), Some("s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_dead_letter_topic_refuses_the_offset_does_not_move() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage.send(&["warm"]).await;
    stage
        .until("assigned", |stage| stage.committed() == 1)
        .await;
    let warm = stage.count("out");
    stage.send(&["bad"]).await;
    stage.broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::TopicAuthorizationFailed; 200],
    );
    stage.send_ignoring_acks(&["bad two"]).await;
    stage
        .until("the refusal shows in /ready", |stage| {
            stage
                .health
                .reasons()
                .iter()
                .any(|(check, _)| *check == "dependency")
        })
        .await;
    assert_eq!(stage.count("out"), warm);
    let before = stage.committed();
    assert!(before <= 2, "nothing refused is committed");
    stage.broker.stop_failing();
    stage
        .until("the dead letters arrive", |stage| {
            stage.committed() as usize == stage.count("in")
        })
        .await;
    stage
        .until("ready again", |stage| stage.health.is_ready())
        .await;
    assert_eq!(stage.finish().await.left_unsettled, 0);
    assert_eq!(stage.count("dead"), stage.count("in") - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_waits_keeps_the_records_and_dead_letters_nothing() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage
        .sorter
        .dependency_is_down
        .store(true, Ordering::SeqCst);
    stage.send(&["one", "two", "three"]).await;
    stage
        .until("asked again and again", |stage| {
            stage.sorter.asked.load(Ordering::SeqCst) >= 4
        })
        .await;
    assert_eq!(stage.committed(), 0);
    assert!(
        stage
            .health
            .reasons()
            .iter()
            .any(|(check, reason)| *check == "dependency" && reason.contains("test_outage"))
    );
    stage
        .sorter
        .dependency_is_down
        .store(false, Ordering::SeqCst);
    stage.until("settled", |stage| stage.committed() == 3).await;
    assert_eq!(stage.finish().await.dead_lettered, 0);
    assert_eq!((stage.count("out"), stage.count("dead")), (3, 0));
    assert!(stage.health.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_an_outage_it_commits_nothing_and_the_next_one_reads_it_again() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage
        .sorter
        .dependency_is_down
        .store(true, Ordering::SeqCst);
    stage.send(&["one", "bad"]).await;
    stage
        .until("held", |stage| {
            stage.sorter.asked.load(Ordering::SeqCst) >= 2
        })
        .await;
    let report = stage.finish().await;
    assert!(report.left_unsettled >= 1, "{report:?}");
    assert_eq!(stage.committed(), 0);
    stage
        .sorter
        .dependency_is_down
        .store(false, Ordering::SeqCst);
    stage.run(NO_BREAKER);
    stage
        .until("read again", |stage| stage.committed() == 2)
        .await;
    let report = stage.finish().await;
    assert_eq!((report.forwarded, report.dead_lettered), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_over_and_no_record_is_lost_or_forwarded_twice() {
    let mut stage = Stage::start(NO_BREAKER).await;
    let values: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = values.iter().map(String::as_str).collect();
    stage.send(&texts[..200]).await;
    stage
        .until("the first half", |stage| stage.committed() == 200)
        .await;
    let (first, stop) = (stage.running.take().unwrap(), stage.stop.clone());
    stage.run(NO_BREAKER);
    stop.cancel();
    first.await.unwrap().unwrap();
    stage.send(&texts[200..]).await;
    stage
        .until("the second half", |stage| stage.committed() == 400)
        .await;
    stage.finish().await;
    let mut out: Vec<Vec<u8>> = read_all(&stage.kafka, "out")
        .unwrap()
        .into_iter()
        .filter_map(|record| record.value)
        .collect();
    assert_eq!(out.len(), 400);
    out.sort();
    out.dedup();
    assert_eq!(out.len(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_is_made_again_without_another_record() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage.send(&["warm"]).await;
    stage
        .until("assigned", |stage| stage.committed() == 1)
        .await;
    stage.broker.fail(
        BrokerRequest::OffsetCommit,
        vec![BrokerFault::TopicAuthorizationFailed; 3],
    );
    stage.send(&["one"]).await;
    stage
        .until("committed all the same", |stage| stage.committed() == 2)
        .await;
    let counted = runtime::telemetry::metrics_handle().render();
    assert!(
        counted.contains("eventflow_consumer_commit_failures_total"),
        "{counted}"
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_when_it_stops_is_committed_when_it_has_stopped() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage.send(&["warm"]).await;
    stage
        .until("assigned", |stage| stage.committed() == 1)
        .await;
    stage.send(&["one", "two", "bad"]).await;
    stage
        .until("forwarded", |stage| {
            stage.count("out") == 3 && stage.count("dead") == 1
        })
        .await;
    let report = stage.finish().await;
    assert_eq!(
        (
            report.forwarded,
            report.dead_lettered,
            report.left_unsettled
        ),
        (3, 1, 0)
    );
    assert_eq!(stage.committed(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_gone_stays_visible_while_other_partitions_go_on() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage.send(&["warm"]).await;
    stage
        .until("assigned", |stage| stage.committed() == 1)
        .await;
    stage.finish().await;
    *stage.sorter.start.lock().unwrap() = Some(Start::Offset(1_000_000));
    stage.run(NO_BREAKER);
    let gone = |stage: &Stage| {
        stage
            .health
            .reasons()
            .iter()
            .any(|(check, _)| *check == "offset_out_of_range")
    };
    stage.until("the gap shows in /ready", gone).await;
    let seen = |stage: &Stage| {
        stage
            .sorter
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(number, _)| *number == 1)
            .count()
    };
    for round in 1..=5 {
        let before = seen(&stage);
        // No key: both partitions get their share.
        stage.send_ignoring_acks(&["x"; 20]).await;
        stage
            .until("the other partition goes on", |stage| seen(stage) > before)
            .await;
        assert!(gone(&stage), "round {round}: {:?}", stage.health.reasons());
    }
    assert!(!stage.health.is_ready());
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fatal_error_of_the_client_ends_the_stage() {
    let mut stage = Stage::start(NO_BREAKER).await;
    stage.send(&["warm"]).await;
    stage
        .until("assigned", |stage| stage.committed() == 1)
        .await;
    stage.finish().await;
    stage
        .kafka
        .kafka_config
        .push("group.instance.id=one".to_owned());
    stage.run(NO_BREAKER);
    stage.send(&["again"]).await;
    stage
        .until("assigned again", |stage| stage.committed() == 2)
        .await;
    stage.broker.fail(
        BrokerRequest::Heartbeat,
        vec![BrokerFault::FencedInstanceId; 3],
    );
    let ended = tokio::time::timeout(DEADLINE, stage.running.take().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(
        ended
            .unwrap_err()
            .to_string()
            .contains("fatal consumer error")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_acknowledgements_are_missing_a_stage_stays_a_member_that_gives_partitions_up() {
    let mut stage = Stage::prepare(&[("in", 2), ("out", 2), ("dead", 1)], None);
    stage.send(&["one", "bad", "two"]).await;
    stage.broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::NotEnoughReplicas; 100_000],
    );
    // Longer than the test: only polls in between let the group go on.
    let forever = Duration::from_secs(300);
    let patient = PublisherSettings {
        record_timeout: forever,
        ..PublisherSettings::stage("patient")
    };
    let patient = Publisher::new(&stage.kafka, &patient, &stage.health).unwrap();
    let settings = ConsumerSettings {
        publish_deadline: forever,
        ..stage.settings(NO_BREAKER)
    };
    stage.run_with(settings.clone(), stage.sorter.clone(), Some(patient));
    stage
        .until("the first waits for acknowledgements", |stage| {
            stage.sorter.asked.load(Ordering::SeqCst) > 0
        })
        .await;
    let (health, stop) = (Health::new(), CancellationToken::new());
    let publisher = Some(stage.publisher.clone());
    let second = consumer::run(
        settings,
        Sorter::default(),
        publisher,
        health.clone(),
        stop.clone(),
    );
    let second = tokio::spawn(second);
    stage
        .until("the second has partitions", |_| {
            let reasons = health.reasons();
            !reasons.iter().any(|(check, _)| *check == "consumer")
        })
        .await;
    assert_eq!(stage.committed(), 0);
    stage.broker.stop_failing();
    stage
        .until("all is settled", |stage| stage.committed() == 3)
        .await;
    stop.cancel();
    second.await.unwrap().unwrap();
    stage.finish().await;
}
