//! Rows, further deliveries and dead letters, by index only: no statement here reads a table from end to end.

use super::TIMELINES;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DeadLetterState, ItemState, Time};
use crate::persistence_views as views;
use sqlx::FromRow;
use std::collections::{BTreeMap, BTreeSet};
use store::row::RawPosition;

/// Most further deliveries, dead letters and steps of their history that are read.
const MOST: i64 = 500;

/// What is asked for, as it is looked up.
pub(super) struct Asked {
    /// An event id or entity key
    key: Option<String>,
    trace_id: Option<String>,
}

impl Asked {
    /// 32 hex digits may be a trace id, or an id of a vendor's.
    pub(super) fn of(asked: &str) -> Self {
        if let Some(trace_id) = runtime::traceparent::trace_id(asked) {
            return Self {
                key: None,
                trace_id: Some(trace_id.to_owned()),
            };
        }
        let is_trace_id = asked.len() == 32 && asked.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self {
            key: Some(asked.to_owned()),
            trace_id: is_trace_id.then(|| asked.to_ascii_lowercase()),
        }
    }
}

/// A stored event.
#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedRow {
    pub(super) source: String,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) entity_key: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) secret_id: Option<String>,
    pub(super) schema_id: i32,
    pub(super) received_at: Option<Time>,
    pub(super) stored_at: Time,
    #[sqlx(flatten)]
    pub(super) raw: RawPosition,
}

/// A further delivery.
#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedDelivery {
    pub(super) source: String,
    pub(super) event_id: String,
    pub(super) received_at: Option<Time>,
    pub(super) seen_at: Time,
    /// The rule that filters it; `None` of a duplicate
    pub(super) rule: Option<String>,
    /// Of a copy, the id under which its signed body is stored
    pub(super) same_body_as: Option<String>,
    #[sqlx(flatten)]
    pub(super) raw: RawPosition,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedDeadLetter {
    pub(super) id: i64,
    pub(super) state: DeadLetterState,
    pub(super) stage: String,
    pub(super) code: String,
    pub(super) source: String,
    pub(super) origin_topic: String,
    pub(super) origin_partition: i32,
    pub(super) origin_offset: i64,
    pub(super) origin_group: String,
    pub(super) dlq_partition: i32,
    pub(super) dlq_offset: i64,
    pub(super) consumer_group: String,
    pub(super) detail: String,
    pub(super) replay_count: i32,
    pub(super) last_failed_at: Time,
    pub(super) received_at: Option<Time>,
    pub(super) event_id: Option<String>,
    pub(super) entity_key: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: String,
    pub(super) settled_at: Option<Time>,
    pub(super) settled_by: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) genuine_by: Option<String>,
    pub(super) genuine_at: Option<Time>,
    pub(super) genuine_reason: Option<String>,
}

impl TracedDeadLetter {
    /// Its raw record, when it is one of ours.
    pub(super) fn raw(&self, topic: &str) -> Option<RawPosition> {
        let epoch = self.origin_topic.strip_prefix(topic)?;
        let is_raw = self.origin_group.is_empty() && (epoch.is_empty() || epoch.starts_with('@'));
        is_raw.then(|| RawPosition {
            epoch: epoch.to_owned(),
            partition: self.origin_partition,
            offset: self.origin_offset,
        })
    }
}

/// All that was found, without order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: BTreeMap<RawPosition, TracedRow>,
    pub(super) deliveries: BTreeMap<RawPosition, TracedDelivery>,
    pub(super) letters: BTreeMap<i64, TracedDeadLetter>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.deliveries.is_empty() && self.letters.is_empty()
    }
}

/// An earlier failure of a dead letter, or a further copy of its record.
#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedFailure {
    pub(super) dead_letter_id: i64,
    pub(super) dlq_partition: i32,
    pub(super) dlq_offset: i64,
    pub(super) stage: String,
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) replay_count: i32,
    pub(super) failed_at: Time,
}

/// A person's edit of a value.
#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedEdit {
    pub(super) dead_letter_id: i64,
    pub(super) edited_by: String,
    pub(super) edited_at: Time,
    pub(super) reason: String,
    pub(super) patch: String,
}

