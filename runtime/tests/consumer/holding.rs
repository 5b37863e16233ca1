//! The breaker: one source never holds the stage, a bad deploy does, and no hold is for ever.

use crate::world::{BREAKER, NO_BREAKER, Stage};
use runtime::breaker::BreakerSettings;
use std::time::Duration;

/// The same stage, started again with other rules.
fn run_with_rules(stage: &mut Stage, rules: &str) {
    let mut settings = stage.settings(BREAKER);
    if let Some(dead_letters) = &mut settings.dead_letters {
        dead_letters.rules = rules.to_owned();
    }
    let (sorter, publisher) = (stage.sorter.clone(), stage.publisher.clone());
    stage.run_with(settings, sorter, Some(publisher));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_nothing_but_garbage_at_ten_times_the_rate_holds_no_other() {
    let mut stage = Stage::start(BREAKER).await;
    for round in 1..=20 {
        stage.send_from("bad", "in", &["bad"; 50], &[]).await;
        stage.send_from("good", "in", &["good"; 5], &[]).await;
        stage
            .until("both are settled", |stage| {
                assert_eq!(stage.held(), None);
                stage.committed() == 55 * round
            })
            .await;
    }
    assert_eq!((stage.count("dead"), stage.count("out")), (1000, 100));
    let metrics = runtime::telemetry::metrics_handle().render();
    let over = |source| {
        let series = format!(
            r#"eventflow_consumer_source_over_dead_letter_ratio{{stage="sorter",source="{source}"}} 1"#
        );
        metrics.contains(&series)
    };
    assert!(over("bad") && !over("good"), "{metrics}");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_of_garbage_holds_nobody_when_it_is_all_there_is_and_neither_after_a_restart() {
    let mut stage = Stage::start(BREAKER).await;
    for round in 1..=2 {
        stage.send(&["bad"; 101]).await;
        stage
            .until("dead-lettered", |stage| {
                assert_eq!(stage.held(), None);
                stage.committed() == 101 * round
            })
            .await;
        stage.finish().await;
        stage.run(BREAKER);
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deploy_trips_the_breaker_and_does_not_drain_the_topic() {
    let mut stage = Stage::start(BREAKER).await;
    for _ in 0..10 {
        stage.send_from("a", "in", &["bad"; 15], &[]).await;
        stage.send_from("b", "in", &["bad"; 15], &[]).await;
    }
    let reason = stage.until_held().await;
    assert!(
        reason.starts_with("most records of a, b would be dead-lettered (first code: not_json)"),
        "{reason}"
    );
    assert!(stage.count("dead") < 100, "{}", stage.count("dead"));
    let report = stage.finish().await;
    assert!(report.dead_lettered < 100 && stage.committed() < 100);
    stage.run(NO_BREAKER);
    stage
        .until("a person let them through", |stage| {
            stage.committed() == 300
        })
        .await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_without_proof_opens_no_breaker_and_hides_no_bad_deploy() {
    let mut stage = Stage::start(BREAKER).await;
    let unverified = [("ef.unproven", &b"unverified"[..])];
    for round in 1..=10 {
        for source in ["a", "b"] {
            stage
                .send_from(source, "in", &["good"; 15], &unverified)
                .await;
        }
        stage
            .until("dead-lettered", |stage| {
                assert_eq!(stage.held(), None, "strangers must not hold a stage");
                stage.committed() == 30 * round
            })
            .await;
    }
    for source in ["a", "b"] {
        stage.send_from(source, "in", &["bad"; 60], &[]).await;
    }
    let reason = stage.until_held().await;
    assert!(reason.contains("not_json"), "{reason}");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_source_that_was_fine_before_a_deploy_and_is_not_after_it_holds_the_stage() {
    let mut stage = Stage::start(BREAKER).await;
    stage.send(&["good"; 20]).await;
    stage
        .until("the first rules accept it", |stage| stage.committed() == 20)
        .await;
    stage.finish().await;
    for _restart in 0..2 {
        run_with_rules(&mut stage, "second");
        stage.send(&["bad"; 20]).await;
        let reason = stage.until_held().await;
        assert!(
            reason.contains("since the version or the contracts changed"),
            "{reason}"
        );
        stage.finish().await;
        assert!(stage.committed() <= 21, "{}", stage.committed());
    }
    run_with_rules(&mut stage, "first");
    stage
        .until("rolled back, its records are its own fault", |stage| {
            stage.committed() == 60
        })
        .await;
    assert_eq!(stage.held(), None);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_by_itself_and_what_was_held_is_dead_lettered() {
    let mut stage = Stage::start(BreakerSettings {
        longest_hold: Duration::from_secs(1),
        ..BREAKER
    })
    .await;
    stage.send_from("a", "in", &["bad"; 50], &[]).await;
    stage.send_from("b", "in", &["bad"; 50], &[]).await;
    stage.until_held().await;
    stage
        .until("let through", |stage| stage.committed() == 100)
        .await;
    assert_eq!(stage.count("dead"), 100);
    assert_eq!(stage.held(), None);
    let metrics = runtime::telemetry::metrics_handle().render();
    assert!(
        metrics.contains(r#"eventflow_consumer_breaker_releases_total{stage="sorter"} 1"#),
        "{metrics}"
    );
    stage.finish().await;
}
