//! Who did what, when and why; and whether anybody changed it since.

use crate::App;
use crate::asked::Asked;
use crate::page::{Answer, Page};
use crate::view::{Filter, at, command, empty, filters, number, pager, short, text};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{AuditLogCheck, AuditLogEntry};
use runtime::text::encoded;
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/log", get(list))
        .route("/log/verify", get(verify))
}

const LISTED: u32 = 100;

const FILTERS: [Filter; 3] = [
    Filter::text("job", "Replay", "its id"),
    Filter::text("letter", "Dead letter", "its number"),
    Filter::choice(
        "limit",
        "Entries",
        &[("500", "500"), ("2000", "2,000"), ("10000", "10,000")],
        "100",
    ),
];

#[derive(Deserialize)]
struct Log {
    entries: Vec<AuditLogEntry>,
}

async fn list(visit: Visit) -> Answer {
    page(&visit, None).await
}

/// Follows the chain to its end, which takes as long as the log is.
async fn verify(visit: Visit) -> Answer {
    let check = visit.get("/api/v1/log/verify", &Asked::default()).await?;
    page(&visit, Some(&check)).await
}

async fn page(visit: &Visit, check: Option<&AuditLogCheck>) -> Answer {
    let asked = match visit.asked.get("limit") {
        Some(_) => visit.asked.clone(),
        None => visit.asked.with("limit", LISTED.to_string()),
    };
    let listed = asked.get("limit").and_then(|limit| limit.parse().ok());
    let listed: usize = listed.unwrap_or(usize::MAX);
    let Log { entries } = visit.get("/api/v1/log", &asked).await?;
    let body = html! {
        div.head { h1 { "Log" } p.lead { "Who did what, when and why. Each entry's hash covers the entry before it." } }
        @match check {
            Some(check) => (checked(check)),
            None => p.actions { a.button href="/log/verify" { "Verify the chain" } },
        }
        (filters("/log", &visit.asked, &FILTERS))
        @if entries.is_empty() && !visit.asked.pairs().is_empty() {
            (empty("No entry matches.", &html! { a href="/log" { "See all" } "." }))
        } @else if entries.is_empty() {
            (empty("Nobody has done anything here yet.", &html! { "Edits, replays, approvals and discards are written here, in the transaction that makes them." }))
        } @else {
            div.table tabindex="0" role="region" aria-label="Log" {
                table {
                    thead { tr { th.number { "No." } th { "When" } th { "Who" } th { "What" } th { "Of" } th { "Reason" } th { "Counts" } } }
                    tbody { @for entry in &entries { (row(entry)) } }
                }
            }
            @let last = entries.last().filter(|_| entries.len() >= listed);
            (pager(&visit.asked, "/log", last.map(|entry| entry.seq)))
        }
        (command("eventflow dlq audit-log"))
        (command("eventflow dlq audit-log --verify"))
    };
    Ok(Page::new("Log", body))
}

fn checked(check: &AuditLogCheck) -> Markup {
    html! {
        @match &check.broken {
            None => div.verdict.taken role="status" {
                p { strong { "✓ Chain verified: " } (number(check.entries)) " entries, all as they were written." }
                @if let (Some(seq), Some(hash)) = (check.seq, &check.hash) { p.hint { "The last is " (seq) ", " code { (hash) } }}
            },
            Some(broken) => div.verdict.refused role="alert" {
                p { strong { "✕ Entry " (broken.seq) " is not as it was written: " } (text(&broken.problem)) }
                p { "Keep the database as it is, and call the owner of EventFlow." }
            },
        }
    }
}

fn row(entry: &AuditLogEntry) -> Markup {
    let counts = entry.counts.as_object().into_iter().flatten();
    let counts = counts.filter(|(_, value)| **value != 0);
    html! {
        tr data-row {
            td.number title=(entry.hash) { (entry.seq) }
            td.when { (at(entry.at)) }
            td { (short(&entry.who, 40)) }
            td.name { code { (text(&entry.action)) } }
            td {
                @if let Some(job) = &entry.job { a href={ "/replays/" (encoded(job)) } { (text(job)) } " " }
                @if let Some(letter) = entry.letter { a href={ "/dead-letters/" (letter) } { "dead letter " (letter) } }
            }
            td.detail { (short(&entry.reason, 160)) }
            td.detail { @for (name, value) in counts { (text(name)) " " (short(&value.to_string(), 80)) " " } }
        }
    }
}