/// A replay that was sent.
#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedReplay {
    pub(super) dead_letter_id: i64,
    pub(super) job_id: String,
    pub(super) created_by: String,
    pub(super) reason: String,
    pub(super) state: ItemState,
    pub(super) code: Option<String>,
    pub(super) edit_id: Option<i64>,
    pub(super) replay_count: Option<i32>,
    pub(super) sent_at: Time,
}

/// A row was typed by another contract.
#[derive(Debug, Clone, FromRow)]
pub(super) struct TracedRetyping {
    pub(super) contract_before: String,
    pub(super) contract: String,
    pub(super) retyped_at: Time,
    #[sqlx(flatten)]
    pub(super) raw: RawPosition,
}

/// When these rows were typed again.
pub(super) async fn retypings(
    context: &Context,
    rows: &[RawPosition],
) -> Result<Vec<TracedRetyping>, RecoveryError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let found = sqlx::query_as(views::RETYPED_BY_RAW)
        .bind(MOST)
        .bind(rows.iter().map(|raw| raw.partition).collect::<Vec<_>>())
        .bind(rows.iter().map(|raw| raw.offset).collect::<Vec<_>>())
        .bind(rows.iter().map(|raw| &*raw.epoch).collect::<Vec<_>>());
    Ok(found.fetch_all(&context.pool).await?)
}

/// Earlier failures, edits and replays of dead letters.
#[derive(Debug, Default)]
pub(super) struct DeadLetterHistory {
    pub(super) failures: Vec<TracedFailure>,
    pub(super) edits: Vec<TracedEdit>,
    pub(super) sent: Vec<TracedReplay>,
}

const LETTERS_BY_EVENT_ID: &str = "SELECT id FROM dead_letters WHERE event_id = $2 LIMIT $1";
const LETTERS_BY_ENTITY_KEY: &str = "SELECT id FROM dead_letters WHERE entity_key = $2 LIMIT $1";
const LETTERS_BY_TRACE_ID: &str = "SELECT id FROM dead_letters WHERE trace_id = $2 LIMIT $1";
const LETTERS_BY_EVENT: &str = "SELECT d.id FROM UNNEST($2::text[], $3::text[]) AS asked (source, event_id)
     JOIN dead_letters d ON d.event_id = asked.event_id JOIN groups g ON g.id = d.group_id AND g.source IN (asked.source, '') LIMIT $1";
const LETTERS_BY_RAW: &str = "SELECT d.id FROM UNNEST($2::integer[], $3::bigint[], $4::text[]) AS asked (partition, o, epoch)
     JOIN dead_letters d ON d.origin_topic = $5 || asked.epoch AND d.origin_partition = asked.partition AND d.origin_offset = asked.o
          AND d.origin_group = '' LIMIT $1";
const LETTERS: &str = "SELECT d.id, d.state, g.stage, g.code, g.source, d.origin_topic, d.origin_partition, d.origin_offset, d.origin_group,
            d.dlq_partition, d.dlq_offset, d.consumer_group, d.detail, d.replay_count, d.last_failed_at, d.received_at, d.event_id,
            d.entity_key, d.trace_id, d.value, d.headers::text AS headers, d.settled_at, d.settled_by, d.reason, d.genuine_by,
            d.genuine_at, d.genuine_reason
     FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = ANY($1)";

/// Everything that belongs to what is asked for; true when there is more than is shown.
pub(super) async fn find(context: &Context, asked: &Asked) -> Result<(Found, bool), RecoveryError> {
    let stored = views::is_there(&context.pool).await?;
    let mut found = Found::default();
    let limit = i64::try_from(TIMELINES).unwrap_or(MOST) + 1;
    let (mut more, mut ids) = (false, Vec::new());
    for (text, rows, of_letters) in [
        (&asked.key, views::ROWS_BY_EVENT_ID, LETTERS_BY_EVENT_ID),
        (&asked.key, views::ROWS_BY_ENTITY_KEY, LETTERS_BY_ENTITY_KEY),
        (
            &asked.trace_id,
            views::ROWS_BY_TRACE_ID,
            LETTERS_BY_TRACE_ID,
        ),
    ] {
        let Some(text) = text else { continue };
        if stored {
            let rows: Vec<TracedRow> = sqlx::query_as(rows)
                .bind(limit)
                .bind(text)
                .fetch_all(&context.pool)
                .await?;
            more |= rows.len() > TIMELINES;
            found.rows.extend(
                rows.into_iter()
                    .take(TIMELINES)
                    .map(|row| (row.raw.clone(), row)),
            );
        }
        let of_text: Vec<i64> = sqlx::query_scalar(of_letters)
            .bind(limit)
            .bind(text)
            .fetch_all(&context.pool)
            .await?;
        more |= of_text.len() > TIMELINES;
        ids.extend(of_text.into_iter().take(TIMELINES));
    }
    if let (true, Some(key)) = (stored, &asked.key) {
        let deliveries = sqlx::query_as(views::DELIVERIES_BY_EVENT_ID)
            .bind(MOST)
            .bind(key)
            .fetch_all(&context.pool)
            .await?;
        add_deliveries(&mut found, deliveries);
    }
    belonging(context, &mut found, ids, stored).await?;
    Ok((found, more))
}

