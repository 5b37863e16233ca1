//! What pages are made of.

mod command;
mod diff;
mod explained;
mod filters;
mod flow;
mod json;
mod letters;
mod pager;

pub(crate) use command::{command, with_commands};
pub(crate) use diff::{diff, steps};
pub(crate) use explained::explanation;
pub(crate) use filters::{EVERY_STATE, Filter, filters};
pub(crate) use flow::{duration, points, rate, sparkline};
pub(crate) use json::marked;
pub(crate) use letters::{is_open, letters};
pub(crate) use pager::pager;

use crate::visit::Visit;
use maud::{Markup, html};
use recovery::model::{Refusal, Time, TraceFate};
use runtime::text::{age, is_unsafe, moment};
use time::format_description::well_known::Rfc3339;

/// A text of somebody, as text: what would be invisible, or turn the reading direction, is named instead.
pub(crate) fn text(text: &str) -> Markup {
    if !text.chars().any(hidden) {
        return html! { (text) };
    }
    let mut pieces: Vec<Result<String, char>> = Vec::new();
    for character in text.chars() {
        match (hidden(character), pieces.last_mut()) {
            (true, _) => pieces.push(Err(character)),
            (false, Some(Ok(piece))) => piece.push(character),
            (false, _) => pieces.push(Ok(character.to_string())),
        }
    }
    html! {
        @for piece in pieces {
            @match piece {
                Ok(piece) => (piece),
                Err(character) => span.hidden-character title="a character that is not shown" { (named(character)) },
            }
        }
    }
}

/// Line ends and tabs stand there as what they are.
fn hidden(character: char) -> bool {
    is_unsafe(character) && !matches!(character, '\n' | '\t')
}

fn named(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

/// At most so many characters of a text, the whole on hover.
pub(crate) fn short(whole: &str, most: usize) -> Markup {
    if whole.chars().count() <= most {
        return text(whole);
    }
    let start: String = whole.chars().take(most).collect();
    let more: String = whole
        .chars()
        .take(most * 8)
        .map(|c| {
            if hidden(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    html! { span title=(more) { (text(&start)) "…" } }
}

/// How long ago; the script adds the exact time in the viewer's zone.
pub(crate) fn ago(time: Time) -> Markup {
    let exact = time.format(&Rfc3339).unwrap_or_default();
    html! { time datetime=(exact) title=(moment(time)) { (age(time)) } }
}

/// An exact time.
pub(crate) fn at(time: Time) -> Markup {
    let exact = time.format(&Rfc3339).unwrap_or_default();
    html! { time.exact datetime=(exact) title=(age(time)) { (moment(time)) } }
}

/// `12,345`.
pub(crate) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

/// `1 dead letter`, `2,000 dead letters`.
pub(crate) fn count(many: i64, what: &str) -> String {
    let end = if many == 1 { "" } else { "s" };
    format!("{} {what}{end}", number(many))
}

/// A word of a closed set, with its colour.
pub(crate) fn badge(word: &str) -> Markup {
    html! { span class={ "badge is-" (word) } { (word) } }
}

/// What became of an event, with its colour.
pub(crate) fn fate(fate: &TraceFate) -> Markup {
    let class = match fate {
        TraceFate::Stored => "stored",
        TraceFate::Duplicate => "duplicate",
        TraceFate::Filtered => "filtered",
        TraceFate::DeadLettered(_) => "dead_lettered",
        TraceFate::InFlight => "in_flight",
    };
    html! { span class={ "badge is-" (class) } { (fate.to_string().replace('_', " ")) } }
}

/// In every form: it was this session's.
pub(crate) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.member.csrf); }
}

/// Instead of an empty list: why, and what to do.
pub(crate) fn empty(what: &str, next: &Markup) -> Markup {
    html! { div.empty { p.what { (what) } p { (next) } } }
}

/// Name and value, where there is one.
pub(crate) fn facts(facts: &[(&str, Option<Markup>)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// Why a value is refused.
pub(crate) fn refusal(refusal: &Refusal) -> Markup {
    html! {
        p.refusal {
            strong { (refusal.meaning) } " "
            code { (refusal.code) }
            @if let Some(pointer) = &refusal.pointer { " at " code { (text(pointer)) } }
            br;
            (text(&refusal.detail))
        }
    }
}

/// What a person who may not change anything reads instead of a form.
pub(crate) fn not_allowed(visit: &Visit) -> Markup {
    html! {
        p.hint {
            "You are logged in as " (text(visit.member.person.name())) " with the role " (visit.member.person.role())
            ", which reads. Whoever configures --api-token can make you an operator."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_hidden_characters_are_named() {
        let shown = text("<b onclick=\"x\">a\u{202e}b\u{1b}[2J\nc").into_string();
        assert!(
            shown.starts_with("&lt;b onclick=&quot;x&quot;&gt;a<span"),
            "{shown}"
        );
        assert!(
            shown.contains("U+202E") && shown.contains("U+001B") && shown.contains("\nc"),
            "{shown}"
        );
        assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'));
        let short = short(&"\u{202e}<i>".repeat(400), 20).into_string();
        assert!(
            !short.contains('\u{202e}') && !short.contains("<i>") && short.len() < 5000,
            "{short}"
        );
    }

    #[test]
    fn numbers_are_read_by_threes() {
        let shown = [0, 7, 999, 1000, 1_234_567, -1234].map(number);
        assert_eq!(shown, ["0", "7", "999", "1,000", "1,234,567", "-1,234"]);
        assert_eq!(count(1, "event"), "1 event");
        assert_eq!(count(2000, "event"), "2,000 events");
    }
}
