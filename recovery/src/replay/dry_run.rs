//! Today's checks over a selection: what would pass, what would fail again and why, what would be stored.
//!
//! The checks are the stages' own: [`contracts::event::Catalog::validate`] for what the validator refused,
//! [`runtime::registry::Registry::decode`] for what persistence refused; the row and its fate are persistence's own ([`store::row`],
//! [`store::fate`]). Whether PostgreSQL would take the row, PostgreSQL says: rows are inserted into a temporary table made like persistence's.

mod check;
mod database;
mod shown;

use crate::audit_log::{self, Entry};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DryRun, DryRunSample, JobKind, Prediction};
use crate::replay::jobs::{unknown, within};
use crate::replay::revalidation::{self, Named};
use crate::replay::runner::replay_letter::{self, ReplayLetter};
use check::CheckedReplay;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use std::collections::{BTreeMap, HashMap};
use store::copies::{BodyKey, key_of};
use store::fate::Stored;
use store::row::{EventRow, RawPosition};

/// Most dead letters checked at once, and bytes of their values.
const PAGE: i64 = 200;
const PAGE_BYTES: i64 = 8 << 20;
/// Dead letters loaded at once when their size is not known.
const LOADED_AT_ONCE: usize = 20;
/// Samples of each outcome.
const SAMPLES: usize = 5;
/// Samples in all.
const MAX_SAMPLES: usize = 100;

/// What would become of a dead letter, by today's checks, if it was replayed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DryRunOutcome {
    pub(crate) letter: i64,
    pub(crate) would: Prediction,
    pub(crate) code: Option<&'static str>,
    /// Where in the JSON
    pub(crate) pointer: Option<String>,
    pub(crate) detail: Option<String>,
    /// The row that would be stored
    pub(crate) row: Option<serde_json::Value>,
    /// JSON Patch from what is there to what would be
    pub(crate) diff: Option<serde_json::Value>,
}

impl DryRunOutcome {
    fn filtered(letter: &ReplayLetter, rule: &str) -> Self {
        Self {
            letter: letter.id,
            would: Prediction::Filter,
            code: letter.revalidates.is_some().then_some("filtered"),
            pointer: None,
            detail: Some(format!("its source filters it, by {rule:?}")),
            row: None,
            diff: None,
        }
    }

    fn processed(letter: &ReplayLetter) -> Self {
        Self {
            letter: letter.id,
            would: Prediction::Process,
            code: None,
            pointer: None,
            detail: Some(
                "its stage can read it; only a replay shows whether it takes it".to_owned(),
            ),
            row: None,
            diff: None,
        }
    }

    fn fails(letter: &ReplayLetter, failure: check::PredictedFailure) -> Self {
        Self {
            letter: letter.id,
            would: Prediction::Fail,
            code: Some(failure.code),
            pointer: failure.pointer,
            detail: Some(failure.detail),
            row: None,
            diff: None,
        }
    }
}

/// Events of this selection that would be stored, by the SHA-256 of (source, event id): a selection may have a million. What comes after one
/// is its duplicate, or in conflict with it.
#[derive(Debug, Default)]
struct Seen {
    events: HashMap<[u8; 32], (RawPosition, [u8; 32])>,
    /// Of those whose ids are not signed, the signed bodies and the ids
    bodies: HashMap<BodyKey, String>,
}

impl Seen {
    fn first(&self, row: &EventRow<'_>) -> Option<Stored> {
        let (raw, content_hash) = self.events.get(&event_hash(row))?;
        Some(Stored {
            raw: raw.clone(),
            // Its payload is not kept.
            differences: (*content_hash != row.content_hash).then(Vec::new),
            contract: None,
            edited: false,
        })
    }

    fn insert(&mut self, row: &EventRow<'_>) {
        let event = (row.raw.clone(), row.content_hash);
        self.events.insert(event_hash(row), event);
        if let Some(key) = key_of(row) {
            let id = row.event.event_id.to_owned();
            self.bodies.entry(key).or_insert(id);
        }
    }

    /// The other id under which its signed body would be stored.
    fn body(&self, row: &EventRow<'_>) -> Option<String> {
        let first = self.bodies.get(&key_of(row)?)?;
        (first != row.event.event_id).then(|| first.clone())
    }
}

