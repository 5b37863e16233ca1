//! Requests that the edge refused: by source and code, one by one, and why a signature failed.

mod one;

use crate::App;
use crate::asked::Asked;
use crate::page::{Answer, Page};
use crate::view::{Filter, ago, command, empty, filters, number, pager, short};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{RefusedRequestRow, RejectionGroup, RejectionPage};
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/rejections", get(groups))
        .route("/rejections/all", get(list))
        .route("/rejections/{id}", get(one::show))
}

const PAGE: u32 = 50;
const ALL: &str = "/rejections/all";

const FILTERS: [Filter; 4] = [
    Filter::text("source", "Source", "any"),
    Filter::text("code", "Code", "any"),
    Filter::text("peer", "Address", "any"),
    Filter::since("Refused within"),
];

#[derive(Deserialize)]
struct Groups {
    groups: Vec<RejectionGroup>,
}

async fn groups(visit: Visit) -> Answer {
    let Groups { groups } = visit.get("/api/v1/rejection-groups", &visit.asked).await?;
    let body = html! {
        div.head { h1 { "Rejections" } p.lead { "Requests that the edge did not accept, a sample of them. They are no events: nothing of them is stored." } }
        (filters("/rejections", &visit.asked, &FILTERS))
        @if groups.is_empty() {
            (empty("Nothing was refused.", &html! {
                @if visit.asked.pairs().is_empty() { "Every vendor signs rightly, or nobody sends." } @else { a href="/rejections" { "Remove the filters" } "." }
            }))
        } @else {
            div.table tabindex="0" role="region" aria-label="Refused requests by source and code" {
                table {
                    thead { tr { th { "Source" } th { "Code" } th.number { "Refused" } th.number { "Kept" } th.number { "Addresses" } th { "First" } th { "Last" } th { "Why" } } }
                    tbody { @for group in &groups { (group_row(group, &visit.asked)) } }
                }
            }
        }
        (command("eventflow rejections groups"))
    };
    Ok(Page::new("Rejections", body))
}

fn group_row(group: &RejectionGroup, asked: &Asked) -> Markup {
    let these = asked
        .with("source", &group.source)
        .with("code", &group.code);
    html! {
        tr data-row {
            td { a href=(these.to(ALL)) { (short(&group.source, 40)) } }
            td { code { (short(&group.code, 40)) } }
            td.number { strong { (number(group.refused)) } }
            td.number { (number(group.kept)) }
            td.number { (number(group.peers)) }
            td.when { (ago(group.first_seen)) }
            td.when { (ago(group.last_seen)) }
            td { a href={ "/rejections/" (group.sample) } { "explain one" } }
        }
    }
}

async fn list(visit: Visit) -> Answer {
    let asked = match visit.asked.get("limit") {
        Some(_) => visit.asked.clone(),
        None => visit.asked.with("limit", PAGE.to_string()),
    };
    let RejectionPage { rejections } = visit.get("/api/v1/rejections", &asked).await?;
    let last = rejections
        .last()
        .map(|row| row.id)
        .filter(|_| rejections.len() as u32 >= PAGE);
    let body = html! {
        p.way { a href="/rejections" { "Rejections" } }
        div.head { h1 { "Refused requests" } p.lead { "The newest first" } }
        (filters(ALL, &visit.asked, &FILTERS))
        @if rejections.is_empty() {
            (empty("No refused request matches.", &html! { a href=(ALL) { "Remove the filters" } "." }))
        } @else {
            div.table tabindex="0" role="region" aria-label="Refused requests" {
                table {
                    thead { tr { th { "Request" } th { "Code" } th { "Source" } th { "From" } th { "What the sender was told" } th { "When" } } }
                    tbody { @for row in &rejections { (one_row(row)) } }
                }
            }
            (pager(&visit.asked, ALL, last))
        }
        (command("eventflow rejections ls"))
    };
    Ok(Page::new("Refused requests", body))
}

fn one_row(row: &RefusedRequestRow) -> Markup {
    html! {
        tr data-row {
            td { a href={ "/rejections/" (row.id) } { (row.id) } @if row.captured { div.under { "captured" } } }
            td { code { (short(&row.code, 40)) } div.under { (row.status) } }
            td { (short(&row.source, 40)) }
            td { (short(&row.peer, 46)) @if let Some(agent) = &row.user_agent { div.under { (short(agent, 40)) } } }
            td.detail { (short(&row.detail, 140)) }
            td.when { (ago(row.at)) }
        }
    }
}
