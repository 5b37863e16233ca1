//! Replays as text.

use super::client::read;
use super::error::CommandError;
use super::table::TextTable;
use super::text::{age, count, put, when};
use super::watch::{has_failed, progress};
use recovery::model::{DryRun, Job, JobKind, JobState};
use serde::Deserialize;
use serde_json::Value;

fn state(job: &Job) -> &'static str {
    match job.state {
        JobState::Planned => "planned",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Stopped => "stopped",
        JobState::Finished => "finished",
    }
}

/// The command that starts such jobs; the others are the same for all.
pub(super) fn command(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Replay => "replay",
        JobKind::Revalidation => "revalidate",
    }
}

/// A replay or revalidation, and the commands to run next.
pub(super) fn job_text(job: &Job) -> String {
    let (id, mut out) = (&job.id, String::new());
    put(
        &mut out,
        &format!(
            "{} {id} of {}: {}",
            job.kind,
            count(job.items, job.kind.item()),
            state(job)
        ),
    );
    put(&mut out, &format!("  {}", progress(job)));
    for (code, number) in &job.by_code {
        put(&mut out, &format!("  {number:>8}  {code}"));
    }
    put(
        &mut out,
        &format!(
            "  planned by {} {}{}",
            job.created_by,
            when(job.created_at),
            reason(&job.reason)
        ),
    );
    if let Some(by) = &job.approved_by {
        put(&mut out, &format!("  approved by {by}"));
    }
    if let Some(at) = job.finished_at {
        put(&mut out, &format!("  finished {}", when(at)));
    }
    let command = command(job.kind);
    let next: Vec<String> = match job.state {
        JobState::Planned if job.needs_approval && job.approved_by.is_none() => {
            vec![
                format!("replay dry-run {id}"),
                format!("replay approve {id}   (by a second person)"),
                format!("{command} apply {id} --yes"),
            ]
        }
        JobState::Planned => vec![
            format!("replay dry-run {id}"),
            format!("{command} apply {id} --yes"),
        ],
        JobState::Running => vec![
            format!("replay status {id} --watch"),
            format!("replay pause {id}"),
        ],
        JobState::Paused => vec![format!("replay resume {id}"), format!("replay stop {id}")],
        JobState::Stopped | JobState::Finished if has_failed(job) => {
            vec![format!("replay status {id} --items")]
        }
        JobState::Stopped | JobState::Finished => vec![],
    };
    for next in next {
        put(&mut out, &format!("next: eventflow {next}"));
    }
    out
}

fn reason(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

pub(super) fn dry_run_text(dry_run: &DryRun) -> String {
    let mut out = String::new();
    let DryRun {
        would_store,
        would_be_duplicate,
        would_be_filtered,
        would_retype,
        would_be_unchanged,
        would_process,
        would_fail,
        ..
    } = dry_run;
    let job = &dry_run.job;
    let processed = match would_process {
        0 => String::new(),
        number => format!("{number} would be processed, "),
    };
    let filtered = match would_be_filtered {
        0 => String::new(),
        number => format!("{number} would be filtered, "),
    };
    let of_rows = dry_run.kind == JobKind::Revalidation;
    if of_rows {
        put(
            &mut out,
            &format!(
                "dry run of {job}: {} would be typed, {would_be_unchanged} would stay as they are, {filtered}{would_fail} would be refused and stay as they are",
                count(*would_retype, "row")
            ),
        );
    } else {
        put(
            &mut out,
            &format!(
                "dry run of {job}: {would_store} would be stored, {would_be_duplicate} would be duplicates, {filtered}{processed}{would_fail} would fail again"
            ),
        );
    }
    for (code, number) in &dry_run.would_fail_by_code {
        put(&mut out, &format!("  {number:>8}  {code}"));
    }
    if dry_run.samples.is_empty() {
        return out;
    }
    let item = if of_rows { "RAW RECORD" } else { "LETTER" };
    let mut rows = TextTable::new(&[item, "PREDICTED", "CODE", "DETAIL"]);
    for sample in &dry_run.samples {
        let row = sample.row.as_ref().map(stored).unwrap_or_default();
        let mut detail = sample
            .detail
            .clone()
            .filter(|detail| !detail.is_empty())
            .unwrap_or(row);
        if let Some(diff) = sample
            .diff
            .as_ref()
            .filter(|diff| diff.as_array().is_some_and(|steps| !steps.is_empty()))
        {
            detail.push_str(&format!("; changed: {diff}"));
        }
        rows.add(&[
            named(sample.letter, sample.raw.as_deref()),
            sample.would.to_string(),
            sample.code.clone().unwrap_or_default(),
            detail,
        ]);
    }
    out.push_str(&rows.to_string());
    out
}

/// An item: the number of its dead letter, or its raw record.
pub(super) fn named(letter: Option<i64>, raw: Option<&str>) -> String {
    letter.map_or_else(
        || raw.unwrap_or_default().to_owned(),
        |letter| letter.to_string(),
    )
}

/// A row in short; `--json` has all of it.
fn stored(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let fields = ["event_type", "event_id", "entity_key", "amount", "currency"].map(text);
    fields
        .into_iter()
        .filter(|field| !field.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[derive(Deserialize)]
struct Jobs {
    replays: Vec<Job>,
}

pub(super) fn list_text(text: &str) -> Result<String, CommandError> {
    let Jobs { replays } = read(text)?;
    if replays.is_empty() {
        return Ok("nothing was replayed yet\ntry: eventflow dlq groups, then eventflow replay plan --group N\n".to_owned());
    }
    let mut rows = TextTable::new(&[
        "JOB", "KIND", "STATE", "PLANNED", "BY", "ITEMS", "OUTCOME", "REASON",
    ]);
    for job in &replays {
        let (planned, items) = (age(job.created_at), job.items.to_string());
        rows.add(&[
            job.id.clone(),
            job.kind.to_string(),
            state(job).to_owned(),
            planned,
            job.created_by.clone(),
            items,
            progress(job),
            job.reason.clone(),
        ]);
    }
    Ok(rows.to_string())
}