fn event_hash(row: &EventRow<'_>) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(row.source.len().to_be_bytes());
    digest.update(row.source);
    digest.update(row.event.event_id);
    digest.finalize().into()
}

/// Today's checks over some dead letters, in the order of their numbers; those that are not there are left out.
///
/// # Errors
/// [`RecoveryError::Unavailable`] while the registry or the database does not answer.
pub(crate) async fn outcomes(
    context: &Context,
    ids: &[i64],
) -> Result<Vec<DryRunOutcome>, RecoveryError> {
    let (mut seen, mut outcomes) = (Seen::default(), Vec::with_capacity(ids.len()));
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    for page in ids.chunks(LOADED_AT_ONCE) {
        let letters = within(async {
            Ok(replay_letter::load(&mut *context.pool.acquire().await?, page).await?)
        })
        .await?;
        outcomes.extend(outcomes_after(context, &letters, &mut seen).await?);
    }
    Ok(outcomes)
}

/// As [`outcomes`], of what is loaded.
pub(crate) async fn outcomes_of(
    context: &Context,
    letters: &[ReplayLetter],
) -> Result<Vec<DryRunOutcome>, RecoveryError> {
    let mut all = Vec::with_capacity(letters.len());
    for letters in letters.chunks(LOADED_AT_ONCE) {
        all.extend(outcomes_after(context, letters, &mut Seen::default()).await?);
    }
    Ok(all)
}

async fn outcomes_after(
    context: &Context,
    letters: &[ReplayLetter],
    seen: &mut Seen,
) -> Result<Vec<DryRunOutcome>, RecoveryError> {
    let replays: Vec<CheckedReplay<'_>> = letters
        .iter()
        .map(|letter| CheckedReplay::of(context, letter))
        .collect();
    let mut expected = Vec::with_capacity(replays.len());
    for replay in &replays {
        expected.push(replay.expected(context).await?);
    }
    database::outcomes(context, letters, expected, seen).await
}

/// Checks every pending item of a job; the outcomes stay with the items.
///
/// # Errors
/// [`RecoveryError`]
pub async fn dry_run(context: &Context, who: &str, job: &str) -> Result<DryRun, RecoveryError> {
    if job.contains('\0') {
        return Err(unknown(job));
    }
    let kind = within(async {
        let kind = sqlx::query_scalar("SELECT kind FROM replay_jobs WHERE id = $1");
        Ok(kind.bind(job).fetch_optional(&context.pool).await?)
    });
    let kind: JobKind = kind.await?.ok_or_else(|| unknown(job))?;
    let mut run = DryRun {
        job: job.to_owned(),
        kind,
        would_store: 0,
        would_be_duplicate: 0,
        would_be_filtered: 0,
        would_retype: 0,
        would_be_unchanged: 0,
        would_process: 0,
        would_fail: 0,
        would_fail_by_code: BTreeMap::new(),
        samples: Vec::new(),
    };
    let (mut seen, mut sampled, mut after) = (Seen::default(), BTreeMap::<_, usize>::new(), 0);
    loop {
        let (outcomes, named, last) = match kind {
            JobKind::Replay => {
                let (letters, last) = within(page(context, job, after)).await?;
                let outcomes = outcomes_after(context, &letters, &mut seen).await?;
                (outcomes, HashMap::new(), last)
            }
            JobKind::Revalidation => {
                let most = usize::try_from(PAGE).unwrap_or_default();
                let mut page = revalidation::page(context, job, after, most).await?;
                let outcomes = revalidation::outcomes(context, &mut page).await?;
                (outcomes, page.named, page.last)
            }
        };
        let Some(last) = last else { break };
        after = last;
        within(save_outcomes(context, job, &outcomes)).await?;
        for outcome in outcomes {
            count(&mut run, &outcome);
            let samples = sampled.entry((outcome.would, outcome.code)).or_default();
            if *samples < SAMPLES && run.samples.len() < MAX_SAMPLES {
                *samples += 1;
                run.samples.push(sample(outcome, &named));
            }
        }
    }
    within(async {
        let mut transaction = context.pool.begin().await?;
        sqlx::query("UPDATE replay_jobs SET dry_run_at = clock_timestamp() WHERE id = $1")
            .bind(job)
            .execute(&mut *transaction)
            .await?;
        let counts =
            serde_json::json!({"store": run.would_store, "duplicate": run.would_be_duplicate, "filter": run.would_be_filtered, "retype": run.would_retype, "unchanged": run.would_be_unchanged, "process": run.would_process, "fail": run.would_fail});
        let entry = Entry { who, action: "replay.dry_run", job: Some(job), counts, ..Entry::default() };
        audit_log::write(&mut transaction, entry).await?;
        Ok(transaction.commit().await?)
    })
    .await?;
    Ok(run)
}

