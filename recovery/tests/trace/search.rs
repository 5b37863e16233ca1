//! Events are found: every one once, in the order of time, and with a bounded number of rows read.

use crate::timeline::{World, again, world};
use recovery::model::{EventFate, EventFilter, EventPage};
use recovery::query::events;
use sandbox::harness::wait_for;
use std::collections::BTreeSet;
use std::time::Duration;

/// Events of three partitions, second by second: of seven, one is a duplicate, one filtered, one an open dead letter and one a resolved one.
async fn filled(many: i64) -> World {
    let world = world(true, None, &[]).await;
    world.run(format!(
        "CREATE TEMPORARY TABLE made AS SELECT o % 3 AS p, o / 3 AS at, o % 7 AS kind, o, to_timestamp(1790000000 + o) AS received,
             CASE o % 2 WHEN 0 THEN 'acme' ELSE 'stripe' END AS source FROM generate_series(0, {many} - 1) o;
         INSERT INTO persistence.events (source, event_id, event_type, contract, entity_key, occurred_at, received_at, stored_at, payload,
                                         content_hash, schema_id, trace_id, raw_partition, raw_offset)
             SELECT source, 'e-' || o, CASE o % 4 WHEN 0 THEN 'paid' ELSE 'refunded' END, '1', 'pay-' || o / 10, received, received, received,
                    jsonb_build_object('amount', o, 'customer', jsonb_build_object('email', 'a' || o || '@b.c'),
                                       'items', jsonb_build_array(jsonb_build_object('sku', 's' || o % 50))),
                    '', 1, md5('t' || o), p, at FROM made WHERE kind NOT IN (1, 2, 3);
         INSERT INTO persistence.duplicates (raw_partition, raw_offset, raw_epoch, source, event_id, received_at, seen_at)
             SELECT p, at, '', source, 'e-' || o - 1, received, received FROM made WHERE kind = 1;
         INSERT INTO persistence.filtered (raw_partition, raw_offset, raw_epoch, source, event_id, event_type, rule, received_at, seen_at)
             SELECT p, at, '', source, 'e-' || o, 'ping', 'pings', received, received FROM made WHERE kind = 2;
         INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', 'invalid_amount', 'acme', ''), ('validator', 'invalid_amount', 'stripe', '');
         INSERT INTO dead_letters (state, group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset,
                                   consumer_group, detail, disposition, attempts, first_failed_at, last_failed_at, received_at, event_id, headers, resolution)
             SELECT CASE kind WHEN 3 THEN 'open' ELSE 'resolved' END, (SELECT id FROM groups g WHERE g.source = made.source), 'events.raw.v1', p, at, 'eventflow', 0, o,
                    'eventflow-validator', 'd', 'contract', 1, received, received, received, 'e-' || o, '[]', CASE kind WHEN 3 THEN NULL ELSE 'stored' END
             FROM made WHERE kind IN (3, 4);
         DROP TABLE made"
    ))
    .await;
    world
}

async fn page(world: &World, filter: &EventFilter, before: Option<&str>) -> EventPage {
    events::events(&world.recovery, filter, before)
        .await
        .unwrap()
}

/// Every page to the end.
async fn pages(world: &World, filter: &EventFilter) -> Vec<EventPage> {
    let mut all = vec![page(world, filter, None).await];
    while let Some(next) = all.last().unwrap().next.clone() {
        assert!(all.len() < 1000, "a cursor that goes round: {next}");
        all.push(page(world, filter, Some(&next)).await);
    }
    all
}

