//! Sums: over the pages that were examined, or over a range of time, examined record by record.

use super::checkpoint::from_json;
use super::classify::{Fates, classify};
use super::pages::PAGE;
use super::{CHECKPOINT_AGE, IN_FLIGHT, UNACCOUNTED};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Audit, DeadLetterState, Finding, FindingKind, Time};
use sqlx::FromRow;
use std::collections::BTreeMap;

/// Findings that are listed.
const LISTED: usize = 100;
/// A record is in the topic this long after its receipt at the latest, or its vendor was told that it is not; clocks included.
const PUBLISHED_WITHIN: time::Duration = time::Duration::minutes(1);

/// A partition as far as it was examined.
#[derive(FromRow)]
pub(super) struct Frontier {
    pub(super) partition: i32,
    pub(super) first: i64,
    pub(super) next: i64,
    pub(super) high: i64,
}

/// What was found, over all pages.
#[derive(FromRow)]
struct Sums {
    stored: i64,
    duplicate: i64,
    filtered: i64,
    open: i64,
    replaying: i64,
    discarded: i64,
    absent: i64,
    gap: i64,
    double_fate: i64,
}

/// What the raw topic that was last looked at is called.
pub(crate) async fn topic_now(context: &Context) -> Result<String, RecoveryError> {
    let last: Option<String> = sqlx::query_scalar(
        "SELECT topic FROM audit_checkpoints WHERE of_raw_topic(topic, $1) ORDER BY id DESC LIMIT 1",
    )
    .bind(&context.pipeline.raw)
    .fetch_optional(&context.pool)
    .await?;
    Ok(last.unwrap_or_else(|| context.pipeline.raw.clone()))
}

/// Of everything; `all`: with the topics that had its name before.
pub(super) async fn of_pages(
    context: &Context,
    topic: &str,
    all: bool,
) -> Result<Audit, RecoveryError> {
    let mut audit = empty(context, topic).await?;
    let frontiers = frontiers(context, topic).await?;
    let sums: Sums = sqlx::query_as(
        "SELECT coalesce(sum(stored), 0)::bigint AS stored, coalesce(sum(duplicate), 0)::bigint AS duplicate,
                coalesce(sum(filtered), 0)::bigint AS filtered,
                coalesce(sum(open), 0)::bigint AS open, coalesce(sum(replaying), 0)::bigint AS replaying,
                coalesce(sum(discarded), 0)::bigint AS discarded, coalesce(sum(absent), 0)::bigint AS absent, coalesce(sum(gap), 0)::bigint AS gap,
                coalesce(sum(double_fate), 0)::bigint AS double_fate
         FROM audit_pages WHERE topic = $1 OR $2 AND of_raw_topic(topic, $3)",
    )
    .bind(topic)
    .bind(all)
    .bind(&context.pipeline.raw)
    .fetch_one(&context.pool)
    .await?;
    (audit.stored, audit.duplicate, audit.filtered) = (sums.stored, sums.duplicate, sums.filtered);
    (audit.gaps, audit.double_fates) = (sums.gap, sums.double_fate);
    audit.absent = sums.absent;
    audit.unseen = frontiers.iter().map(|frontier| frontier.first).sum();
    audit.dead_lettered = dead_lettered(sums.open, sums.replaying, sums.discarded);
    audit.in_flight = frontiers
        .iter()
        .map(|frontier| (frontier.high - frontier.next).max(0))
        .sum();
    audit.partitions = frontiers
        .iter()
        .map(|f| (f.partition, f.first, f.next, f.high))
        .collect();
    let rows: Vec<(i32, i64, FindingKind, String)> = sqlx::query_as(
        "SELECT partition, \"offset\", kind, CASE topic WHEN $1 THEN detail ELSE detail || ' (of the deleted topic ' || topic || ')' END
         FROM audit_findings
         WHERE (topic = $1 OR $3 AND of_raw_topic(topic, $4)) AND healed_at IS NULL
         ORDER BY topic <> $1, topic, partition, \"offset\", kind LIMIT $2",
    )
    .bind(topic)
    .bind(i64::try_from(LISTED).unwrap_or(i64::MAX))
    .bind(all)
    .bind(&context.pipeline.raw)
    .fetch_all(&context.pool)
    .await?;
    for (partition, offset, kind, detail) in rows {
        audit.findings.push(Finding {
            partition,
            offset,
            kind,
            detail,
        });
    }
    add_up(&mut audit);
    Ok(audit)
}

