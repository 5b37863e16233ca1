//! Timelines kept apart, bounded, and shown without persistence.

use crate::timeline;
use crate::timeline::world;
use crate::traced;
use recovery::error::RecoveryError;
use recovery::model::{StepKind, TraceFate};
use recovery::query::trace;

#[tokio::test(flavor = "multi_thread")]
async fn stories_are_kept_apart_bounded_and_shown_without_persistence() {
    let world = world(true, None, &[]).await;
    for (source, partition) in [("acme", 0), ("globex", 1)] {
        world.run(format!(
            "INSERT INTO persistence.events (source, event_id, event_type, contract, entity_key, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
             SELECT '{source}', 'same-' || o, 't', '1', 'pay-{source}', now(), '{{}}', '', 1, {partition}, o FROM generate_series(0, 14) o"
        )).await;
    }
    let trace = traced(&world, "same-3").await;
    assert_eq!(
        (trace.timelines.len(), trace.truncated),
        (2, false),
        "one id of two vendors is two events"
    );
    let trace = traced(&world, "pay-acme").await;
    assert_eq!((trace.timelines.len(), trace.truncated), (15, false));
    world
        .run("UPDATE persistence.events SET entity_key = 'busy'")
        .await;
    let trace = traced(&world, "busy").await;
    assert_eq!((trace.timelines.len(), trace.truncated), (20, true));

    // A conflict: another raw record with the same event id belongs to the same timeline; the event is stored.
    world.letter(0, 100, "open").await;
    world.run("UPDATE dead_letters SET event_id = 'same-3'; UPDATE groups SET source = 'globex', stage = 'persistence', code = 'conflict'").await;
    let trace = traced(&world, "same-3").await;
    let with_letter: Vec<_> = trace
        .timelines
        .iter()
        .filter(|timeline| {
            timeline
                .steps
                .iter()
                .any(|step| step.what == StepKind::DeadLettered)
        })
        .collect();
    assert_eq!(
        (
            with_letter.len(),
            with_letter[0].source.as_deref(),
            with_letter[0].fate
        ),
        (1, Some("globex"), TraceFate::Stored)
    );

    for refused in ["", "a\0b", &"x".repeat(2000)] {
        assert!(matches!(
            trace::trace(&world.recovery, refused).await,
            Err(RecoveryError::Invalid(_))
        ));
    }
    assert!(matches!(
        trace::trace(&world.recovery, "'; DROP TABLE dead_letters; --").await,
        Err(RecoveryError::NotFound(_))
    ));

    let bare = timeline::world(false, None, &[]).await;
    bare.letter(0, 0, "discarded").await;
    bare.run("UPDATE dead_letters SET event_id = 'e', settled_at = clock_timestamp(), settled_by = 'ada', reason = 'a test'")
        .await;
    let timeline = traced(&bare, "e").await.timelines.remove(0);
    assert_eq!(timeline.fate.to_string(), "dead_lettered (discarded)");
    assert_eq!(
        timeline
            .steps
            .last()
            .map(|step| (step.what.as_str(), step.detail.as_str())),
        Some(("discarded", "by ada: a test"))
    );
}
