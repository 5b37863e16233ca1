//! Recovery's index under a flood of dead letters, and on-call's queries then.

use crate::bench::Bench;
use crate::figures::{Goal, Run};
use crate::process::cpu_of_server;
use crate::report::{compare, print};
use clap::Parser as _;
use contracts::RejectionCode;
use futures_util::TryStreamExt as _;
use recovery::index::Index;
use recovery::model::{DeadLetterState, Selection, Time};
use recovery::query::detail;
use recovery::query::list;
use recovery::query::stats;
use recovery::{Context, PipelineArgs, SCHEMA};
use runtime::consumer::{Handler as _, Header, Record};
use sandbox::postgres::PrivatePostgres;
use sqlx::{Connection as _, PgConnection};
use std::time::{Duration, Instant};

/// Records a batch, as the consumer loop hands them over.
const BATCH: u64 = 4000;
/// Rows copied at once by the baseline.
const COPIED_AT_ONCE: u64 = 50_000;
/// Longest any question of on-call may take.
const GOAL: Duration = Duration::from_millis(200);

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// A dead letter as it is read: mostly the validator's, some of persistence's, some of other people's consumers.
struct Sample {
    offset: i64,
    key: String,
    value: Vec<u8>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

fn made(number: u64) -> Sample {
    let offset = i64::try_from(number).unwrap_or(i64::MAX);
    let codes = RejectionCode::ALL;
    // Codes are as uneven as in an incident.
    let code =
        codes[usize::try_from(number % 100 % codes.len() as u64 / 4 * 4 % codes.len() as u64)
            .unwrap_or(0)];
    let (payment, at) = (
        format!("pay-{}", number / 3),
        1_790_000_000_000_000 + number * 1000,
    );
    let value = format!(
        r#"{{"event_id":"evt-{number:012}","event_type":"payment.{}.v1","schema_version":1,"source":"vendor-{}","timestamp":"2026-11-20T10:00:00.123456Z","payload":{{"payment_id":"{payment}","order_id":"ord-{number}","amount":"abc","currency":"EUR","note":"{}"}}}}"#,
        ["authorized", "captured", "refunded", "failed"][usize::try_from(number % 4).unwrap_or(0)],
        number % 5,
        format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(29),
    );
    let text = |text: String| text.into_bytes();
    let mut headers = vec![
        ("ef.source", text(format!("vendor-{}", number % 5))),
        ("ef.event_id", text(format!("evt-{number:012}"))),
        ("ef.received_at", text(at.to_string())),
        ("ef.scheme", b"eventflow".to_vec()),
        ("ef.secret_id", b"2026-10".to_vec()),
        ("x-provider-timestamp", b"1790000000".to_vec()),
        (
            "x-provider-signature",
            text(format!(
                "{:064x}",
                u128::from(number).wrapping_mul(0x0123_4567_89ab_cdef_fedc_ba98)
            )),
        ),
        ("content-type", b"application/json".to_vec()),
        (
            "traceparent",
            text(format!(
                "00-{:032x}-{:016x}-01",
                u128::from(number) + 1,
                number + 1
            )),
        ),
    ];
    if number.is_multiple_of(20) {
        headers.extend([
            (
                "kafka_dlt-exception-fqcn",
                b"org.springframework.kafka.listener.ListenerExecutionFailedException".to_vec(),
            ),
            (
                "kafka_dlt-exception-cause-fqcn",
                b"java.lang.IllegalArgumentException".to_vec(),
            ),
            (
                "kafka_dlt-exception-message",
                b"Listener failed; amount is no number".to_vec(),
            ),
            ("kafka_dlt-original-topic", b"payments".to_vec()),
            ("kafka_dlt-original-partition", 3_i32.to_be_bytes().to_vec()),
            ("kafka_dlt-original-offset", offset.to_be_bytes().to_vec()),
            ("kafka_dlt-original-consumer-group", b"billing".to_vec()),
        ]);
    } else {
        let (stage, group) = if number % 10 == 1 {
            ("persistence", "eventflow-persistence")
        } else {
            ("validator", "eventflow-validator")
        };
        let detail =
            format!("/payload/amount: \"abc\" is not a decimal number, of payment {payment}");
        headers.extend([
            ("ef.raw", text(format!("{}:{}", number % 6, number / 6))),
            ("__dlq.errors.topic", b"events.raw.v1".to_vec()),
            ("__dlq.errors.partition", text((number % 6).to_string())),
            ("__dlq.errors.offset", text((number / 6).to_string())),
            ("__dlq.errors.group", group.as_bytes().to_vec()),
            ("__dlq.errors.delivery.count", b"1".to_vec()),
            ("__dlq.errors.message", text(detail.clone())),
            ("ef.dlq.stage", stage.as_bytes().to_vec()),
            ("ef.dlq.group", group.as_bytes().to_vec()),
            ("ef.dlq.code", code.code().as_bytes().to_vec()),
            ("ef.dlq.detail", text(detail)),
            ("ef.dlq.disposition", code.disposition().as_bytes().to_vec()),
            ("ef.dlq.attempts", b"1".to_vec()),
            ("ef.dlq.first_failed_at", text(at.to_string())),
            ("ef.dlq.last_failed_at", text(at.to_string())),
            ("ef.dlq.service_version", b"0.1.0".to_vec()),
        ]);
    }
    Sample {
        offset,
        key: payment,
        value: value.into_bytes(),
        headers,
    }
}

/// The index against COPY of the same rows into a table with the same indexes. The handler is driven directly, with records made by hand:
/// the embedded broker keeps 5 MiB a partition, which no flood fits into.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let letters = bench.dead_letters;
    let cluster = tokio::task::spawn_blocking(|| PrivatePostgres::start(true)).await??;
    let cli = Cli::parse_from([
        "bench",
        "--database-url",
        &cluster.url(),
        "--registry-url",
        "http://127.0.0.1:9",
    ]);
    let recovery = Context::new(cli.pipeline, None)?;
    SCHEMA.migrate(recovery.pool()).await?;
    let mut database = PgConnection::connect(&cluster.url()).await?;
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut database)
        .await?;
    let backend = u32::try_from(backend)?;

    let mut index = Index::new(&recovery, "bench", tokio::runtime::Handle::current())?;
    tokio::task::block_in_place(|| index.positions(&[("events.dlq.v1".to_owned(), 0)]))?;
    let before = cpu_of_server(backend)?;
    let mut ours = Duration::ZERO;
    for first in (0..letters).step_by(usize::try_from(BATCH)?) {
        let batch: Vec<Sample> = (first..letters.min(first + BATCH)).map(made).collect();
        let headers: Vec<Vec<Header<'_>>> = batch
            .iter()
            .map(|made| {
                made.headers
                    .iter()
                    .map(|(name, value)| (*name, Some(value.as_slice())))
                    .collect()
            })
            .collect();
        let records: Vec<Record<'_>> = batch
            .iter()
            .zip(&headers)
            .map(|(made, headers)| {
                Record::new(
                    "events.dlq.v1",
                    0,
                    made.offset,
                    1_790_000_000_000,
                    Some(made.key.as_bytes()),
                    Some(&made.value),
                    headers,
                )
            })
            .collect();
        let began = Instant::now();
        tokio::task::block_in_place(|| index.handle(&records))?;
        ours += began.elapsed();
    }
    let ours = Run {
        events: letters,
        took: ours,
        cpu: vec![("postgresql", cpu_of_server(backend)? - before)],
    };
    let indexed: i64 = sqlx::query_scalar("SELECT count(*) FROM recovery.dead_letters")
        .fetch_one(&mut database)
        .await?;
    anyhow::ensure!(
        u64::try_from(indexed)? == letters,
        "{indexed} of {letters} dead letters are indexed"
    );
    let base = copy(&mut database, backend, letters).await?;
    compare(
        "index, a flood of dead letters",
        "row/s",
        &ours,
        ("COPY of the same rows", &base),
    );
    let at_least = Goal::AtLeast(30_000.0);
    bench.goals.note("index, row/s", at_least, ours.rate());
    bench.note_ratio("index, of COPY", 0.25, &ours, &base);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .map_or("?", str::trim);
    print(&format!(
        "  memory of this process at its peak, records and COPY's rows included: {peak}\n"
    ));
    // What autovacuum does in its own time.
    for statement in [
        "DROP TABLE recovery.copied",
        "VACUUM ANALYZE recovery.dead_letters",
    ] {
        sqlx::raw_sql(statement).execute(&mut database).await?;
    }
    questions(&recovery, letters).await
}

