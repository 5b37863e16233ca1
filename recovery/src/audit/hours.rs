//! The audit by partition and hour: how many records were received, how far they are examined, and where findings are.
//!
//! Offsets of an hour are those between two checkpoints, so an hour is as exact as checkpoints are frequent. Nothing is counted record by
//! record: it costs three statements, whatever the topic holds.

use super::checkpoint::from_json;
use super::report::{frontiers, topic_now};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{AuditCell, AuditHours, AuditPartition, FindingKind, Hour, Time};
use std::collections::BTreeMap;

/// Most hours of one answer.
const MOST: u16 = 24 * 14;
/// Most findings that are placed.
const FINDINGS: i64 = 10_000;

/// The last so many hours, the oldest first; the last one is not over.
///
/// # Errors
/// [`RecoveryError`]
pub async fn hours(context: &Context, hours: u16) -> Result<AuditHours, RecoveryError> {
    if !(1..=MOST).contains(&hours) {
        let problem = format!("hours: must be between 1 and {MOST}");
        return Err(RecoveryError::Invalid(problem));
    }
    let topic = topic_now(context).await?;
    let begins = begins(Time::from(runtime::clock::now()), hours);
    let ends: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT (SELECT high::text FROM audit_checkpoints WHERE topic = $1 AND at <= b ORDER BY at DESC LIMIT 1)
         FROM UNNEST($2::timestamptz[]) WITH ORDINALITY AS begins (b, n) ORDER BY n",
    )
    .bind(&topic)
    .bind(&begins)
    .fetch_all(&context.pool)
    .await?;
    let ends: Result<Vec<Option<BTreeMap<i32, i64>>>, RecoveryError> = ends
        .into_iter()
        .map(|text| text.map(|text| from_json(&text)).transpose())
        .collect();
    let ends = ends?;
    let findings: Vec<(i32, i64, FindingKind)> = sqlx::query_as(
        "SELECT partition, \"offset\", kind FROM audit_findings
         WHERE topic = $1 AND healed_at IS NULL AND kind IN ('gap', 'double_fate') ORDER BY partition, \"offset\" LIMIT $2",
    )
    .bind(&topic)
    .bind(FINDINGS)
    .fetch_all(&context.pool)
    .await?;
    let mut partitions = Vec::new();
    for frontier in frontiers(context, &topic).await? {
        let partition = frontier.partition;
        // Before the first checkpoint nothing of the partition was there, as far as anybody knows.
        let end = |ends: &Option<BTreeMap<i32, i64>>| {
            let known = ends.as_ref().and_then(|ends| ends.get(&partition));
            known.map_or(frontier.first, |end| (*end).max(frontier.first))
        };
        let mut bounds: Vec<i64> = ends.iter().map(end).collect();
        bounds.push(frontier.high);
        let cells = bounds.windows(2).map(|pair| {
            let (from, to) = (pair[0], pair[1].max(pair[0]));
            let found = |wanted: FindingKind| {
                let here = |it: &&(i32, i64, FindingKind)| {
                    it.0 == partition && (from..to).contains(&it.1) && it.2 == wanted
                };
                i64::try_from(findings.iter().filter(here).count()).unwrap_or(i64::MAX)
            };
            AuditCell {
                from,
                to,
                unexamined: (to - frontier.next.max(from)).max(0),
                gaps: found(FindingKind::Gap),
                double_fates: found(FindingKind::DoubleFate),
            }
        });
        partitions.push(AuditPartition {
            partition,
            cells: cells.collect(),
        });
    }
    Ok(AuditHours {
        topic,
        hours: begins.into_iter().map(Hour).collect(),
        partitions,
    })
}

/// When each hour begins.
fn begins(now: Time, hours: u16) -> Vec<Time> {
    let this = now.unix_timestamp().div_euclid(3600) * 3600;
    let begin = |back: u16| Time::from_unix_timestamp(this - i64::from(back) * 3600).unwrap_or(now);
    (0..hours).rev().map(begin).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn hours_begin_on_the_hour_and_the_last_one_is_this_one() {
        let now = Time::from_unix_timestamp(7 * 3600 + 1799).unwrap();
        let seconds: Vec<i64> = begins(now, 3)
            .iter()
            .map(|it| it.unix_timestamp())
            .collect();
        assert_eq!(seconds, [5 * 3600, 6 * 3600, 7 * 3600]);
    }
}
