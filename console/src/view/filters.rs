//! Filters of a list: fields that make an address, and what is set as chips that each lead to the list without it.

use super::text;
use crate::asked::Asked;
use maud::{Markup, html};

/// Dead letters in whatever state.
pub(crate) const EVERY_STATE: &str = "open,replaying,resolved,discarded";

/// One field.
pub(crate) struct Filter {
    /// The word in the address, as the API has it
    word: &'static str,
    label: &'static str,
    /// What can be chosen, as the API says it and in words; nothing: anything can be written
    choices: &'static [(&'static str, &'static str)],
    /// What it is without a choice
    hint: &'static str,
}

impl Filter {
    pub(crate) const fn text(word: &'static str, label: &'static str, hint: &'static str) -> Self {
        Self {
            word,
            label,
            choices: &[],
            hint,
        }
    }

    pub(crate) const fn choice(
        word: &'static str,
        label: &'static str,
        choices: &'static [(&'static str, &'static str)],
        hint: &'static str,
    ) -> Self {
        Self {
            word,
            label,
            choices,
            hint,
        }
    }

    /// How long ago at most.
    pub(crate) const fn since(label: &'static str) -> Self {
        let choices = &[
            ("15m", "15 minutes"),
            ("1h", "an hour"),
            ("24h", "a day"),
            ("7d", "a week"),
        ];
        Self::choice("since", label, choices, "any time")
    }

    /// States of dead letters: open ones, unless something else is chosen.
    pub(crate) const fn state() -> Self {
        let choices = &[
            ("replaying", "replaying"),
            ("resolved", "resolved"),
            ("discarded", "discarded"),
            (EVERY_STATE, "every state"),
        ];
        Self::choice("state", "State", choices, "open")
    }
}

/// The form of a list at `path`. The first field is what `/` leads to. Words that have no field stay in the address.
pub(crate) fn filters(path: &str, asked: &Asked, fields: &[Filter]) -> Markup {
    let has_field = |word: &str| fields.iter().any(|field| field.word == word);
    let kept = asked.pairs().iter();
    let kept: Vec<_> = kept
        .filter(|(word, _)| !has_field(word) && word != "before")
        .collect();
    let chips: Vec<_> = asked
        .pairs()
        .iter()
        .filter(|(word, _)| word != "before" && word != "limit")
        .collect();
    html! {
        form.filters method="get" action=(path) role="search" {
            @for (word, value) in &kept { input type="hidden" name=(word) value=(value); }
            @for (place, field) in fields.iter().enumerate() {
                label {
                    span { (field.label) }
                    @let value = asked.get(field.word).unwrap_or_default();
                    @if field.choices.is_empty() {
                        input type="search" name=(field.word) value=(value) placeholder=(field.hint) data-search[place == 0] spellcheck="false";
                    } @else {
                        select name=(field.word) {
                            option value="" { (field.hint) }
                            @if !value.is_empty() && field.choices.iter().all(|(choice, _)| *choice != value) { option value=(value) selected { (text(value)) } }
                            @for (choice, label) in field.choices { option value=(choice) selected[*choice == value] { (label) } }
                        }
                    }
                }
            }
            button type="submit" { "Filter" }
        }
        @if !chips.is_empty() {
            p.chips {
                @for (word, value) in &chips {
                    a.chip href=(asked.without(word).without("before").to(path)) title="remove this filter" {
                        (text(word)) ": " (super::short(value, 60)) span aria-hidden="true" { " ×" }
                        span.only-read { ", remove this filter" }
                    }
                }
                @if chips.len() > 1 { a.chip.all href=(path) { "Remove all" } }
            }
        }
    }
}
