//! The rows of a job, each with its raw record as Kafka has it.

use super::{destination, no_destination};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::kafka;
use crate::model::{DeadLetterState, Prediction};
use crate::persistence_views;
use crate::raw_topic::current_epoch;
use crate::replay::dry_run::DryRunOutcome;
use crate::replay::jobs::within;
use crate::replay::runner::replay_letter::ReplayLetter;
use contracts::kafka::headers;
use runtime::admin::{self, OwnedRecord, Picked};
use sqlx::FromRow;
use std::collections::HashMap;
use store::row::RawPosition;

/// Most bytes of raw records at once, unless the first is larger.
const PAGE_BYTES: usize = 8 << 20;

/// Code of an item whose row has what today's contracts give it.
pub(crate) const UNCHANGED: &str = "unchanged";
/// Code of an item whose raw record is gone.
const RAW_RECORD_GONE: &str = "raw_record_gone";

/// A pending item.
#[derive(Debug, FromRow)]
struct PendingRow {
    id: i64,
    position: i32,
    #[sqlx(flatten)]
    raw: RawPosition,
    event_id: String,
    /// That its row had when the job was planned
    contract: String,
    /// None: the row is gone
    contract_now: Option<String>,
    /// Its row is not what its raw record says
    edited: bool,
    /// Who said that the vendor sent it although it was not verified
    genuine_by: Option<String>,
}

/// What an item is about, for people.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// `partition:offset`
    pub(crate) raw: String,
    pub(crate) event_id: String,
}

/// The next pending items.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Those that can be checked, as they would be sent
    pub(crate) letters: Vec<ReplayLetter>,
    /// Those about which everything is known
    pub(crate) decided: Vec<DryRunOutcome>,
    /// By item
    pub(crate) named: HashMap<i64, Named>,
    /// Position of the last; none after all
    pub(crate) last: Option<i32>,
}

/// The pending items after a position: at most so many, and as many as have [`PAGE_BYTES`].
///
/// # Errors
/// [`RecoveryError::Unavailable`] while Kafka or the database does not answer.
pub(crate) async fn page(
    context: &Context,
    job: &str,
    after: i32,
    most: usize,
) -> Result<Page, RecoveryError> {
    let (group, _) = destination(&context.pipeline).ok_or_else(no_destination)?;
    let pending: Vec<PendingRow> = within(async {
        let pending = sqlx::query_as(persistence_views::PENDING_ROWS)
            .bind(job)
            .bind(after)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .bind(&context.pipeline.raw);
        Ok(pending.fetch_all(&context.pool).await?)
    })
    .await?;
    let mut page = Page::default();
    if pending.is_empty() {
        return Ok(page);
    }
    let epoch = current_epoch(context).await?;
    let wanted: Vec<RawPosition> = pending
        .iter()
        .filter(|item| item.raw.epoch == epoch && item.is_as_planned())
        .map(|item| item.raw.clone())
        .collect();
    let (mut records, mut unread) = records(context, wanted).await?;
    for item in pending {
        if unread.remove(&item.raw).is_some() {
            break;
        }
        page.last = Some(item.position);
        let raw = format!("{}:{}", item.raw.partition, item.raw.offset);
        let event_id = item.event_id.clone();
        page.named.insert(item.id, Named { raw, event_id });
        match (item.settled(), records.remove(&item.raw)) {
            (Some(outcome), _) => page.decided.push(outcome),
            (None, Some(record)) => page.letters.push(letter(&group.group, item, record)),
            (None, None) => page.decided.push(item.gone()),
        }
    }
    Ok(page)
}

impl PendingRow {
    fn is_as_planned(&self) -> bool {
        self.contract_now.as_deref() == Some(&self.contract) && !self.edited
    }

    /// What is known of it without its raw record.
    fn settled(&self) -> Option<DryRunOutcome> {
        match &self.contract_now {
            Some(_) if self.edited => Some(
                self.outcome(
                    Prediction::Unchanged,
                    "edited",
                    "its row is of an edit, which today's reading of its raw record would undo"
                        .to_owned(),
                ),
            ),
            Some(now) if *now == self.contract => None,
            Some(now) => Some(self.outcome(
                Prediction::Unchanged,
                "retyped_before",
                format!("its row has contract {now} since it was selected"),
            )),
            None => Some(self.outcome(
                Prediction::Fail,
                "row_gone",
                "its row is not there any more".to_owned(),
            )),
        }
    }

    fn gone(&self) -> DryRunOutcome {
        self.outcome(
            Prediction::Fail,
            RAW_RECORD_GONE,
            format!(
                "Kafka does not have raw record {} any more (retention, or a recreated topic): its row stays as it is",
                self.raw
            ),
        )
    }

    fn outcome(&self, would: Prediction, code: &'static str, detail: String) -> DryRunOutcome {
        DryRunOutcome {
            letter: self.id,
            would,
            code: Some(code),
            pointer: None,
            detail: Some(detail),
            row: None,
            diff: None,
        }
    }
}

/// The raw record as it would be sent.
fn letter(group: &str, item: PendingRow, record: OwnedRecord) -> ReplayLetter {
    ReplayLetter {
        id: item.id,
        state: DeadLetterState::Open,
        job: None,
        group: group.to_owned(),
        unproven: record.header(headers::UNPROVEN),
        origin: item.raw,
        replay_count: 0,
        key: record.key,
        value: record.value,
        value_sha256: None,
        dropped: false,
        headers: record.headers,
        edit: None,
        genuine_by: item.genuine_by,
        revalidates: Some(item.contract),
    }
}

type ByPosition<T> = HashMap<RawPosition, T>;

/// The records that Kafka has of these, which are in the order of the topic, and those that were not looked at because there was enough.
async fn records(
    context: &Context,
    wanted: Vec<RawPosition>,
) -> Result<(ByPosition<OwnedRecord>, ByPosition<()>), RecoveryError> {
    let topic = context.pipeline.raw.clone();
    kafka::query(context, move |kafka| {
        let (mut found, mut unread, mut left) = (HashMap::new(), HashMap::new(), PAGE_BYTES);
        for part in wanted.chunk_by(|a, b| a.partition == b.partition) {
            let offsets: Vec<i64> = part.iter().map(|raw| raw.offset).collect();
            let partition = part.first().map_or(0, |raw| raw.partition);
            let picked = match left {
                0 => Picked::default(),
                left => admin::read_at(kafka, &topic, partition, &offsets, left)?,
            };
            unread.extend(
                part.iter()
                    .skip(picked.looked_at)
                    .map(|raw| (raw.clone(), ())),
            );
            for record in picked.records {
                left = left.saturating_sub(record.value.as_ref().map_or(0, Vec::len));
                let at = offsets.binary_search(&record.offset);
                if let Some(raw) = at.ok().and_then(|at| part.get(at)) {
                    found.insert(raw.clone(), record);
                }
            }
        }
        Ok((found, unread))
    })
    .await
}