/// The next pending items' dead letters, and the position of the last; none after all.
async fn page(
    context: &Context,
    job: &str,
    after: i32,
) -> Result<(Vec<ReplayLetter>, Option<i32>), RecoveryError> {
    let mut connection = context.pool.acquire().await?;
    let pending: Vec<PendingItem> = sqlx::query_as(
        "SELECT i.dead_letter_id, i.position, coalesce(octet_length(d.value), 0)::bigint + coalesce(octet_length(e.value), 0) AS bytes
         FROM replay_items i LEFT JOIN dead_letters d ON d.id = i.dead_letter_id LEFT JOIN edits e ON e.id = d.edit_id
         WHERE i.job_id = $1 AND i.state = 'pending' AND i.position > $2 ORDER BY i.position LIMIT $3",
    )
    .bind(job)
    .bind(after)
    .bind(PAGE)
    .fetch_all(&mut *connection)
    .await?;
    let (mut ids, mut last, mut bytes) = (Vec::new(), None, 0_i64);
    for item in &pending {
        bytes = bytes.saturating_add(item.bytes);
        if bytes > PAGE_BYTES && !ids.is_empty() {
            break;
        }
        ids.push(item.dead_letter_id);
        last = Some(item.position);
    }
    Ok((replay_letter::load(&mut connection, &ids).await?, last))
}

async fn save_outcomes(
    context: &Context,
    job: &str,
    outcomes: &[DryRunOutcome],
) -> Result<(), RecoveryError> {
    macro_rules! column {
        (|$outcome:ident| $value:expr) => {
            outcomes.iter().map(|$outcome| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query(
        "UPDATE replay_items i SET would = v.would, would_code = v.code, would_detail = v.detail
         FROM UNNEST($2::bigint[], $3::text[], $4::text[], $5::text[]) AS v (id, would, code, detail)
         WHERE i.job_id = $1 AND i.dead_letter_id = v.id",
    )
    .bind(job)
    .bind(column!(|outcome| outcome.letter))
    .bind(column!(|outcome| outcome.would))
    .bind(column!(|outcome| outcome.code))
    .bind(column!(|outcome| outcome.detail.as_deref().map(audit_log::clean)))
    .execute(&context.pool)
    .await?;
    Ok(())
}

/// A pending item of a job, and the bytes of its values.
#[derive(FromRow)]
struct PendingItem {
    dead_letter_id: i64,
    position: i32,
    bytes: i64,
}

fn count(run: &mut DryRun, outcome: &DryRunOutcome) {
    match outcome.would {
        Prediction::Store => run.would_store += 1,
        Prediction::Duplicate => run.would_be_duplicate += 1,
        Prediction::Filter => run.would_be_filtered += 1,
        Prediction::Retype => run.would_retype += 1,
        Prediction::Unchanged => run.would_be_unchanged += 1,
        Prediction::Process => run.would_process += 1,
        Prediction::Fail => {
            run.would_fail += 1;
            let code = outcome.code.unwrap_or("unknown").to_owned();
            *run.would_fail_by_code.entry(code).or_default() += 1;
        }
    }
}

fn sample(outcome: DryRunOutcome, named: &HashMap<i64, Named>) -> DryRunSample {
    let named = named.get(&outcome.letter);
    DryRunSample {
        letter: (outcome.letter > 0).then_some(outcome.letter),
        raw: named.map(|named| named.raw.clone()),
        event_id: named.map(|named| named.event_id.clone()),
        would: outcome.would,
        code: outcome.code.map(str::to_owned),
        detail: outcome.detail,
        row: outcome.row,
        diff: outcome.diff,
    }
}
