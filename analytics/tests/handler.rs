//! The stage without Kafka: waits, redelivery, restarts and rebalances never count an event twice, and nothing is dead-lettered.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

mod common;

use analytics::figures::MINUTE_MS;
use analytics::handler::Analytics;
use analytics::stats::{Stats, stats};
use analytics::{Shared, no_figures};
use common::{Schemas, framed, now_ms};
use contracts::kafka::headers;
use runtime::consumer::{Handler, Header, Outcome, Record, StageError, Start};
use runtime::registry::{Registry, RegistryArgs};
use std::sync::atomic::Ordering;
use tokio::runtime::Runtime;

const TOPIC: &str = contracts::kafka::topics::VALIDATED;

/// A validated record of which a borrowed [`Record`] is made.
struct Given {
    partition: i32,
    offset: i64,
    value: Vec<u8>,
    raw: String,
    received_at: String,
}

fn given(partition: i32, offset: i64, value: Vec<u8>) -> Given {
    Given {
        partition,
        offset,
        value,
        raw: format!("{partition}:{offset}"),
        received_at: (now_ms() * 1000).to_string(),
    }
}

/// Hands a batch over, as the loop does.
fn handle(stage: &mut Analytics, batch: &[Given]) -> Result<Vec<Outcome>, StageError> {
    let of_each: Vec<[Header<'_>; 2]> = batch
        .iter()
        .map(|record| {
            [
                (headers::RAW, Some(record.raw.as_bytes())),
                (headers::RECEIVED_AT, Some(record.received_at.as_bytes())),
            ]
        })
        .collect();
    let records: Vec<Record<'_>> = batch
        .iter()
        .zip(&of_each)
        .map(|(record, headers)| {
            Record::new(
                TOPIC,
                record.partition,
                record.offset,
                now_ms(),
                None,
                Some(&record.value),
                headers,
            )
        })
        .collect();
    stage.handle(&records)
}

struct Bench {
    runtime: Runtime,
    schemas: Schemas,
}

impl Bench {
    fn new() -> Self {
        runtime::telemetry::metrics_handle();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let schemas = runtime.block_on(Schemas::start());
        Self { runtime, schemas }
    }

    /// A stage as after a start, and its figures.
    fn stage(&self) -> (Analytics, Shared) {
        let figures = no_figures();
        let registry = Registry::new(&RegistryArgs::at(&self.schemas.url)).unwrap();
        (
            Analytics::new(
                registry,
                Shared::clone(&figures),
                self.runtime.handle().clone(),
            ),
            figures,
        )
    }
}

fn view(figures: &Shared) -> Stats {
    stats(&figures.lock().unwrap(), now_ms())
}

fn payments() -> Vec<Given> {
    (0..40)
        .map(|number| {
            let event_type = if number % 4 == 0 {
                "payment.refunded.v1"
            } else {
                "payment.authorized.v1"
            };
            given(
                number % 2,
                i64::from(number / 2),
                framed(
                    event_type,
                    "0.10",
                    if number % 8 < 4 { "EUR" } else { "JOD" },
                ),
            )
        })
        .collect()
}

fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes
        .iter()
        .all(|outcome| matches!(outcome, Outcome::Done))
}

#[test]
fn a_registry_that_is_down_is_waited_for_and_then_everything_counts_once() {
    let bench = Bench::new();
    let (mut stage, figures) = bench.stage();
    // The first schema is known, the second is not when the registry goes down: half a batch is readable.
    handle(
        &mut stage,
        &[given(7, 0, framed("payment.authorized.v1", "1", "EUR"))],
    )
    .unwrap();
    bench.schemas.down.store(true, Ordering::SeqCst);
    let batch = payments();
    for _ in 0..3 {
        let waited = handle(&mut stage, &batch).unwrap_err();
        assert_eq!(
            (waited.code(), waited.must_stop()),
            ("registry_unavailable", false)
        );
        assert_eq!(
            view(&figures).total.events,
            1,
            "nothing of the batch is counted"
        );
    }
    bench.schemas.down.store(false, Ordering::SeqCst);
    assert!(all_done(&handle(&mut stage, &batch).unwrap()));
    let total = view(&figures).total;
    assert_eq!(
        (
            total.events,
            total.by_kind["authorized"].events,
            total.by_kind["refunded"].events
        ),
        (41, 31, 10)
    );
    assert_eq!(total.by_kind["authorized"].amounts["JOD"], "1.5");
    assert_eq!(total.by_kind["authorized"].amounts["EUR"], "2.5");
}

