//! Dead letters by what they have in common: where on-call begins. And one group.

use crate::App;
use crate::api::Problem;
use crate::asked::Asked;
use crate::page::{Answer, Fragment, Page};
use crate::view::{
    EVERY_STATE, Filter, ago, command, count, empty, explanation, filters, letters, not_allowed,
    number, short,
};
use crate::visit::{Named, Visit};
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{
    DeadLetterDetail, DeadLetterGroup, DeadLetterPage, DeadLetterState, Explanation, Selection,
};
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/groups", get(list))
        .route("/groups/{id}", get(show))
        .route("/live/new", get(news))
}

/// Letters on the page of a group; a link leads to all.
const LETTERS: u32 = 20;

#[derive(Deserialize)]
pub(super) struct Groups {
    pub(super) groups: Vec<DeadLetterGroup>,
}

const FILTERS: [Filter; 5] = [
    Filter::text("contains", "Detail has", "text"),
    Filter::text("source", "Source", "any"),
    Filter::text("code", "Code", "any"),
    Filter::since("Failed within"),
    Filter::state(),
];

async fn list(visit: Visit) -> Answer {
    let Groups { groups } = visit.get("/api/v1/groups", &visit.asked).await?;
    let open: i64 = groups.iter().map(|group| group.open).sum();
    let selection = visit.asked.selection()?;
    let body = html! {
        div.head {
            h1 { "Dead letters" }
            p.lead {
                @if open == 0 { "Nothing is open." }
                @else { a href="/dead-letters" { (count(open, "dead letter")) } " open in " (count(groups.len() as i64, "group")) ". One group usually has one cause." }
            }
        }
        (filters("/groups", &visit.asked, &FILTERS))
        (what_is_new(&visit.asked, selected(&groups, &selection)))
        @if groups.is_empty() {
            (nothing(&visit))
        } @else {
            div.table tabindex="0" role="region" aria-label="Groups" {
                table {
                    thead { tr {
                        th { "Why" } th.number { "Open" } th { "Source" } th.extra { "Event type" } th.extra { "Stage" } th.extra { "First" } th { "Last" }
                    } }
                    tbody { @for group in &groups { (row(group)) } }
                }
            }
        }
        (command(&format!("eventflow dlq groups{}", selection.to_flags())))
    };
    Ok(Page::new("Dead letters", body))
}

/// How many dead letters of a selection's states there are.
fn selected(groups: &[DeadLetterGroup], selection: &Selection) -> i64 {
    let open = [DeadLetterState::Open];
    let states = match selection.state.as_slice() {
        [] => &open,
        states => states,
    };
    let many = |group: &DeadLetterGroup| {
        states
            .iter()
            .map(|state| match state {
                DeadLetterState::Open => group.open,
                DeadLetterState::Replaying => group.replaying,
                DeadLetterState::Resolved => group.resolved,
                DeadLetterState::Discarded => group.discarded,
            })
            .sum::<i64>()
    };
    groups.iter().map(many).sum()
}

/// Says how many came since the list was made, instead of moving it.
fn what_is_new(asked: &Asked, known: i64) -> Markup {
    let place = asked.with("known", known.to_string()).to("/live/new");
    html! { div.new role="status" hx-get=(place) hx-trigger="every 10s" {} }
}

async fn news(visit: Visit) -> Result<Fragment, Problem> {
    let asked = visit.asked.without("known");
    let known = visit
        .asked
        .get("known")
        .and_then(|known| known.parse::<i64>().ok());
    let Groups { groups } = visit.get("/api/v1/groups", &asked).await?;
    let new = selected(&groups, &asked.selection()?) - known.unwrap_or_default();
    Ok(Fragment(html! {
        @if new > 0 { a data-new href=(asked.to("/groups")) { (number(new)) " new, press " kbd { "." } " to load" } }
    }))
}

fn nothing(visit: &Visit) -> Markup {
    if visit.asked.pairs().is_empty() {
        return empty(
            "No dead letter is open.",
            &html! {
                "Every accepted event that had its fate was stored, was a duplicate or was filtered. Those that were "
                a href="/groups?state=resolved,discarded" { "resolved or discarded" } " are still here."
            },
        );
    }
    empty(
        "No dead letter matches.",
        &html! { a href="/groups" { "Remove the filters" } ", or look " a href=(visit.asked.with("state", EVERY_STATE).to("/groups")) { "in every state" } "." },
    )
}

