//! Today's checks over a selection: what would pass, what would fail again and why, what would be stored.
//!
//! The checks are the stages' own: [`contracts::event::Catalog::validate`] for what the validator refused,
//! [`runtime::registry::Registry::decode`] for what persistence refused. Whether PostgreSQL would take the row it tells itself: rows are
//! inserted into a temporary table made like persistence's, and rolled back.

mod check;
mod database;
mod rows;

pub(crate) use check::Checked;

use crate::audit_log::{self, Entry};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DryRun, DryRunItem};
use crate::replay::jobs::{unknown, within};
use crate::replay::runner::letter::{self, Letter};
use sqlx::Row;
use std::collections::{BTreeMap, HashMap};

/// Dead letters tried at once, and bytes of their values.
const PAGE: i64 = 200;
const PAGE_BYTES: i64 = 8 << 20;
/// Dead letters loaded at once when nobody has looked at their size.
const ASKED_AT_ONCE: usize = 20;
/// Samples a verdict.
const SAMPLES: usize = 5;

/// What today's checks say of one dead letter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) letter: i64,
    /// store, duplicate, fail
    pub(crate) would: &'static str,
    pub(crate) code: Option<&'static str>,
    /// Where in the JSON
    pub(crate) pointer: Option<String>,
    pub(crate) detail: Option<String>,
    /// The row that would be stored
    pub(crate) row: Option<serde_json::Value>,
    /// JSON Patch from what is there to what would be
    pub(crate) diff: Option<serde_json::Value>,
}

/// Events of this selection that would be stored, by (source, event id): the raw record and the content of the first. What comes after
/// one is its duplicate, or in conflict with it.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<[u8; 32], First>);

/// The first of an event: its raw record, and its content's hash.
type First = ((i32, i64), [u8; 32]);

impl Context {
    /// Today's checks over some dead letters, in the order of their numbers; those that are not there are left out.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`] while the registry or the database does not answer.
    #[allow(dead_code, reason = "explain and automatic recovery ask it")]
    pub(crate) async fn verdicts(&self, ids: &[i64]) -> Result<Vec<Verdict>, RecoveryError> {
        let (mut seen, mut verdicts) = (Seen::default(), Vec::with_capacity(ids.len()));
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        for page in ids.chunks(ASKED_AT_ONCE) {
            let letters =
                within(async { Ok(letter::load(&mut *self.pool.acquire().await?, page).await?) })
                    .await?;
            verdicts.extend(self.verdicts_after(&letters, &mut seen).await?);
        }
        Ok(verdicts)
    }

    async fn verdicts_after(
        &self,
        letters: &[Letter],
        seen: &mut Seen,
    ) -> Result<Vec<Verdict>, RecoveryError> {
        let mut checked: Vec<Checked> = Vec::with_capacity(letters.len());
        for letter in letters {
            checked.push(check::check(self, letter).await?);
        }
        database::judge(self, letters, checked, seen).await
    }

    /// Tries every pending item of a job; the verdicts stay with the items.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn dry_run(&self, who: &str, job: &str) -> Result<DryRun, RecoveryError> {
        if job.contains('\0') {
            return Err(unknown(job));
        }
        let known = within(async {
            let known = sqlx::query_scalar("SELECT EXISTS (SELECT FROM replay_jobs WHERE id = $1)");
            Ok(known.bind(job).fetch_one(&self.pool).await?)
        });
        if !known.await? {
            return Err(unknown(job));
        }
        let mut run = DryRun {
            job: job.to_owned(),
            would_store: 0,
            would_be_duplicate: 0,
            would_fail: 0,
            would_fail_by_code: BTreeMap::new(),
            samples: Vec::new(),
        };
        let (mut seen, mut sampled, mut after) = (Seen::default(), BTreeMap::<_, usize>::new(), 0);
        loop {
            let (letters, last) = within(self.page(job, after)).await?;
            let Some(last) = last else { break };
            after = last;
            let verdicts = self.verdicts_after(&letters, &mut seen).await?;
            within(self.keep(job, &verdicts)).await?;
            for verdict in verdicts {
                tally(&mut run, &verdict);
                let samples = sampled.entry((verdict.would, verdict.code)).or_default();
                if *samples < SAMPLES && run.samples.len() < 100 {
                    *samples += 1;
                    run.samples.push(shown(verdict));
                }
            }
        }
        within(async {
            let mut transaction = self.pool.begin().await?;
            sqlx::query("UPDATE replay_jobs SET dry_run_at = clock_timestamp() WHERE id = $1")
                .bind(job)
                .execute(&mut *transaction)
                .await?;
            let counts =
                serde_json::json!({"store": run.would_store, "duplicate": run.would_be_duplicate, "fail": run.would_fail});
            let entry = Entry { who, action: "replay.dry_run", job: Some(job), counts, ..Entry::default() };
            audit_log::write(&mut transaction, entry).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
        Ok(run)
    }

    /// The next pending items' dead letters, and the position of the last; none after all.
    async fn page(
        &self,
        job: &str,
        after: i32,
    ) -> Result<(Vec<Letter>, Option<i32>), RecoveryError> {
        let mut connection = self.pool.acquire().await?;
        let rows = sqlx::query(
            "SELECT i.dead_letter_id, i.position, coalesce(octet_length(d.value), 0)::bigint + coalesce(octet_length(e.value), 0)
             FROM replay_items i LEFT JOIN dead_letters d ON d.id = i.dead_letter_id LEFT JOIN edits e ON e.id = d.edit_id
             WHERE i.job_id = $1 AND i.state = 'pending' AND i.position > $2 ORDER BY i.position LIMIT $3",
        )
        .bind(job)
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let (mut ids, mut last, mut bytes) = (Vec::new(), None, 0_i64);
        for row in &rows {
            bytes = bytes.saturating_add(row.try_get::<i64, _>(2)?);
            if bytes > PAGE_BYTES && !ids.is_empty() {
                break;
            }
            ids.push(row.try_get::<i64, _>(0)?);
            last = Some(row.try_get(1)?);
        }
        Ok((letter::load(&mut connection, &ids).await?, last))
    }

    async fn keep(&self, job: &str, verdicts: &[Verdict]) -> Result<(), RecoveryError> {
        sqlx::query(
            "UPDATE replay_items i SET would = v.would, would_code = v.code, would_detail = v.detail
             FROM UNNEST($2::bigint[], $3::text[], $4::text[], $5::text[]) AS v (id, would, code, detail)
             WHERE i.job_id = $1 AND i.dead_letter_id = v.id",
        )
        .bind(job)
        .bind(verdicts.iter().map(|verdict| verdict.letter).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.would).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.code).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.detail.as_deref().map(audit_log::clean)).collect::<Vec<_>>())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn tally(run: &mut DryRun, verdict: &Verdict) {
    match verdict.would {
        "store" => run.would_store += 1,
        "duplicate" => run.would_be_duplicate += 1,
        _ => {
            run.would_fail += 1;
            *run.would_fail_by_code
                .entry(verdict.code.unwrap_or("unknown").to_owned())
                .or_default() += 1;
        }
    }
}

fn shown(verdict: Verdict) -> DryRunItem {
    DryRunItem {
        letter: verdict.letter,
        would: verdict.would.to_owned(),
        code: verdict.code.map(str::to_owned),
        detail: verdict.detail,
        row: verdict.row,
        diff: verdict.diff,
    }
}