#[test]
fn a_restart_recomputes_the_same_figures() {
    let bench = Bench::new();
    let log = payments();
    let (mut before, figures_before) = bench.stage();
    handle(&mut before, &log[..17]).unwrap();
    handle(&mut before, &log[10..]).unwrap();
    let (mut after, figures_after) = bench.stage();
    let starts = after
        .positions(&[(TOPIC.to_owned(), 0), (TOPIC.to_owned(), 1)])
        .unwrap();
    assert!(
        starts
            .iter()
            .all(|start| matches!(start, Start::Since(time) if *time <= now_ms() - 60 * MINUTE_MS)),
        "{starts:?}"
    );
    for batch in log.chunks(3) {
        handle(&mut after, batch).unwrap();
    }
    let (before, after) = (view(&figures_before), view(&figures_after));
    assert_eq!(before.total.events, 40);
    assert_eq!(
        (before.total, before.partitions),
        (after.total, after.partitions)
    );
}

#[test]
fn redelivery_and_rebalances_count_nothing_twice() {
    let bench = Bench::new();
    let (mut stage, figures) = bench.stage();
    let both = [(TOPIC.to_owned(), 0), (TOPIC.to_owned(), 1)];
    stage.positions(&both).unwrap();
    let log = payments();
    handle(&mut stage, &log).unwrap();
    // The batch was let go uncommitted, and comes again.
    handle(&mut stage, &log).unwrap();
    assert_eq!(view(&figures).total.events, 40);
    assert_eq!(
        stage.positions(&both).unwrap(),
        [Start::Offset(20), Start::Offset(20)],
        "goes on where the figures end"
    );
    let fewer = stage.positions(&both[1..]).unwrap();
    assert_eq!(
        (fewer, view(&figures).total.events),
        (vec![Start::Offset(20)], 20)
    );
    assert!(matches!(
        stage.positions(&both).unwrap()[..],
        [Start::Since(_), Start::Offset(20)]
    ));
    handle(&mut stage, &log).unwrap();
    assert_eq!(view(&figures).total.events, 40);
}

#[test]
fn an_event_counts_once_whether_the_validator_published_it_twice_or_one_post_is_twice_in_the_raw_topic()
 {
    let bench = Bench::new();
    let (mut stage, figures) = bench.stage();
    let value = framed("payment.authorized.v1", "1", "EUR");
    let published_twice = Given {
        raw: "0:0".to_owned(),
        ..given(0, 1, value.clone())
    };
    let appended_twice = given(0, 2, value.clone());
    let batch = [given(0, 0, value), published_twice, appended_twice];
    handle(&mut stage, &batch).unwrap();
    let view = view(&figures);
    assert_eq!((view.total.events, view.partitions[0].next_offset), (1, 3));
}

#[test]
fn what_cannot_be_read_is_an_error_counted_and_never_dead_lettered() {
    let bench = Bench::new();
    let (mut stage, figures) = bench.stage();
    let whole = framed("payment.authorized.v1", "1", "EUR");
    let mut negative = whole.clone();
    negative[1] = 0xff;
    let truncated = whole[..whole.len() - 1].to_vec();
    let too_long = [whole.as_slice(), b"!"].concat();
    let values = [
        Vec::new(),
        b"{}".to_vec(),
        whole[..4].to_vec(),
        negative,
        truncated,
        too_long,
        whole,
    ];
    let batch: Vec<Given> = values
        .into_iter()
        .zip(0..)
        .map(|(value, offset)| given(0, offset, value))
        .collect();
    assert!(all_done(&handle(&mut stage, &batch).unwrap()));
    let view = view(&figures);
    assert_eq!(
        (view.total.events, view.partitions[0].next_offset),
        (1, 7),
        "the good one is counted, all are passed"
    );
    let exposed = runtime::telemetry::metrics_handle().render();
    for line in [
        r#"eventflow_analytics_errors_total{code="bad_frame"} 3"#,
        r#"eventflow_analytics_errors_total{code="unknown_schema_id"} 1"#,
        r#"eventflow_analytics_errors_total{code="bad_datum"} 2"#,
    ] {
        assert!(exposed.contains(line), "{line}\n{exposed}");
    }
}

#[test]
fn an_id_that_the_registry_does_not_have_is_waited_for_and_nothing_is_counted() {
    let bench = Bench::new();
    let (mut stage, figures) = bench.stage();
    let whole = framed("payment.authorized.v1", "1", "EUR");
    let mut unknown = whole.clone();
    unknown[4] = 99;
    let error = handle(&mut stage, &[given(0, 0, whole), given(0, 1, unknown)]).unwrap_err();
    assert!(
        !error.must_stop() && error.code() == "schema_not_found",
        "{error}"
    );
    assert_eq!(view(&figures).total.events, 0);
}
