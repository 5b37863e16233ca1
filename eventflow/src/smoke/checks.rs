//! The checks, in order, and what to do when one fails.

use super::NO_TARGET;
use super::audit::Audited;
use super::edge::{Edge, Posted};
use super::event::Run;
use super::fates::{FateError, Fates};
use super::report::{Check, CheckResult, Millis, Report, waiting};
use super::stored::{RawPosition, StoredEvent};
use crate::oncall::CommandError;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Fresh webhooks: enough for a median.
const WEBHOOKS: usize = 5;
/// Why no batch is checked.
const NO_BATCHES: &str = "not sent: this source sends no batches (batches in sources.toml)";
/// The checks after the first.
const AFTER_READY: [&str; 8] = [
    "accepted",
    "tampered",
    "stale",
    "stored",
    "duplicate",
    "corrupted",
    "batch",
    "audit",
];

/// One run of all checks.
pub(super) struct Checks {
    pub(super) run: Run,
    pub(super) report: Report,
    pub(super) edge: Edge,
    pub(super) end: Instant,
}

/// What the edge answered to the webhooks whose fates are looked up.
struct Sent {
    fresh: Vec<Posted>,
    again: Result<Posted, String>,
    batch: Result<Posted, String>,
}

impl Checks {
    /// Every check that makes sense after those before it; the others are skipped.
    pub(super) async fn run(
        &mut self,
        fates: Option<&Fates>,
        batch: usize,
        deadline: Duration,
    ) -> Result<(), CommandError> {
        let began = Instant::now();
        let ready = self
            .edge
            .ready((deadline / 4).min(Duration::from_secs(15)))
            .await;
        let answers = ready.answers;
        self.report.add(Check::new(
            "ready",
            ready.verdict,
            began.elapsed(),
            ready.detail,
        ))?;
        if !answers {
            return self.skip(&AFTER_READY, "the edge does not answer");
        }
        let (began, mut fresh) = (Instant::now(), Vec::new());
        for number in 1..=WEBHOOKS {
            let event = self.run.event(&format!("accepted-{number}"));
            match self.edge.accept(&event).await {
                Ok(posted) => fresh.push(posted),
                Err(wrong) => {
                    self.record("accepted", began.elapsed(), Err(wrong), vec![event.id])?;
                    return self.skip(&AFTER_READY[1..], "the check accepted failed");
                }
            }
        }
        let detail = format!("{WEBHOOKS} signed webhooks, each answered 200 with its event id");
        self.record("accepted", began.elapsed(), Ok(detail), ids(&fresh))?;
        let (began, event) = (Instant::now(), self.run.event("tampered"));
        let outcome = self.edge.tampered(&event).await;
        self.record("tampered", began.elapsed(), outcome, vec![event.id])?;
        let (began, event) = (Instant::now(), self.run.event("stale"));
        let outcome = self.edge.stale(&event).await;
        self.record("stale", began.elapsed(), outcome, vec![event.id])?;

        let again = self.edge.accept(&fresh[0].events[0]).await;
        let batch = self.edge.accept_batch(self.run.batch(batch)).await;
        let answered = fresh.iter().chain(&again).map(|posted| posted.took);
        self.report.latency.webhook_to_answer_ms = Millis::of(answered.collect());
        let sent = Sent {
            fresh,
            again,
            batch,
        };
        match fates {
            Some(fates) => self.fates(fates, sent).await,
            None => self.without_fates(sent),
        }
    }

    fn record(
        &mut self,
        name: &'static str,
        took: Duration,
        outcome: Result<String, String>,
        ids: Vec<String>,
    ) -> Result<(), CommandError> {
        let (verdict, detail) = match outcome {
            Ok(detail) => (CheckResult::Passed, detail),
            Err(detail) => (CheckResult::Failed, detail),
        };
        self.report
            .add(Check::new(name, verdict, took, detail).of(ids))
    }