/// Of what was received in a range of time, examined record by record.
pub(super) async fn of_range(
    context: &Context,
    topic: &str,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<Audit, RecoveryError> {
    let mut audit = empty(context, topic).await?;
    let (lower, upper) = (
        ends_before(context, topic, from).await?,
        ends_after(context, topic, to).await?,
    );
    for Frontier {
        partition,
        first,
        next,
        high,
    } in frontiers(context, topic).await?
    {
        let from = lower
            .as_ref()
            .and_then(|lower| lower.get(&partition))
            .copied()
            .unwrap_or(first)
            .clamp(first, high);
        let to = upper
            .as_ref()
            .and_then(|upper| upper.get(&partition))
            .copied()
            .unwrap_or(high)
            .clamp(from, high);
        let (mut examined, settled) = (from, to.min(next));
        while examined < settled {
            let range = examined..settled.min((examined / PAGE + 1) * PAGE);
            let fates = classify(context, topic, partition, &range).await?;
            add(&mut audit, partition, &fates);
            examined = range.end;
        }
        audit.in_flight += to - to.min(next.max(from));
        audit
            .partitions
            .push((partition, from, settled.max(from), to));
    }
    add_up(&mut audit);
    Ok(audit)
}

/// Sets the gauges.
pub(super) async fn measure(context: &Context) -> Result<(), RecoveryError> {
    let (unaccounted, in_flight, age): (f64, f64, Option<f64>) = sqlx::query_as(
        "SELECT (SELECT coalesce(sum(gap + double_fate), 0) FROM audit_pages WHERE of_raw_topic(topic, $1))::float8
                + (SELECT count(*) FROM audit_findings WHERE of_raw_topic(topic, $1) AND healed_at IS NULL AND kind IN ('end_behind', 'compacted')),
                (SELECT coalesce(sum(greatest(high - next_offset, 0)), 0)::float8 FROM audit_frontier WHERE of_raw_topic(topic, $1)),
                (SELECT extract(epoch FROM clock_timestamp() - max(at))::float8 FROM audit_checkpoints
                 WHERE of_raw_topic(topic, $1) AND reached_at IS NOT NULL)",
    )
    .bind(&context.pipeline.raw)
    .fetch_one(&context.pool)
    .await?;
    metrics::gauge!(UNACCOUNTED).set(unaccounted);
    metrics::gauge!(IN_FLIGHT).set(in_flight);
    if let Some(age) = age {
        metrics::gauge!(CHECKPOINT_AGE).set(age);
    }
    Ok(())
}

async fn empty(context: &Context, topic: &str) -> Result<Audit, RecoveryError> {
    let (known, checkpoint_age_seconds): (bool, Option<f64>) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM audit_frontier WHERE topic = $1),
                extract(epoch FROM clock_timestamp() - (SELECT max(at) FROM audit_checkpoints WHERE topic = $1 AND reached_at IS NOT NULL))::float8",
    )
    .bind(topic)
    .fetch_one(&context.pool)
    .await?;
    if !known && topic_now(context).await? != topic {
        return Err(RecoveryError::NotFound(format!(
            "topic {topic:?} was never audited; the raw topic is {}",
            context.pipeline.raw
        )));
    }
    Ok(Audit {
        topic: topic.to_owned(),
        at: Time::from(runtime::clock::now()),
        partitions: Vec::new(),
        records: 0,
        stored: 0,
        duplicate: 0,
        filtered: 0,
        dead_lettered: BTreeMap::new(),
        in_flight: 0,
        unseen: 0,
        absent: 0,
        gaps: 0,
        double_fates: 0,
        findings: Vec::new(),
        checkpoint_age_seconds,
    })
}