fn row(group: &DeadLetterGroup) -> Markup {
    html! {
        tr data-row {
            td { a href={ "/groups/" (group.id) } { (meaning(&group.code)) } div.under { code { (short(&group.code, 60)) } } }
            td.number { strong { (number(group.open)) } @if group.replaying > 0 { div.under { (number(group.replaying)) " replaying" } } }
            td.name { (short(&group.source, 40)) }
            td.extra { @if group.event_type.is_empty() { span.none { "unknown" } } @else { (short(&group.event_type, 40)) } }
            td.extra { (short(&group.stage, 30)) }
            td.when.extra { @if let Some(time) = group.first_seen { (ago(time)) } }
            td.when { @if let Some(time) = group.last_seen { (ago(time)) } }
        }
    }
}

/// A code in words, where this version knows it.
pub(super) fn meaning(code: &str) -> Markup {
    let known = contracts::RejectionCode::ALL
        .iter()
        .find(|known| known.code() == code);
    match known {
        Some(known) => html! { (known.meaning()) },
        None => short(code, 60),
    }
}

async fn show(visit: Visit, Named(id): Named) -> Answer {
    let asked = Asked::from_iter([("group", id.as_str()), ("state", EVERY_STATE)]);
    let Groups { groups } = visit.get("/api/v1/groups", &asked).await?;
    let Some(group) = groups.into_iter().next() else {
        return Err(Problem::new(
            404,
            "not_found",
            format!("there is no group {id} with dead letters"),
        ));
    };
    let open = Asked::from_iter([
        ("group", group.id.to_string()),
        ("limit", LETTERS.to_string()),
    ]);
    let page: DeadLetterPage = visit.get("/api/v1/dead-letters", &open).await?;
    let sample = page
        .letters
        .first()
        .map(|letter| letter.id)
        .or(group.sample);
    let explained = match sample {
        Some(letter) => Some((
            visit
                .get::<Explanation>(
                    &format!("/api/v1/dead-letters/{letter}/explain"),
                    &Asked::default(),
                )
                .await?,
            visit
                .get::<DeadLetterDetail>(
                    &format!("/api/v1/dead-letters/{letter}"),
                    &Asked::default(),
                )
                .await?,
        )),
        None => None,
    };
    let words = Asked::from_iter([("group", group.id)]);
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } }
        div.head {
            h1 { (meaning(&group.code)) }
            p.lead {
                (count(group.open, "dead letter")) " open, " (number(group.replaying)) " replaying, " (number(group.resolved)) " resolved, "
                (number(group.discarded)) " discarded · from " strong { (short(&group.source, 60)) }
                @if !group.event_type.is_empty() { " · " (short(&group.event_type, 60)) }
                " · at " (short(&group.stage, 40))
            }
        }
        (actions(&visit, &group, &words))
        @if let Some((explanation_of, detail)) = &explained {
            h2 { "One of them: " a href={ "/dead-letters/" (detail.letter.id) } { "dead letter " (detail.letter.id) } }
            (explanation(explanation_of, detail))
        }
        h2 { "The open ones" }
        @if page.letters.is_empty() {
            (empty("None is open any more.", &html! { a href=(words.with("state", EVERY_STATE).to("/dead-letters")) { "See what became of them" } "." }))
        } @else {
            (letters(&page.letters, true))
            @if group.open > page.letters.len() as i64 {
                p { a href=(words.to("/dead-letters")) { "All " (number(group.open)) } }
            }
        }
        (command(&format!("eventflow dlq ls --group {}", group.id)))
    };
    Ok(Page::new(format!("Group {}", group.id), body))
}

fn actions(visit: &Visit, group: &DeadLetterGroup, words: &Asked) -> Markup {
    if group.open == 0 {
        return html! {};
    }
    if !visit.may_change() {
        return not_allowed(visit);
    }
    html! {
        p.actions {
            a.button.primary href=(words.to("/plan")) { "Replay all " (number(group.open)) }
            a.button href=(words.to("/patch")) { "Patch all" }
            a.button href=(words.to("/discard")) { "Discard all" }
            @if group.code == "unverified" { a.button href=(words.to("/genuine")) { "Call genuine" } }
        }
    }
}