    fn skip(&mut self, names: &[&'static str], why: &str) -> Result<(), CommandError> {
        names.iter().try_for_each(|name| {
            self.report.add(Check::new(
                name,
                CheckResult::Skipped,
                Duration::ZERO,
                why.to_owned(),
            ))
        })
    }

    /// Only the edge's answers can be checked. Nothing broken was sent: nobody could discard its dead letter.
    fn without_fates(
        &mut self,
        Sent {
            fresh,
            again,
            batch,
        }: Sent,
    ) -> Result<(), CommandError> {
        let answered = |name, posted: Result<Posted, String>| match posted {
            Ok(posted) => {
                let detail = format!("answered 200; its fate is not looked up: {NO_TARGET}");
                Check::new(name, CheckResult::Skipped, posted.took, detail).of(posted.ids())
            }
            Err(wrong) => Check::new(name, CheckResult::Failed, Duration::ZERO, wrong),
        };
        self.report.add(
            Check::new(
                "stored",
                CheckResult::Skipped,
                Duration::ZERO,
                NO_TARGET.to_owned(),
            )
            .of(ids(&fresh)),
        )?;
        self.report.add(answered("duplicate", again))?;
        self.skip(
            &["corrupted"],
            &format!("not sent, since its dead letter would stay open: {NO_TARGET}"),
        )?;
        if takes_none(&batch) {
            self.skip(&["batch"], NO_BATCHES)?;
        } else {
            self.report.add(answered("batch", batch))?;
        }
        self.skip(&["audit"], NO_TARGET)
    }

    /// Waits for all fates at once, then asks the audit.
    async fn fates(
        &mut self,
        fates: &Fates,
        Sent {
            fresh,
            again,
            batch,
        }: Sent,
    ) -> Result<(), CommandError> {
        let broken = self.edge.accept(&self.run.broken("corrupted")).await;
        let began = Instant::now();
        waiting(fates.left());
        let stored = async { (fates.rows_of_each(&fresh).await, began.elapsed()) };
        let copies = async {
            (
                look_up(&again, |posted| fates.one_row(posted)).await,
                began.elapsed(),
            )
        };
        let letter = async {
            (
                look_up(&broken, |posted| fates.dead_letter(posted)).await,
                began.elapsed(),
            )
        };
        let rows = async {
            (
                look_up(&batch, |posted| fates.rows_of_batch(posted)).await,
                began.elapsed(),
            )
        };
        let (
            (stored, stored_took),
            (copies, copies_took),
            (letter, letter_took),
            (rows, rows_took),
        ) = tokio::join!(stored, copies, letter, rows);

        // Which fates are known tells which stage is behind.
        let stage = match letter {
            Ok(_) => {
                "the validator dead-letters, so it works: check /ready and the log of persistence"
            }
            Err(_) => {
                "check /ready and the log of validator, persistence and recovery, in this order"
            }
        };
        let indexing =
            "check /ready and the log of validator, then of recovery, which indexes dead letters";
        self.report.latency.webhook_to_row_ms = stored
            .as_ref()
            .ok()
            .and_then(|rows| Millis::of(rows.iter().filter_map(|row| row.took).collect()));
        let (ours, all) = (
            positions(&stored, &copies, &letter, &rows),
            WEBHOOKS + 2 + ids(&batch).len(),
        );
        let ours = (ours.len() >= all).then_some(ours);
        let stored =
            stored.map(|rows| format!("{} of {WEBHOOKS} are stored, one row each", rows.len()));
        self.record(
            "stored",
            stored_took,
            stored.map_err(|why| why.text("no row of", stage)),
            ids(&fresh),
        )?;
        let copies = copies.map(|row| {
            format!(
                "answered 200, recorded as a duplicate: one row of {} deliveries",
                row.positions.len()
            )
        });
        let copies =
            copies.map_err(|why| why.text("answered 200, but not recorded as a duplicate:", stage));
        self.record("duplicate", copies_took, copies, ids(&again))?;
        let letter = letter
            .map(|(detail, _)| detail)
            .map_err(|why| why.text("answered 200, but no dead letter of", indexing));
        self.record("corrupted", letter_took, letter, ids(&broken))?;
        if takes_none(&batch) {
            self.skip(&["batch"], NO_BATCHES)?;
        } else {
            let rows =
                rows.map(|rows| format!("answered 200, all {} events are stored", rows.len()));
            self.record(
                "batch",
                rows_took,
                rows.map_err(|why| why.text("answered 200, but no row of", stage)),
                ids(&batch),
            )?;
        }

        let began = Instant::now();
        let (verdict, detail) = match fates
            .reconcile(self.run.began(), ours.as_ref(), self.end)
            .await
        {
            Audited::Reconciled(detail) => (CheckResult::Passed, detail),
            Audited::Failed(detail) => (CheckResult::Failed, detail),
            Audited::Unknown(detail) => (CheckResult::Skipped, detail),
        };
        self.report
            .add(Check::new("audit", verdict, began.elapsed(), detail))
    }
}

/// Looks a fate up, unless the edge already failed the check.
async fn look_up<'p, T, F: Future<Output = Result<T, FateError>>>(
    posted: &'p Result<Posted, String>,
    query: impl FnOnce(&'p Posted) -> F,
) -> Result<T, FateError> {
    match posted {
        Ok(posted) => query(posted).await,
        Err(wrong) => Err(FateError::Wrong(wrong.clone())),
    }
}

/// Positions of the raw records of all whose fates are known.
fn positions(
    stored: &Result<Vec<StoredEvent>, FateError>,
    copies: &Result<StoredEvent, FateError>,
    letter: &Result<(String, Option<RawPosition>), FateError>,
    rows: &Result<Vec<StoredEvent>, FateError>,
) -> BTreeSet<RawPosition> {
    let of_rows = stored
        .iter()
        .chain(rows)
        .flatten()
        .chain(copies)
        .flat_map(|row| &row.positions);
    of_rows
        .chain(letter.iter().filter_map(|(_, raw)| raw.as_ref()))
        .copied()
        .collect()
}

/// True where the source sends no batches.
fn takes_none(batch: &Result<Posted, String>) -> bool {
    batch.as_ref().is_ok_and(|posted| posted.events.is_empty())
}

fn ids<'p>(posted: impl IntoIterator<Item = &'p Posted>) -> Vec<String> {
    posted.into_iter().flat_map(Posted::ids).collect()
}
