//! Dead letters listed, grouped, shown, carried from one index to another.

mod body;
mod list;
mod portable;

use crate::audit_log;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::index::Indexer;
use crate::model::{Edit, Failure, Group, LetterDetail, Letters, Selection, Stats, Time};
use crate::query::select;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use list::letter_columns;
use portable::Line;
use sqlx::{PgConnection, QueryBuilder, Row as _};
use std::collections::BTreeMap;
use std::time::Duration;

/// Dead letters a page, unless told; and at most.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// Most bytes of values and headers in one page of an export.
const EXPORT_BYTES: i64 = 16 << 20;
/// Most failures and edits shown of one dead letter.
const MOST_FAILURES: i64 = 100;
/// Longest a person waits for the brokers to tell how far the index is behind.
const LAG_PATIENCE: Duration = Duration::from_secs(1);

impl Context {
    /// Dead letters of a selection (open ones, unless it says), the newest first; `before` goes on after a page.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn letters(
        &self,
        selection: &Selection,
        before: Option<i64>,
    ) -> Result<Letters, RecoveryError> {
        let limit = selection.limit.unwrap_or(PAGE).min(LARGEST_PAGE);
        let mut connection = self.pool.acquire().await?;
        let page = select::page(&mut connection, selection, before, limit).await?;
        let letters = list::by_ids(&mut connection, &page.ids).await?;
        let whole = before.is_none() && letters.len() < limit as usize;
        let total = page.total.or(whole.then_some(letters.len() as i64));
        Ok(Letters {
            letters,
            total,
            last_settled_at: last_settled(&mut connection).await?,
        })
    }

    /// Groups with dead letters in the selection's states, the largest first.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn groups(&self, selection: &Selection) -> Result<Vec<Group>, RecoveryError> {
        let limit = i64::from(selection.limit.unwrap_or(LARGEST_PAGE));
        let mut query = QueryBuilder::new(
            "SELECT g.id, g.stage, g.code, g.source, g.event_type, g.open, g.replaying, g.resolved, g.discarded, g.first_seen, \
             g.last_seen, g.sample FROM ",
        );
        let Selection {
            id,
            event_id,
            entity_key,
            contains,
            since,
            until,
            ..
        } = selection;
        let filters_letters = !id.is_empty()
            || event_id.is_some()
            || entity_key.is_some()
            || contains.is_some()
            || since.is_some()
            || until.is_some();
        if filters_letters {
            // The counters know nothing of such filters: counted.
            query.push(
                "(SELECT d.group_id AS id, count(*) FILTER (WHERE d.state = 'open') AS open, \
                 count(*) FILTER (WHERE d.state = 'replaying') AS replaying, count(*) FILTER (WHERE d.state = 'resolved') AS resolved, \
                 count(*) FILTER (WHERE d.state = 'discarded') AS discarded, count(*) AS n, min(d.first_failed_at) AS first_seen, \
                 max(d.last_failed_at) AS last_seen, max(d.id) AS sample FROM dead_letters d WHERE ",
            );
            select::push_conditions(&mut query, selection);
            query.push(
                " GROUP BY d.group_id) c JOIN LATERAL (SELECT c.id, stage, code, source, event_type, c.open, c.replaying, c.resolved, \
                 c.discarded, c.first_seen, c.last_seen, c.sample, c.n FROM groups WHERE groups.id = c.id) g ON true",
            );
        } else {
            query.push("(SELECT *, ");
            select::push_count(&mut query, selection);
            query.push(" AS n FROM groups) g WHERE g.n > 0");
            select::push_group_filters(&mut query, selection);
        }
        query
            .push(" ORDER BY g.n DESC, g.id LIMIT ")
            .push_bind(limit);
        let mut connection = self.pool.acquire().await?;
        let rows = select::patient_rows(&mut connection, query).await?;
        rows.iter()
            .map(|row| {
                Ok(Group {
                    id: row.try_get(0)?,
                    stage: row.try_get(1)?,
                    code: row.try_get(2)?,
                    source: row.try_get(3)?,
                    event_type: row.try_get(4)?,
                    open: row.try_get(5)?,
                    replaying: row.try_get(6)?,
                    resolved: row.try_get(7)?,
                    discarded: row.try_get(8)?,
                    first_seen: row.try_get(9)?,
                    last_seen: row.try_get(10)?,
                    sample: row.try_get(11)?,
                })
            })
            .collect()
    }

    /// Everything about one.
    ///
    /// # Errors
    /// [`RecoveryError::NotFound`]
    pub async fn letter(&self, id: i64) -> Result<LetterDetail, RecoveryError> {
        let mut connection = self.pool.acquire().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            letter_columns!(),
            ", d.family, d.trace_id, d.dlq_partition, d.dlq_offset, d.key, d.value, d.value_bytes, d.value_sha256, d.headers::text, \
             d.service_version FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = $1"
        ))
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| RecoveryError::NotFound(format!("there is no dead letter {id}: eventflow dlq ls lists them")))?;
        let failures = failures(&mut connection, id).await?;
        let edits = edits(&mut connection, id).await?;
        // The registry may take its time; the connection is somebody else's meanwhile.
        drop(connection);
        let headers: Vec<(String, serde_json::Value)> =
            serde_json::from_str(row.try_get(29)?).unwrap_or_default();
        Ok(LetterDetail {
            letter: list::letter(&row)?,
            family: row.try_get(21)?,
            trace_id: row.try_get(22)?,
            dlq: (row.try_get(23)?, row.try_get(24)?),
            key: row.try_get::<Option<&[u8]>, _>(25)?.map(readable),
            value: self.body(row.try_get(26)?, row.try_get(27)?).await,
            value_sha256: row.try_get::<Option<&[u8]>, _>(28)?.map(hex::encode),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name, header_text(&value)))
                .collect(),
            service_version: row.try_get(30)?,
            failures,
            edits,
        })
    }

    /// Sums; by code, stage and source those that are open.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn stats(&self) -> Result<Stats, RecoveryError> {
        let mut connection = self.pool.acquire().await?;
        let rows = sqlx::query(
            "SELECT stage, code, source, open, replaying, resolved, discarded FROM groups",
        );
        let rows = rows.fetch_all(&mut *connection).await?;
        let (mut sums, mut by) = ([0_i64; 4], [const { BTreeMap::<String, i64>::new() }; 3]);
        for row in &rows {
            for (sum, column) in sums.iter_mut().zip(3..) {
                *sum += row.try_get::<i64, _>(column)?;
            }
            let open: i64 = row.try_get(3)?;
            for (by, column) in by.iter_mut().zip(0..).filter(|_| open > 0) {
                *by.entry(row.try_get(column)?).or_default() += open;
            }
        }
        let [by_stage, by_code, by_source] = by;
        let [open, replaying, resolved, discarded] = sums;
        // The oldest of a group is, but for a few that came late, the one with its lowest number.
        let oldest_open = sqlx::query_scalar(
            "SELECT min(d.first_failed_at) FROM groups g CROSS JOIN LATERAL (
                 SELECT first_failed_at FROM dead_letters d
                 WHERE (d.group_id, d.state, d.id) > (g.id, 'open', 0) AND (d.group_id, d.state, d.id) < (g.id, 'open', $1)
                 ORDER BY d.group_id, d.state, d.id LIMIT 1) d WHERE g.open > 0",
        )
        .bind(i64::MAX)
        .fetch_one(&mut *connection)
        .await?;
        let index_bytes = sqlx::query_scalar(
            "SELECT (pg_total_relation_size('dead_letters') + pg_total_relation_size('failures') + pg_total_relation_size('edits'))::bigint",
        )
        .fetch_one(&mut *connection)
        .await?;
        let next = sqlx::query("SELECT partition, max(next_offset) FROM consumer_offsets WHERE topic = $1 GROUP BY partition")
            .bind(&self.pipeline.dead_letters)
            .fetch_all(&mut *connection)
            .await?;
        drop(connection);
        let next = next
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()?;
        let index_lag = self.lag(next).await;
        Ok(Stats {
            open,
            replaying,
            resolved,
            discarded,
            by_code,
            by_stage,
            by_source,
            oldest_open,
            index_lag,
            index_bytes,
        })
    }

    /// Records of the dead-letter topic that are not indexed yet; none when the brokers do not tell soon.
    async fn lag(&self, next: BTreeMap<i32, i64>) -> Option<i64> {
        let (kafka, topic) = (self.kafka.clone()?, self.pipeline.dead_letters.clone());
        let asked = tokio::task::spawn_blocking(move || runtime::admin::watermarks(&kafka, &topic));
        let marks = tokio::time::timeout(LAG_PATIENCE, asked)
            .await
            .ok()?
            .ok()?
            .ok()?;
        Some(
            marks
                .iter()
                .map(|(partition, low, high)| {
                    high - next.get(partition).copied().unwrap_or(*low).max(*low)
                })
                .sum(),
        )
    }

    /// One page of a selection as JSON lines that [`import`](Self::import) reads: value, key and headers verbatim. And where the next
    /// page begins, if there is one.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn export(
        &self,
        selection: &Selection,
        before: Option<i64>,
    ) -> Result<(Vec<serde_json::Value>, Option<i64>), RecoveryError> {
        let limit = selection.limit.unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
        let mut connection = self.pool.acquire().await?;
        let ids = select::page(&mut connection, selection, before, limit)
            .await?
            .ids;
        // As many as fit, and one in any case.
        let fitting: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM (SELECT id, sum(kept_bytes) OVER (ORDER BY id DESC) - kept_bytes AS before_it
                             FROM dead_letters WHERE id = ANY($1)) d WHERE before_it < $2 ORDER BY id DESC",
        )
        .bind(&ids)
        .bind(EXPORT_BYTES)
        .fetch_all(&mut *connection)
        .await?;
        let statement = format!(
            "SELECT {} FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = ANY($1) ORDER BY d.id DESC",
            portable::COLUMNS
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&fitting)
            .fetch_all(&mut *connection)
            .await?;
        let unwritable = |error: serde_json::Error| {
            RecoveryError::Unavailable(format!("a dead letter cannot be written as JSON: {error}"))
        };
        let cluster = cluster(&mut connection).await?;
        let line = |row| serde_json::to_value(Line::of(row, cluster.as_ref())?).map_err(unwritable);
        let lines = rows.iter().map(line).collect::<Result<_, _>>()?;
        let more = ids.len() == limit as usize || fitting.len() < ids.len();
        Ok((lines, fitting.last().copied().filter(|_| more)))
    }

    /// Takes exported dead letters in; those that are there already are left as they are. Answers how many were new.
    ///
    /// # Errors
    /// [`RecoveryError::Invalid`] naming the line, counted from one; nothing was taken in then.
    pub async fn import(
        &self,
        who: &str,
        lines: &[serde_json::Value],
    ) -> Result<u64, RecoveryError> {
        let ours = cluster(&mut *self.pool.acquire().await?).await?;
        let (mut rows, mut settled) = (Vec::with_capacity(lines.len()), BTreeMap::new());
        for (place, line) in lines.iter().enumerate() {
            let bad =
                |problem: String| RecoveryError::Invalid(format!("line {}: {problem}", place + 1));
            let line: Line =
                serde::Deserialize::deserialize(line).map_err(|error| bad(error.to_string()))?;
            let state = line.settled().map(|state| {
                (
                    state,
                    line.resolution.clone(),
                    line.settled_at,
                    line.reason.clone(),
                )
            });
            let row = line.into_row(ours.as_ref()).map_err(bad)?;
            if let Some(state) = state {
                settled.insert(row.dlq, state);
            }
            rows.push(row);
        }
        let mut indexer =
            Indexer::new(self).map_err(|error| RecoveryError::Invalid(error.to_string()))?;
        let (mut transaction, written) = indexer.add(rows).await?;
        let (mut places, mut states, mut resolutions, mut times, mut reasons) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for place in &written.new {
            if let Some((state, resolution, at, reason)) = settled.remove(place) {
                places.push(*place);
                states.push(state.word());
                resolutions.push(resolution);
                times.push(at.unwrap_or_else(Time::now_utc));
                reasons.push(reason.map(|reason| reason.replace('\0', "\u{fffd}")));
            }
        }
        sqlx::query(
            "UPDATE dead_letters d SET state = s.state, resolution = s.resolution, settled_at = s.at, settled_by = 'import', reason = s.reason
             FROM UNNEST($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
                  AS s (partition, \"offset\", state, resolution, at, reason)
             WHERE d.dlq_partition = s.partition AND d.dlq_offset = s.\"offset\" AND d.id = ANY($7)",
        )
        .bind(places.iter().map(|place| place.0).collect::<Vec<_>>())
        .bind(places.iter().map(|place| place.1).collect::<Vec<_>>())
        .bind(states)
        .bind(resolutions)
        .bind(times)
        .bind(reasons)
        .bind(&written.ids)
        .execute(&mut *transaction)
        .await?;
        let counts = serde_json::json!({"lines": lines.len(), "new": written.new.len()});
        audit_log::write(
            &mut transaction,
            audit_log::Entry {
                who,
                action: "dlq.import",
                counts,
                ..audit_log::Entry::default()
            },
        )
        .await?;
        transaction.commit().await?;
        Ok(written.new.len() as u64)
    }
}

/// The Kafka cluster the index is of, once a role has said.
async fn cluster(connection: &mut PgConnection) -> Result<Option<String>, RecoveryError> {
    Ok(sqlx::query_scalar("SELECT cluster_id FROM kafka_cluster")
        .fetch_optional(connection)
        .await?)
}

async fn last_settled(connection: &mut PgConnection) -> Result<Option<Time>, RecoveryError> {
    Ok(
        sqlx::query_scalar("SELECT max(settled_at) FROM dead_letters WHERE settled_at IS NOT NULL")
            .fetch_one(connection)
            .await?,
    )
}

async fn failures(connection: &mut PgConnection, id: i64) -> Result<Vec<Failure>, RecoveryError> {
    let rows = sqlx::query(
        "SELECT stage, code, detail, replay_count, failed_at, dlq_partition, dlq_offset FROM failures WHERE dead_letter_id = $1
         ORDER BY replay_count DESC, failed_at DESC, dlq_partition, dlq_offset LIMIT $2",
    )
    .bind(id)
    .bind(MOST_FAILURES)
    .fetch_all(connection)
    .await?;
    let failure = |row: &sqlx::postgres::PgRow| {
        Ok(Failure {
            stage: row.try_get(0)?,
            code: row.try_get(1)?,
            detail: row.try_get(2)?,
            replay_count: row.try_get(3)?,
            failed_at: row.try_get(4)?,
            dlq: (row.try_get(5)?, row.try_get(6)?),
        })
    };
    rows.iter().map(failure).collect()
}

async fn edits(connection: &mut PgConnection, id: i64) -> Result<Vec<Edit>, RecoveryError> {
    let rows = sqlx::query(
        "SELECT id, edited_by, edited_at, reason, patch::text FROM edits WHERE dead_letter_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(id)
    .bind(MOST_FAILURES)
    .fetch_all(connection)
    .await?;
    let edit = |row: &sqlx::postgres::PgRow| {
        Ok(Edit {
            id: row.try_get(0)?,
            edited_by: row.try_get(1)?,
            edited_at: row.try_get(2)?,
            reason: row.try_get(3)?,
            patch: serde_json::from_str(row.try_get(4)?).unwrap_or_default(),
        })
    };
    rows.iter().map(edit).collect()
}

/// Bytes for people: the text they are, or base64 that says so.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        Ok(_) | Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

/// A header of `dead_letters.headers` for people.
fn header_text(value: &serde_json::Value) -> Option<String> {
    match (
        value.as_str(),
        value.get("base64").and_then(serde_json::Value::as_str),
    ) {
        (Some(text), _) => Some(text.to_owned()),
        (None, Some(base64)) => Some(format!("base64:{base64}")),
        (None, None) => None,
    }
}
