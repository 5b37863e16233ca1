//! One refused request: why, what was tried, and everything that is kept of it.

use crate::asked::Asked;
use crate::page::{Answer, Page};
use crate::view::{at, command, count, facts, marked, number, short, text, with_commands};
use crate::visit::{Named, Visit};
use maud::{Markup, html};
use recovery::model::{RejectionDetail, RejectionExplanation};
use runtime::text::encoded;

pub(super) async fn show(visit: Visit, Named(id): Named) -> Answer {
    let (none, path) = (
        Asked::default(),
        format!("/api/v1/rejections/{}", encoded(&id)),
    );
    let detail: RejectionDetail = visit.get(&path, &none).await?;
    let explained: RejectionExplanation = visit.get(&format!("{path}/explain"), &none).await?;
    let row = &detail.rejection;
    let these = Asked::from_iter([("source", &row.source), ("code", &row.code)]);
    let body = html! {
        p.way { a href="/rejections" { "Rejections" } " / " a href=(these.to(super::ALL)) { (short(&row.source, 40)) ", " (short(&row.code, 40)) } }
        div.head {
            h1 { "Refused request " (row.id) }
            p.lead { strong { (short(&row.source, 60)) } " · " code { (short(&row.code, 60)) } " · answered " (row.status) " · from " (short(&row.peer, 60)) }
        }
        (why(&explained))
        @if detail.rejection.captured { (captured(&detail)) }
        h2 { "Facts" }
        (facts(&[
            ("When", Some(at(row.at))),
            ("Scheme", row.scheme.as_deref().map(text)),
            ("Client", row.user_agent.as_deref().map(text)),
            ("Clock", row.skew_seconds.map(|seconds| html! { "signed " (number(seconds.abs())) " s in the " @if seconds < 0 { "past" } @else { "future" } })),
            ("Body", row.body_bytes.map(|bytes| html! { (count(bytes, "byte")) })),
            ("SHA-256", row.body_sha256.as_deref().map(|hash| html! { code { (text(hash)) } })),
            ("Trace id", row.trace_id.as_deref().map(|trace| html! { code { (text(trace)) } })),
            ("Left out before it", (row.left_out > 0).then(|| html! { (number(row.left_out)) " of the same source and code" })),
            ("Signature headers", Some(html! { @for part in &detail.parts { code { (text(&part.header)) } " " (part.times) "× " } })),
        ]))
        (command(&format!("eventflow rejections explain {}", row.id)))
    };
    Ok(Page::new(format!("Refused request {}", row.id), body))
}

fn why(explained: &RejectionExplanation) -> Markup {
    html! {
        section.why aria-label="Why" {
            @if let Some(meaning) = &explained.meaning {
                p.meaning { @if !explained.certain { "Likely: " } (text(meaning)) }
            }
            p.said { (text(&explained.detail)) }
            @if let Some(shown) = &explained.shown_by { p { (text(shown)) } }
            @if !explained.next.is_empty() { ol { @for sentence in &explained.next { li { (with_commands(sentence)) } } } }
            @if !explained.tried.is_empty() {
                details { summary { (count(explained.tried.len() as i64, "mistake")) " tried that did not fit" } ul { @for tried in &explained.tried { li { (text(tried)) } } } }
            }
            @for limit in &explained.limits { p.hint { (text(limit)) } }
        }
    }
}

fn captured(detail: &RejectionDetail) -> Markup {
    html! {
        h2 { "The request" @if let Some(until) = detail.captured_until { span.hint { " kept until " (at(until)) } } }
        p { code { (text(detail.method.as_deref().unwrap_or("POST"))) @if let Some(query) = &detail.query { " ?" (text(query)) } } }
        div.table tabindex="0" role="region" aria-label="Headers" {
            table.headers { tbody {
                @for (name, value) in &detail.headers { tr { th scope="row" { code { (text(name)) } } td { code { (text(value)) } } } }
            } }
        }
        @match (&detail.body, &detail.body_base64) {
            (Some(body), _) => (marked(body, None)),
            (None, Some(base64)) => { p.hint { "The body is no text; in base64:" } pre.json.wrapped tabindex="0" { (short(base64, 4000)) } },
            (None, None) => {},
        }
    }
}