/// Everything that belongs to one raw record.
pub(super) async fn find_raw(context: &Context, raw: &RawPosition) -> Result<Found, RecoveryError> {
    let stored = views::is_there(&context.pool).await?;
    let mut found = Found::default();
    let place = (
        vec![raw.partition],
        vec![raw.offset],
        vec![raw.epoch.clone()],
    );
    if stored {
        let rows: Vec<TracedRow> = sqlx::query_as(views::ROWS_BY_RAW)
            .bind(MOST)
            .bind(&place.0)
            .bind(&place.1)
            .bind(&place.2)
            .fetch_all(&context.pool)
            .await?;
        found
            .rows
            .extend(rows.into_iter().map(|row| (row.raw.clone(), row)));
        let deliveries = sqlx::query_as(views::DELIVERIES_BY_RAW)
            .bind(MOST)
            .bind(&place.0)
            .bind(&place.1)
            .bind(&place.2);
        add_deliveries(&mut found, deliveries.fetch_all(&context.pool).await?);
    }
    let ids = sqlx::query_scalar(LETTERS_BY_RAW)
        .bind(MOST)
        .bind(&place.0)
        .bind(&place.1)
        .bind(&place.2)
        .bind(&context.pipeline.raw)
        .fetch_all(&context.pool)
        .await?;
    belonging(context, &mut found, ids, stored).await?;
    Ok(found)
}

/// What belongs to what was found: twice, since an edit may have changed the event id between a dead letter and its row.
async fn belonging(
    context: &Context,
    found: &mut Found,
    mut ids: Vec<i64>,
    stored: bool,
) -> Result<(), RecoveryError> {
    let mut letters = BTreeSet::new();
    for _ in 0..2 {
        letters.extend(ids);
        let new: Vec<i64> = letters
            .iter()
            .copied()
            .filter(|id| !found.letters.contains_key(id))
            .collect();
        let of_new: Vec<TracedDeadLetter> = sqlx::query_as(LETTERS)
            .bind(new)
            .fetch_all(&context.pool)
            .await?;
        found
            .letters
            .extend(of_new.into_iter().map(|letter| (letter.id, letter)));
        let (sources, event_ids) = events(found);
        let raws = raws_of(found, &context.pipeline.raw);
        if stored {
            for statement in [views::ROWS_BY_EVENT, views::ROWS_BY_RAW] {
                let query = sqlx::query_as(statement).bind(MOST);
                let query = if statement == views::ROWS_BY_EVENT {
                    query.bind(&sources).bind(&event_ids)
                } else {
                    query
                        .bind(&raws.partitions)
                        .bind(&raws.offsets)
                        .bind(&raws.epochs)
                };
                let rows: Vec<TracedRow> = query.fetch_all(&context.pool).await?;
                found
                    .rows
                    .extend(rows.into_iter().map(|row| (row.raw.clone(), row)));
            }
            let by_event = sqlx::query_as(views::DELIVERIES_BY_EVENT)
                .bind(MOST)
                .bind(&sources)
                .bind(&event_ids);
            add_deliveries(found, by_event.fetch_all(&context.pool).await?);
            let by_raw = sqlx::query_as(views::DELIVERIES_BY_RAW)
                .bind(MOST)
                .bind(&raws.partitions)
                .bind(&raws.offsets)
                .bind(&raws.epochs);
            add_deliveries(found, by_raw.fetch_all(&context.pool).await?);
        }
        let (sources, event_ids) = events(found);
        let raws = raws_of(found, &context.pipeline.raw);
        ids = sqlx::query_scalar(LETTERS_BY_EVENT)
            .bind(MOST)
            .bind(sources)
            .bind(event_ids)
            .fetch_all(&context.pool)
            .await?;
        let by_raw = sqlx::query_scalar::<_, i64>(LETTERS_BY_RAW)
            .bind(MOST)
            .bind(raws.partitions)
            .bind(raws.offsets)
            .bind(raws.epochs);
        ids.extend(
            by_raw
                .bind(&context.pipeline.raw)
                .fetch_all(&context.pool)
                .await?,
        );
    }
    letters.extend(ids);
    let new: Vec<i64> = letters
        .into_iter()
        .filter(|id| !found.letters.contains_key(id))
        .collect();
    let of_new: Vec<TracedDeadLetter> = sqlx::query_as(LETTERS)
        .bind(new)
        .fetch_all(&context.pool)
        .await?;
    found
        .letters
        .extend(of_new.into_iter().map(|letter| (letter.id, letter)));
    Ok(())
}

