//! What a person decides of a selection, with a reason: to discard it, or that the vendor sent it.

use super::groups::Groups;
use crate::App;
use crate::api::Problem;
use crate::guard::Form;
use crate::layout::problem_box;
use crate::page::{Answer, Changed, Page};
use crate::view::{command, count, csrf, not_allowed, text};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::Selection;
use runtime::text::quoted;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/discard",
            get(async |visit| form(&DISCARD, visit).await)
                .post(async |visit, form| decide(&DISCARD, visit, form).await),
        )
        .route(
            "/genuine",
            get(async |visit| form(&GENUINE, visit).await)
                .post(async |visit, form| decide(&GENUINE, visit, form).await),
        )
}

/// What can be decided.
struct Decision {
    path: &'static str,
    api: &'static str,
    /// Of the answer: how many
    field: &'static str,
    title: &'static str,
    means: &'static str,
    reason: &'static str,
    done: &'static str,
}

const DISCARD: Decision = Decision {
    path: "/discard",
    api: "/api/v1/dead-letters/discard",
    field: "discarded",
    title: "Discard",
    means: "They are kept, with your reason, and are no longer open: their events will not be stored.",
    reason: "Reason: nothing else says why the event was given up",
    done: "discarded",
};

const GENUINE: Decision = Decision {
    path: "/genuine",
    api: "/api/v1/dead-letters/genuine",
    field: "genuine",
    title: "Call genuine",
    means: "Nobody could verify who sent them. With your word that the vendor did, they can be replayed.",
    reason: "How you know that the vendor sent them",
    done: "called genuine",
};

/// A selection in words.
pub(super) fn selected(visit: &Visit) -> Markup {
    html! {
        @for (word, value) in visit.asked.pairs() { span.chip { (text(word)) ": " (crate::view::short(value, 60)) } " " }
        @if visit.asked.pairs().is_empty() { strong { "everything that is open" } }
    }
}

/// How many of a selection are open.
pub(super) async fn open(visit: &Visit, selection: &Selection) -> Result<i64, Problem> {
    let words = Selection {
        state: vec![recovery::model::DeadLetterState::Open],
        limit: None,
        ..selection.clone()
    };
    let words = words.to_query().into_iter().collect();
    let Groups { groups } = visit.get("/api/v1/groups", &words).await?;
    let open = groups.iter().map(|group| group.open).sum::<i64>();
    Ok(selection.limit.map_or(open, |limit| open.min(limit.into())))
}

async fn form(decision: &Decision, visit: Visit) -> Answer {
    page(decision, &visit, "", None).await
}

async fn page(
    decision: &Decision,
    visit: &Visit,
    reason: &str,
    problem: Option<&Problem>,
) -> Answer {
    let selection = visit.asked.selection()?;
    let many = open(visit, &selection).await?;
    let confirm = problem.is_some_and(|problem| problem.is("needs_confirmation"));
    let line = format!(
        "eventflow dlq {}{} --reason {}",
        &decision.path[1..],
        selection.to_flags(),
        quoted(if reason.is_empty() { "..." } else { reason })
    );
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } }
        div.head {
            h1 { (decision.title) " " (count(many, "dead letter")) }
            p.lead { (selected(visit)) }
        }
        p { (decision.means) }
        @if let Some(problem) = problem { (problem_box(problem)) }
        @if visit.may_change() {
            form method="post" action=(visit.asked.to(decision.path)) {
                (csrf(visit))
                label for="reason" { (decision.reason) }
                input #reason name="reason" required value=(reason) maxlength="2000";
                @if confirm { (confirmed(many)) }
                p.actions {
                    button.danger type="submit" { (decision.title) " " (count(many, "dead letter")) }
                    a href=(visit.asked.to("/dead-letters")) { "See them first" }
                }
            }
        } @else { (not_allowed(visit)) }
        (command(&line))
    };
    Ok(Page::new(decision.title, body))
}

/// A box for what is larger than people expect.
pub(super) fn confirmed(many: i64) -> Markup {
    html! {
        label.check { input type="checkbox" name="yes" value="yes" required; " Yes, all " (count(many, "dead letter")) }
    }
}

async fn decide(decision: &Decision, visit: Visit, form: Form) -> Result<Changed, Problem> {
    let (selection, reason) = (visit.asked.selection()?, form.text("reason"));
    let body = json!({"selection": selection, "reason": reason, "yes": form.is_checked("yes")});
    match visit.post::<Value>(decision.api, &body).await {
        Ok(answer) => {
            let many = answer[decision.field].as_i64().unwrap_or_default();
            visit.notify(match many {
                0 => format!(
                    "Nothing was {}: none of them is open any more.",
                    decision.done
                ),
                many => format!("{} {}.", count(many, "dead letter"), decision.done),
            });
            let place = match (selection.id.as_slice(), selection.group.as_slice()) {
                ([letter], _) => format!("/dead-letters/{letter}"),
                (_, [group]) => format!("/groups/{group}"),
                _ => "/groups".to_owned(),
            };
            Ok(Changed::Done(place))
        }
        Err(problem) if matches!(problem.status, 400 | 409) => {
            let status = problem.status;
            let page = page(decision, &visit, reason, Some(&problem)).await?;
            Ok(Changed::Again(page.with_status(status)))
        }
        Err(problem) => Err(problem),
    }
}
