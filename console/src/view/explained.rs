//! A dead letter in words, beside its value with the failing place marked.

use super::{ago, marked, number, short, text, with_commands};
use maud::{Markup, html};
use recovery::model::{DeadLetterDetail, Explanation, Payload};

/// Why it failed, what today's checks say, what to do.
pub(crate) fn explanation(explanation: &Explanation, detail: &DeadLetterDetail) -> Markup {
    html! {
        div.explained {
            section.why aria-label="Why" {
                p.meaning { (text(&explanation.meaning)) }
                p.said { code { (short(&explanation.code, 60)) } " " (text(&explanation.detail)) }
                dl.facts {
                    @if let Some(rule) = &explanation.rule { div { dt { "Rule" } dd { code { (text(rule)) } } } }
                    div { dt { "Today" } dd.today { (text(&explanation.today)) } }
                    @if let Some(began) = explanation.began_at { div { dt { "Began" } dd { (ago(began)) } } }
                    @if explanation.like_it > 1 {
                        div { dt { "Like it" } dd { a href={ "/groups/" (detail.letter.group) } { (number(explanation.like_it)) " open" } } }
                    }
                }
                @if let Some(first) = explanation.next.first() {
                    p.first { (text(sentence(first))) }
                    details.next {
                        summary { "All that can be done, with its commands" }
                        ol { @for sentence in &explanation.next { li { (with_commands(sentence)) } } }
                    }
                }
            }
            section.value aria-label="Value" { (payload(&detail.value, explanation.pointer.as_deref())) }
        }
    }
}

/// Without the command that it ends with.
fn sentence(whole: &str) -> &str {
    let end = whole.find(" eventflow ").unwrap_or(whole.len());
    whole[..end].trim_end_matches(':')
}

fn payload(value: &Payload, pointer: Option<&str>) -> Markup {
    match value {
        Payload::Text { text } => marked(text, pointer),
        Payload::Avro { schema_id, text } => html! {
            p.hint { "Avro, schema " (schema_id) ", as JSON" }
            (marked(text, pointer))
        },
        Payload::Binary { base64 } => html! {
            p.hint { "These bytes are no text; in base64:" }
            pre.json.wrapped tabindex="0" role="region" aria-label="Value" { (short(base64, 4000)) }
        },
        Payload::Null => html! { p.hint { "The record has no value." } },
        Payload::Dropped { bytes } => html! {
            p.hint { (bytes) " bytes, removed by the retention of the index. The dead-letter topic may still have them." }
        },
    }
}