fn add_deliveries(found: &mut Found, deliveries: Vec<TracedDelivery>) {
    found.deliveries.extend(
        deliveries
            .into_iter()
            .map(|delivery| (delivery.raw.clone(), delivery)),
    );
}

/// Sources and event ids of all that was found.
fn events(found: &Found) -> (Vec<String>, Vec<String>) {
    let rows = found
        .rows
        .values()
        .map(|row| (row.source.clone(), row.event_id.clone()));
    let deliveries = found
        .deliveries
        .values()
        .map(|delivery| (delivery.source.clone(), delivery.event_id.clone()));
    let letters = found
        .letters
        .values()
        .filter_map(|letter| Some((letter.source.clone(), letter.event_id.clone()?)));
    let all: BTreeSet<(String, String)> = rows.chain(deliveries).chain(letters).collect();
    all.into_iter().unzip()
}

/// Raw coordinates, as a statement takes them.
struct Raws {
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    epochs: Vec<String>,
}

/// Raw coordinates of all that was found.
fn raws_of(found: &Found, topic: &str) -> Raws {
    let letters = found
        .letters
        .values()
        .filter_map(|letter| letter.raw(topic));
    let all: BTreeSet<RawPosition> = found
        .rows
        .keys()
        .chain(found.deliveries.keys())
        .cloned()
        .chain(letters)
        .collect();
    Raws {
        partitions: all.iter().map(|raw| raw.partition).collect(),
        offsets: all.iter().map(|raw| raw.offset).collect(),
        epochs: all.into_iter().map(|raw| raw.epoch).collect(),
    }
}

/// Earlier failures, edits and replays of these dead letters.
pub(super) async fn history(
    context: &Context,
    letters: Vec<i64>,
) -> Result<DeadLetterHistory, RecoveryError> {
    let failures = sqlx::query_as(
        "SELECT dead_letter_id, dlq_partition, dlq_offset, stage, code, detail, replay_count, failed_at FROM failures
         WHERE dead_letter_id = ANY($1) ORDER BY replay_count, failed_at LIMIT $2",
    )
    .bind(&letters)
    .bind(MOST)
    .fetch_all(&context.pool)
    .await?;
    let edits = sqlx::query_as(
        "SELECT dead_letter_id, edited_by, edited_at, reason, patch::text AS patch FROM edits
         WHERE dead_letter_id = ANY($1) ORDER BY id LIMIT $2",
    )
    .bind(&letters)
    .bind(MOST)
    .fetch_all(&context.pool)
    .await?;
    let sent = sqlx::query_as(
        "SELECT i.dead_letter_id, i.job_id, j.created_by, j.reason, i.state, i.code, i.edit_id, i.replay_count, i.sent_at
         FROM replay_items i JOIN replay_jobs j ON j.id = i.job_id
         WHERE i.dead_letter_id = ANY($1) AND i.sent_at IS NOT NULL ORDER BY i.sent_at LIMIT $2",
    )
    .bind(&letters)
    .bind(MOST)
    .fetch_all(&context.pool)
    .await?;
    Ok(DeadLetterHistory {
        failures,
        edits,
        sent,
    })
}
