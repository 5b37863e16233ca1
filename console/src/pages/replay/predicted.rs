//! What a dry run expects of a replay: in numbers, and for some of them what would be stored.

use crate::view::{badge, command, count, csrf, number, short, steps, text};
use crate::visit::Visit;
use maud::{Markup, html};
use recovery::model::{DryRun, DryRunSample, Job, JobItem, JobKind, Prediction};
use runtime::text::encoded;
use std::collections::BTreeMap;

/// `answer` is there on the page of whoever ran it; others see what it left with the items.
pub(super) fn dry_run(
    visit: &Visit,
    job: &Job,
    answer: Option<&DryRun>,
    items: &[JobItem],
) -> Markup {
    let mut left: BTreeMap<Prediction, i64> = BTreeMap::new();
    for would in items.iter().filter_map(|item| item.would) {
        *left.entry(would).or_default() += 1;
    }
    html! {
        h2 { "Dry run" }
        @match answer {
            Some(answer) => (told(answer)),
            None if left.is_empty() => p { "Nobody has tried it yet. Today's checks then say what would become of each; nothing is sent." },
            None => {
                p.predicted { @for (would, many) in &left { span { strong { (number(*many)) } " " (badge(would.as_str())) } } }
                p.hint { "As it was when somebody tried it last. Try it again for samples." }
            },
        }
        @if visit.may_change() {
            form method="post" action={ "/replays/" (encoded(&job.id)) "/dry-run" } {
                (csrf(visit))
                button type="submit" { @if answer.is_some() || !left.is_empty() { "Try it again" } @else { "Try it" } }
            }
        }
        (command(&format!("eventflow replay dry-run {}", job.id)))
    }
}

fn told(run: &DryRun) -> Markup {
    let rows = run.kind == JobKind::Revalidation;
    let counts = [
        (run.would_store, "would be stored", "store"),
        (run.would_be_duplicate, "would be duplicates", "duplicate"),
        (run.would_retype, "would be typed", "retype"),
        (
            run.would_be_unchanged,
            "would stay as they are",
            "unchanged",
        ),
        (run.would_process, "would be processed", "process"),
        (run.would_be_filtered, "would be filtered", "filter"),
        (
            run.would_fail,
            if rows {
                "would be refused"
            } else {
                "would fail again"
            },
            "fail",
        ),
    ];
    let all: i64 = counts.iter().map(|(many, ..)| many).sum();
    html! {
        ul.outcomes.large {
            @for (many, what, class) in counts {
                @if many > 0 { li { span class={ "dot is-" (class) } {} strong { (number(many)) } " " (what) } }
            }
        }
        @if run.would_fail > 0 {
            @if run.would_fail == all { p.verdict.refused { strong { "Every one would fail again: " } "fix the cause first." } }
            p.hint { @for (code, many) in &run.would_fail_by_code { (number(*many)) " " code { (text(code)) } " " } }
        }
        details open[run.samples.len() <= 3] {
            summary { (count(run.samples.len() as i64, "sample")) }
            @for one in &run.samples { (sample(one)) }
        }
    }
}

fn sample(sample: &DryRunSample) -> Markup {
    let changes = sample
        .diff
        .as_ref()
        .filter(|diff| diff.as_array().is_some_and(|steps| !steps.is_empty()));
    html! {
        section.sample {
            p {
                @match (sample.letter, &sample.raw) {
                    (Some(letter), _) => a href={ "/dead-letters/" (letter) } { "Dead letter " (letter) },
                    (None, Some(raw)) => code { (text(raw)) },
                    (None, None) => "",
                }
                " " (badge(sample.would.as_str()))
                @if let Some(code) = &sample.code { " " code { (short(code, 40)) } }
                @if let Some(detail) = sample.detail.as_ref().filter(|detail| !detail.is_empty()) { " " (short(detail, 300)) }
            }
            @if let Some(changes) = changes { (steps(changes)) }
            @if let Some(row) = &sample.row { (stored(row)) }
        }
    }
}

/// The row that would be stored: its columns that people look for first.
fn stored(row: &serde_json::Value) -> Markup {
    let columns = [
        "event_type",
        "event_id",
        "entity_key",
        "amount",
        "currency",
        "occurred_at",
    ];
    let shown = columns
        .into_iter()
        .filter_map(|name| Some((name, row.get(name)?.as_str()?)));
    html! { p.row-shown { @for (name, value) in shown { span { span.name { (name) } " " (short(value, 60)) } } } }
}