pub(super) async fn frontiers(
    context: &Context,
    topic: &str,
) -> Result<Vec<Frontier>, RecoveryError> {
    let frontiers = sqlx::query_as(
        "SELECT partition, first_offset AS first, next_offset AS next, high FROM audit_frontier WHERE topic = $1 ORDER BY partition",
    );
    Ok(frontiers.bind(topic).fetch_all(&context.pool).await?)
}

/// The ends of the topic at the last checkpoint before a time: what was received since is not before them.
pub(crate) async fn ends_before(
    context: &Context,
    topic: &str,
    time: Option<Time>,
) -> Result<Option<BTreeMap<i32, i64>>, RecoveryError> {
    let Some(time) = time else { return Ok(None) };
    let statement = "SELECT high::text FROM audit_checkpoints WHERE topic = $1 AND at <= $2 ORDER BY at DESC LIMIT 1";
    ends(context, statement, topic, time).await
}

/// The ends of the topic at the first checkpoint after a time, when all that was received until then was published.
pub(crate) async fn ends_after(
    context: &Context,
    topic: &str,
    time: Option<Time>,
) -> Result<Option<BTreeMap<i32, i64>>, RecoveryError> {
    let Some(time) = time.map(|time| time.saturating_add(PUBLISHED_WITHIN)) else {
        return Ok(None);
    };
    let statement = "SELECT high::text FROM audit_checkpoints WHERE topic = $1 AND at >= $2 ORDER BY at LIMIT 1";
    ends(context, statement, topic, time).await
}

async fn ends(
    context: &Context,
    statement: &'static str,
    topic: &str,
    time: Time,
) -> Result<Option<BTreeMap<i32, i64>>, RecoveryError> {
    let text: Option<String> = sqlx::query_scalar(statement)
        .bind(topic)
        .bind(time)
        .fetch_optional(&context.pool)
        .await?;
    text.map(|text| from_json(&text)).transpose()
}

fn dead_lettered(open: i64, replaying: i64, discarded: i64) -> BTreeMap<DeadLetterState, i64> {
    [
        (DeadLetterState::Open, open),
        (DeadLetterState::Replaying, replaying),
        (DeadLetterState::Discarded, discarded),
    ]
    .into()
}

fn add(audit: &mut Audit, partition: i32, fates: &Fates) {
    audit.stored += fates.stored;
    audit.duplicate += fates.duplicate;
    audit.filtered += fates.filtered;
    audit.absent += fates.absent;
    for (state, count) in dead_lettered(fates.open, fates.replaying, fates.discarded) {
        *audit.dead_lettered.entry(state).or_default() += count;
    }
    let count = |found: &[(i64, &str)]| i64::try_from(found.len()).unwrap_or(i64::MAX);
    audit.gaps += count(&fates.gaps);
    audit.double_fates += count(&fates.doubles);
    let of = |kind: FindingKind| move |&(offset, why): &(i64, &'static str)| (offset, kind, why);
    let mut found: Vec<_> = fates
        .gaps
        .iter()
        .map(of(FindingKind::Gap))
        .chain(fates.doubles.iter().map(of(FindingKind::DoubleFate)))
        .collect();
    found.sort_unstable();
    for (offset, kind, detail) in found
        .into_iter()
        .take(LISTED.saturating_sub(audit.findings.len()))
    {
        audit.findings.push(Finding {
            partition,
            offset,
            kind,
            detail: detail.to_owned(),
        });
    }
}

/// Records are those that have a fate, or miss one; offsets without a record are none.
fn add_up(audit: &mut Audit) {
    let dead: i64 = audit.dead_lettered.values().sum();
    audit.records =
        audit.stored + audit.duplicate + audit.filtered + dead + audit.gaps + audit.double_fates;
}