async fn copy(database: &mut PgConnection, backend: u32, letters: u64) -> anyhow::Result<Run> {
    let columns: String = sqlx::query_scalar(
        "SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns
         WHERE table_schema = 'recovery' AND table_name = 'dead_letters' AND column_name <> 'id'",
    )
    .fetch_one(&mut *database)
    .await?;
    sqlx::raw_sql(
        "CREATE TABLE recovery.copied (LIKE recovery.dead_letters INCLUDING ALL); CHECKPOINT",
    )
    .execute(&mut *database)
    .await?;
    let (mut took, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for first in (0..letters).step_by(usize::try_from(COPIED_AT_ONCE)?) {
        let out = format!(
            "COPY (SELECT {columns} FROM recovery.dead_letters WHERE id > {first} AND id <= {} ORDER BY id) TO STDOUT (FORMAT binary)",
            first + COPIED_AT_ONCE
        );
        let mut rows = Vec::new();
        let mut stream = database.copy_out_raw(&out).await?;
        while let Some(chunk) = stream.try_next().await? {
            rows.extend_from_slice(&chunk);
        }
        drop(stream);
        let (before, began) = (cpu_of_server(backend)?, Instant::now());
        let mut sink = database
            .copy_in_raw(&format!(
                "COPY recovery.copied ({columns}) FROM STDIN (FORMAT binary)"
            ))
            .await?;
        for chunk in rows.chunks(1 << 20) {
            sink.send(chunk).await?;
        }
        sink.finish().await?;
        took += began.elapsed();
        cpu += cpu_of_server(backend)? - before;
    }
    Ok(Run {
        events: letters,
        took,
        cpu: vec![("postgresql", cpu)],
    })
}

/// On-call's queries; each the third of three times, since the first fills caches.
async fn questions(recovery: &Context, letters: u64) -> anyhow::Result<()> {
    // A rare group, all of it at the old end: what a walk from the newest id would pay for.
    sqlx::raw_sql(
        "INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', 'rare', 'vendor-0', 'rare');
         UPDATE dead_letters SET group_id = (SELECT id FROM groups WHERE code = 'rare') WHERE id <= 5",
    )
    .execute(recovery.pool())
    .await?;
    let at = |seconds: u64| {
        Time::from_unix_timestamp(1_790_000_000 + i64::try_from(seconds).unwrap_or(0)).ok()
    };
    let all = Selection::default();
    let code = Selection {
        code: vec!["rare".to_owned()],
        ..all.clone()
    };
    let state = Selection {
        state: vec![DeadLetterState::Resolved],
        ..all.clone()
    };
    let id = Selection {
        event_id: Some(format!("evt-{:012}", letters / 2)),
        ..all.clone()
    };
    let entity = Selection {
        entity_key: Some(format!("pay-{}", letters / 9)),
        ..all.clone()
    };
    let since = Selection {
        since: at(letters / 1000 - 1),
        code: vec!["rare".to_owned(), "empty_body".to_owned()],
        ..all.clone()
    };
    let until = Selection {
        until: at(letters / 2000),
        ..all.clone()
    };
    let window = Selection {
        since: at(letters / 4000),
        until: at(letters / 2000),
        source: vec!["vendor-3".to_owned()],
        ..all.clone()
    };
    for (name, selection) in [
        ("letters", &all),
        ("letters of a rare code", &code),
        ("letters in a state none is in", &state),
        ("letters by event id", &id),
        ("letters by entity key", &entity),
        ("letters of a code since the last second", &since),
        ("letters of the older half", &until),
        ("letters of a source in a quarter", &window),
    ] {
        let mut took = Duration::ZERO;
        let mut listed = 0;
        for _ in 0..3 {
            let began = Instant::now();
            listed = list::dead_letters(recovery, selection, None)
                .await?
                .letters
                .len();
            took = began.elapsed();
        }
        report(name, listed, took);
    }
    let (mut groups, mut took) = (0, Duration::ZERO);
    for _ in 0..3 {
        let began = Instant::now();
        groups = list::groups(recovery, &all).await?.len();
        took = began.elapsed();
    }
    report("groups", groups, took);
    let began = Instant::now();
    stats::stats(recovery).await?;
    report("stats", 1, began.elapsed());
    let began = Instant::now();
    detail::dead_letter(recovery, i64::try_from(letters / 2)?).await?;
    report("one letter", 1, began.elapsed());
    Ok(())
}

fn report(name: &str, answers: usize, took: Duration) {
    let verdict = if took <= GOAL {
        ""
    } else {
        "   over the goal of 200 ms"
    };
    print(&format!(
        "  {name:<42} {answers:>5} in {:>7.1} ms{verdict}",
        took.as_secs_f64() * 1000.0
    ));
}
