//! A timeline is found by index alone.

use crate::timeline;
use crate::timeline::world;
use recovery::query::trace;
use sandbox::harness::wait_for;
use sqlx::Row as _;
use std::time::{Duration, Instant};

/// PostgreSQL's md5('e7') and md5('t7'); the second is a trace id.
const E7: &str = "492585e49f078b06b0cd507d42ae9da0";
const T7: &str = "3685708fd594a6861aa73f181e657dc5";

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_found_by_index_alone() {
    let world = world(true, None, &[]).await;
    world.run(
        "INSERT INTO persistence.events (source, event_id, event_type, contract, entity_key, occurred_at, payload, content_hash, schema_id, trace_id, raw_partition, raw_offset)
         SELECT 's', md5('e' || o), 't', '1', 'pay-' || o / 2, now(), '{}', '', 1, md5('t' || o), 0, o FROM generate_series(0, 49999) o;
         INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id) SELECT 1, o, 's', md5('e' || o) FROM generate_series(0, 49999) o;
         INSERT INTO groups (stage, code, source, event_type) VALUES ('persistence', 'conflict', 's', '');
         INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, consumer_group, detail, disposition, attempts, first_failed_at, last_failed_at, event_id, entity_key, trace_id, headers)
             SELECT 1, 'events.raw.v1', 2, o, 'eventflow', 0, o, 'g', 'd', 'conflict', 1, now(), now(), md5('e' || o), 'pay-' || o / 2, md5('t' || o), '[]' FROM generate_series(0, 49999) o;
         INSERT INTO failures SELECT id, 0, id, 's', 'c', 'g', 'd', 0, now(), NULL, '[]' FROM dead_letters;
         INSERT INTO edits (dead_letter_id, edited_by, value, patch) SELECT id, 'a', '', '[]' FROM dead_letters;
         INSERT INTO replay_jobs (id, selection, created_by, items, needs_confirmation) SELECT 'j' || o, '{}', 'a', 1, false FROM generate_series(1, 50000) o;
         INSERT INTO replay_items (job_id, dead_letter_id, position, sent_at) SELECT 'j' || id, id, 0, now() FROM dead_letters",
    )
    .await;
    world.run("VACUUM ANALYZE").await;
    let admin = sqlx::PgPool::connect(&world.url).await.unwrap();
    let scans = "SELECT schemaname || '.' || relname, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables
         WHERE relname IN ('events', 'duplicates', 'dead_letters', 'failures', 'edits', 'replay_jobs', 'replay_items') ORDER BY 1";
    // The connections that loaded report what they did when they end.
    world.recovery.pool().close().await;
    let before = sqlx::query(scans).fetch_all(&admin).await.unwrap();
    // A small table is read from end to end rather than by a summary of its pages, if that is allowed.
    let asking = timeline::again(&format!("{}&options=-c%20enable_seqscan%3Doff", world.url));
    let started = Instant::now();
    for asked in [E7, "pay-77", T7] {
        let trace = trace::trace(&asking, asked).await.unwrap();
        assert!(
            trace
                .timelines
                .iter()
                .any(|timeline| timeline.steps.len() >= 5),
            "{trace:?}"
        );
    }
    let took = started.elapsed();
    asking.pool().close().await;
    let after = wait_for(Duration::from_secs(30), async || {
        let after = sqlx::query(scans).fetch_all(&admin).await.unwrap();
        if after
            .iter()
            .zip(&before)
            .all(|(after, before)| after.get::<i64, _>(2) > before.get::<i64, _>(2))
        {
            Ok(after)
        } else {
            Err("every table was read by an index".to_owned())
        }
    })
    .await;
    assert_eq!(after.len(), 7);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(
            after.get::<i64, _>(1),
            before.get::<i64, _>(1),
            "{} was read from end to end",
            after.get::<String, _>(0)
        );
    }
    assert!(took < Duration::from_secs(5), "three traces took {took:?}");
}
