//! A replay planned: of exactly what is selected now. Its dry run follows at once, unless it is large.

use super::change::{open, selected};
use crate::App;
use crate::api::Problem;
use crate::guard::Form;
use crate::layout::problem_box;
use crate::page::{Answer, Changed, Page};
use crate::view::{command, count, csrf, empty, not_allowed};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::html;
use recovery::model::{DryRun, Job};
use runtime::text::encoded;
use runtime::text::quoted;
use serde_json::json;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/plan", get(form).post(submit))
}

/// Dead letters of a dry run that is made without being asked for.
const TRIED_AT_ONCE: i64 = 1000;

async fn form(visit: Visit) -> Answer {
    page(&visit, "", &uuid::Uuid::new_v4().to_string(), None).await
}

async fn page(visit: &Visit, reason: &str, key: &str, problem: Option<&Problem>) -> Answer {
    let selection = visit.asked.selection()?;
    let many = open(visit, &selection).await?;
    let mut line = format!("eventflow replay plan{}", selection.to_flags());
    if !reason.is_empty() {
        line.push_str(&format!(" --reason {}", quoted(reason)));
    }
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } }
        div.head {
            h1 { "Replay " (count(many, "dead letter")) }
            p.lead { (selected(visit)) }
        }
        @if let Some(problem) = problem { (problem_box(problem)) }
        @if many == 0 {
            (empty("None of these is open.", &html! { "There is nothing to replay. " a href="/groups" { "See what is open" } "." }))
        } @else if visit.may_change() {
            p { "The plan notes exactly these, with their values of now, and nothing is sent yet. A dry run then says what would become of each." }
            form method="post" action=(visit.asked.to("/plan")) {
                (csrf(visit))
                input type="hidden" name="key" value=(key);
                label for="reason" { "Reason, for the log" }
                input #reason name="reason" value=(reason) placeholder="what was fixed, a ticket" maxlength="2000";
                p.actions {
                    button.primary type="submit" { "Plan, and try it" }
                    a href=(visit.asked.to("/dead-letters")) { "See them first" }
                }
            }
        } @else { (not_allowed(visit)) }
        (command(&line))
    };
    Ok(Page::new("Replay", body))
}

async fn submit(visit: Visit, form: Form) -> Result<Changed, Problem> {
    let (selection, reason, key) = (
        visit.asked.selection()?,
        form.text("reason"),
        form.text("key"),
    );
    let body = json!({"selection": selection, "reason": reason});
    let planned = visit.post_once::<Job>("/api/v1/replays", key, &body).await;
    let job = match planned {
        Ok(job) => job,
        Err(problem) if matches!(problem.status, 400 | 404 | 409) => {
            let page = page(&visit, reason, key, Some(&problem)).await?;
            return Ok(Changed::Again(page.with_status(problem.status)));
        }
        Err(problem) => return Err(problem),
    };
    if job.items <= TRIED_AT_ONCE {
        let tried = dry_run(&visit, &job.id).await;
        if let Err(problem) = tried {
            visit.notify(format!(
                "The replay is planned, but its dry run did not end: {}",
                problem.detail
            ));
        }
    }
    Ok(Changed::Done(format!("/replays/{}", encoded(&job.id))))
}

/// Runs it, and keeps its answer for the page of the replay.
pub(super) async fn dry_run(visit: &Visit, job: &str) -> Result<(), Problem> {
    let path = format!("/api/v1/replays/{}/dry-run", encoded(job));
    let answer: DryRun = visit.post(&path, &json!({})).await?;
    let sessions = &visit.app.console.sessions;
    sessions.keep_dry_run(&visit.member.session, answer);
    Ok(())
}