fn filter(limit: u32) -> EventFilter {
    EventFilter {
        limit: Some(limit),
        ..EventFilter::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_listed_once_in_the_order_of_time_whatever_the_page() {
    let world = filled(700).await;
    for limit in [1, 7, 50, 500] {
        let pages = pages(&world, &filter(limit)).await;
        let times: Vec<_> = pages
            .iter()
            .flat_map(|page| &page.events)
            .map(|it| it.at)
            .collect();
        assert!(
            times.is_sorted_by(|one, other| one >= other),
            "pages of {limit}"
        );
        let raws: BTreeSet<&str> = pages
            .iter()
            .flat_map(|page| &page.events)
            .map(|it| &*it.raw)
            .collect();
        assert_eq!((times.len(), raws.len()), (700, 700), "pages of {limit}");
        assert!(pages.iter().all(|page| page.searched_to.is_none()));
    }
    let all = page(&world, &filter(500), None).await.events;
    let count = |fate: &str| all.iter().filter(|it| it.fate.to_string() == fate).count();
    let counts = ["stored", "duplicate", "filtered", "dead_lettered (open)"].map(count);
    assert_eq!(counts.iter().sum::<usize>(), 500);
    assert!(counts.iter().all(|many| *many >= 71), "{counts:?}");
    let dead = all.iter().find(|it| it.letter.is_some()).unwrap();
    assert_eq!(dead.why.as_deref(), Some("invalid_amount"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_finds_what_it_says_and_nothing_else() {
    let world = filled(700).await;
    let listed = async |filter: EventFilter| -> Vec<String> {
        let pages = pages(
            &world,
            &EventFilter {
                limit: Some(500),
                ..filter
            },
        )
        .await;
        let events = pages.into_iter().flat_map(|page| page.events);
        events.map(|it| it.event_id.unwrap_or_default()).collect()
    };
    let all = EventFilter::default;
    let source = listed(EventFilter {
        source: vec!["acme".to_owned()],
        ..all()
    })
    .await;
    assert_eq!(source.len(), 350);
    let fate = listed(EventFilter {
        fate: vec![EventFate::Filtered, EventFate::Duplicate],
        ..all()
    })
    .await;
    assert_eq!(fate.len(), 200);
    let kind = listed(EventFilter {
        event_type: vec!["ping".to_owned()],
        ..all()
    })
    .await;
    assert_eq!(kind.len(), 100);
    for (field, ids) in [
        ("/amount=35", vec!["e-35"]),
        ("/customer/email=a35@b.c", vec!["e-35"]),
        (
            "/items/0/sku=s35",
            vec![
                "e-685", "e-635", "e-585", "e-485", "e-385", "e-335", "e-285", "e-235", "e-185",
                "e-35",
            ],
        ),
        ("/amount=\"35\"", vec![]),
        ("/customer/email=x' OR '1'='1", vec![]),
    ] {
        let found = listed(EventFilter {
            field: vec![field.to_owned()],
            ..all()
        })
        .await;
        let expected: Vec<&str> = ids.into_iter().filter(|id| stored(id)).collect();
        assert_eq!(found, expected, "{field}");
    }
    let two = vec!["/amount=35".to_owned(), "/items/0/sku=s36".to_owned()];
    assert!(
        listed(EventFilter {
            field: two,
            ..all()
        })
        .await
        .is_empty()
    );
    let time =
        |seconds: i64| time::OffsetDateTime::from_unix_timestamp(1_790_000_000 + seconds).unwrap();
    let some = listed(EventFilter {
        since: Some(time(100)),
        until: Some(time(110)),
        ..all()
    })
    .await;
    assert_eq!(some.len(), 10, "{some:?}");
    let no_path = EventFilter {
        field: vec!["amount".to_owned()],
        ..all()
    };
    let refused = events::events(&world.recovery, &no_path, None).await;
    assert_eq!(refused.unwrap_err().code(), "invalid_request");
    for before in ["x", "0", "0:-1", "0:1:2", "-1:5", "0:1,"] {
        let refused = events::events(&world.recovery, &all(), Some(before)).await;
        assert_eq!(refused.unwrap_err().code(), "invalid_request", "{before}");
    }
}

/// Whether [`filled`] makes a row of it.
fn stored(id: &str) -> bool {
    let number: i64 = id.trim_start_matches("e-").parse().unwrap();
    !matches!(number % 7, 1..=3)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_finds_all_that_has_it() {
    let world = filled(700).await;
    let found = async |q: &str| -> Vec<String> {
        let filter = EventFilter {
            q: Some(q.to_owned()),
            ..EventFilter::default()
        };
        let events = page(&world, &filter, None).await.events;
        events
            .into_iter()
            .map(|it| format!("{} {}", it.raw, it.fate))
            .collect()
    };
    // e-35 is event 35, of partition 2, and 36 is its duplicate.
    assert_eq!(found("e-35").await, ["0:12 duplicate", "2:11 stored"]);
    assert_eq!(found("e-38").await, ["2:12 dead_lettered (open)"]);
    // Of 30 to 39, those that are rows.
    assert_eq!(found("pay-3").await.len(), 5);
    let trace: String = sqlx::query_scalar("SELECT md5('t35')")
        .fetch_one(world.recovery.pool())
        .await
        .unwrap();
    assert_eq!(found(&trace).await, ["2:11 stored"]);
    assert_eq!(
        found(&format!("00-{trace}-00f067aa0ba902b7-01")).await,
        ["2:11 stored"]
    );
    assert!(found("nobody").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_little_is_searched_in_bounded_steps_that_say_how_far_they_went() {
    let world = world(true, None, &[]).await;
    world.run(
        "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, received_at, stored_at, payload, content_hash,
                                         schema_id, raw_partition, raw_offset)
         SELECT 'acme', 'e-' || o, 't', '1', now(), to_timestamp(1790000000 + o), now(), jsonb_build_object('n', o), '', 1, 0, o
         FROM generate_series(0, 59999) o",
    ).await;
    let filter = EventFilter {
        field: vec!["/n=5".to_owned()],
        ..EventFilter::default()
    };
    let pages = pages(&world, &filter).await;
    let found: Vec<usize> = pages.iter().map(|page| page.events.len()).collect();
    assert_eq!(found, [0, 0, 1]);
    let searched = |page: &EventPage| {
        page.searched_to
            .map(|to| to.unix_timestamp() - 1_790_000_000)
    };
    assert_eq!(
        pages.iter().map(searched).collect::<Vec<_>>(),
        [Some(40_000), Some(20_000), None]
    );
}

/// How many rows were read of these tables, and how often one from end to end, by what this does.
async fn read(
    world: &World,
    tables: &str,
    work: impl AsyncFnOnce(&recovery::Context),
) -> (i64, i64) {
    world.run("VACUUM ANALYZE").await;
    let admin = sqlx::PgPool::connect(&world.url).await.unwrap();
    let statement = format!(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint, sum(seq_scan)::bigint, sum(coalesce(idx_scan, 0))::bigint
         FROM pg_stat_user_tables WHERE schemaname || '.' || relname IN ({tables})"
    );
    let look = async || -> (i64, i64, i64) {
        let statement = sqlx::AssertSqlSafe(statement.clone());
        sqlx::query_as(statement).fetch_one(&admin).await.unwrap()
    };
    // Connections report what they did when they end.
    world.recovery.pool().close().await;
    let before = wait_for(Duration::from_secs(30), async || {
        // This one, and the one that made persistence's schema and is idle since.
        let loaded: bool = sqlx::query_scalar(
            "SELECT count(*) > 2 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'",
        )
        .fetch_one(&admin)
        .await
        .unwrap();
        if loaded {
            Err("the connections that loaded have ended".to_owned())
        } else {
            Ok(look().await)
        }
    })
    .await;
    let asking = again(&world.url);
    work(&asking).await;
    asking.pool().close().await;
    let after = wait_for(Duration::from_secs(30), async || {
        let now = look().await;
        if now.2 + now.1 > before.2 + before.1 {
            Ok(now)
        } else {
            Err("what was read is reported".to_owned())
        }
    })
    .await;
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_page_reads_little_of_a_large_table() {
    let world = filled(90_000).await;
    let tables = "'persistence.events', 'persistence.duplicates', 'persistence.filtered', 'recovery.dead_letters'";
    let (rows, scans) = read(&world, tables, async |context| {
        let page = events::events(context, &filter(50), None).await.unwrap();
        assert_eq!(page.events.len(), 50);
    })
    .await;
    // Of three partitions and four tables a page each, and those of dead letters that are resolved.
    let most = 2 * 3 * 4 * 50;
    assert!(scans == 0 && rows <= most, "{rows} rows, {scans} scans");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_totals_of_the_index_read_groups_and_not_letters() {
    let world = world(true, None, &[]).await;
    world.run(
        "INSERT INTO groups (stage, code, source, event_type) SELECT 'validator', 'invalid_amount', 's' || n, '' FROM generate_series(1, 20) n;
         INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, consumer_group,
                                   detail, disposition, attempts, first_failed_at, last_failed_at, headers)
         SELECT 1 + o % 20, 'events.raw.v1', 0, o, 'eventflow', 0, o, 'g', 'd', 'contract', 1, now(), now(), '[]' FROM generate_series(1, 100000) o",
    ).await;
    let (rows, scans) = read(&world, "'recovery.dead_letters'", async |context| {
        let stats = recovery::query::stats::stats(context).await.unwrap();
        assert_eq!(stats.open, 100_000);
        let groups = recovery::query::list::groups(context, &recovery::model::Selection::default())
            .await
            .unwrap();
        assert_eq!(groups.len(), 20);
    })
    .await;
    assert!(scans == 0 && rows <= 20, "{rows} letters, {scans} scans");
}
