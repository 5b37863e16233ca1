//! `eventflow replay apply`.

use super::{Targets, follow, path, plan};
use crate::oncall::client::{Client, read};
use crate::oncall::error::{CommandError, Exit};
use crate::oncall::jobs::{command, dry_run_text, job_text};
use crate::oncall::text::{count, line};
use crate::oncall::{confirm, print, print_json};
use axum::http::Method;
use recovery::model::{DryRun, Job, JobState, Selection};
use serde_json::json;

/// How a replay is started.
pub(in crate::oncall) struct Start {
    pub(in crate::oncall) rate: Option<f64>,
    pub(in crate::oncall) yes: bool,
    pub(in crate::oncall) detach: bool,
    /// Although everything is expected to fail again
    pub(in crate::oncall) force: bool,
    pub(in crate::oncall) as_json: bool,
}

/// Starts a planned replay, or plans and dry-runs one and starts it, then watches it.
pub(super) async fn run(
    client: &Client,
    targets: Targets,
    start: Start,
) -> Result<(), CommandError> {
    let named = match targets.ids.as_slice() {
        [one] if one.parse::<i64>().is_err() => Some(one.clone()),
        _ => None,
    };
    let job: Job = if let Some(name) = named {
        if targets.selection != Selection::default() {
            return Err(CommandError::usage(format!(
                "{name} is a replay with a selection of its own: give either the replay or a selection"
            )));
        }
        read(&client.get(&path(&name, ""), &[]).await?)?
    } else {
        let (selection, reason) = targets.selection()?;
        if selection == Selection::default() {
            return Err(CommandError::usage(
                "select what to replay: a planned replay, numbers of dead letters, --group, --code, ...",
            ));
        }
        planned(client, &selection, &reason, &start).await?
    };
    start_planned(client, job, start).await
}

/// Starts a planned job, then watches it.
pub(in crate::oncall) async fn start_planned(
    client: &Client,
    job: Job,
    start: Start,
) -> Result<(), CommandError> {
    let is_started = matches!(
        job.state,
        JobState::Running | JobState::Finished | JobState::Stopped
    );
    if !start.yes
        && !is_started
        && !confirm(&format!(
            "Send {} again?",
            count(job.items, job.kind.item())
        ))?
    {
        let next = format!(
            "{1} {0} is planned and nothing was sent; send it: eventflow {2} apply {0} --yes",
            job.id,
            job.kind,
            command(job.kind)
        );
        return Err(CommandError::new(Exit::Confirmation, next));
    }
    // It was confirmed above, however many they are.
    let text = client
        .post(
            &path(&job.id, "/apply"),
            &json!({"rate": start.rate, "yes": true}),
        )
        .await
        .map_err(|mut error| {
            if error.is("needs_approval") {
                error.message = format!(
                    "{error}; a second person runs: eventflow replay approve {}",
                    line(&job.id)
                );
            }
            error
        })?;
    if start.detach {
        return if start.as_json {
            print_json(&text)
        } else {
            print(&job_text(&read(&text)?))
        };
    }
    follow(client, &job.id, start.as_json).await
}

/// Plans and dry-runs a replay; refused when every record would fail again.
async fn planned(
    client: &Client,
    selection: &Selection,
    reason: &str,
    start: &Start,
) -> Result<Job, CommandError> {
    let job: Job = read(&plan(client, selection, reason, None).await?)?;
    let dry_run: DryRun = read(
        &client
            .send(Method::POST, &path(&job.id, "/dry-run"), "{}".to_owned())
            .await?,
    )?;
    if !start.as_json {
        print(&dry_run_text(&dry_run))?;
    }
    let hopeless = dry_run.would_fail > 0
        && dry_run.would_store
            + dry_run.would_be_duplicate
            + dry_run.would_be_filtered
            + dry_run.would_retype
            + dry_run.would_process
            == 0;
    if hopeless && !start.force {
        let id = &job.id;
        return Err(CommandError::failed(format!(
            "every one would fail again, so nothing was sent: fix them (eventflow dlq edit) or deploy the fix first; to send them \
             anyway: eventflow replay apply {id} --yes"
        )));
    }
    Ok(job)
}
