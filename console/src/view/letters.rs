//! Dead letters in a table.

use super::{ago, badge, short};
use maud::{Markup, html};
use recovery::model::{DeadLetter, DeadLetterState};

/// `grouped`: all are of one group, which is on the page already.
pub(crate) fn letters(letters: &[DeadLetter], grouped: bool) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label="Dead letters" {
            table {
                thead { tr {
                    th { "Letter" }
                    th { "State" }
                    @if !grouped { th { "Why" } th.extra { "Source" } }
                    th { "Event" }
                    th { "Detail" }
                    th { "Failed" }
                } }
                tbody {
                    @for letter in letters {
                        tr data-row {
                            td { a href={ "/dead-letters/" (letter.id) } { (letter.id) } @if letter.edited { span.edited title="edited since it failed" { " ✎" } } }
                            td { (badge(letter.state.as_str())) }
                            @if !grouped {
                                td.name { code { (short(&letter.code, 40)) } div.under { (short(&letter.stage, 40)) } }
                                td.name.extra { (short(&letter.source, 40)) }
                            }
                            td.name { (event(letter)) }
                            td.detail { (short(&letter.detail, 140)) }
                            td.when { (ago(letter.last_failed_at)) }
                        }
                    }
                }
            }
        }
    }
}

fn event(letter: &DeadLetter) -> Markup {
    html! {
        @match (&letter.event_id, &letter.entity_key) {
            (Some(id), Some(key)) => { (short(key, 26)) div.under { (short(id, 18)) } },
            (Some(one), None) | (None, Some(one)) => (short(one, 26)),
            (None, None) => span.none { "no id" },
        }
    }
}

/// Whether anything can still be done about it.
pub(crate) fn is_open(letter: &DeadLetter) -> bool {
    letter.state == DeadLetterState::Open
}
