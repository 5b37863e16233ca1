//! One timeline made of its parts.

use super::find::{DeadLetterHistory, TracedDeadLetter};
use super::parts::Parts;
use super::signature::{KeptHeaders, kept_headers, text, verify_again};
use crate::context::Context;
use crate::model::{DeadLetterState, StepKind, Time, Timeline, TraceFate, TraceStep};
use crate::query::plain;
use contracts::kafka::headers;
use contracts::kafka::topics;
use contracts::pipeline::Values;
use runtime::admin::OwnedRecord;
use std::collections::{BTreeMap, BTreeSet};
use store::row::RawPosition;

/// Longest text of a step, in characters.
const DETAIL: usize = 300;

/// The steps in the order of time.
pub(super) fn build(
    context: &Context,
    parts: &Parts,
    raw: &BTreeMap<RawPosition, OwnedRecord>,
    history: &DeadLetterHistory,
) -> Timeline {
    let mut steps = Vec::new();
    receipts(context, parts, raw, &mut steps);
    if let Some(row) = &parts.row {
        let detail = format!(
            "{}, schema {}, from raw record {}",
            plain(&row.event_type, 100),
            row.schema_id,
            row.raw
        );
        steps.push(step(
            row.stored_at,
            StepKind::Stored,
            "persistence.events".to_owned(),
            &detail,
        ));
    }
    for retyping in &parts.retypings {
        let detail = format!(
            "from contract {} to {}, the same raw record",
            plain(&retyping.contract_before, 100),
            plain(&retyping.contract, 100)
        );
        steps.push(step(
            retyping.retyped_at,
            StepKind::Retyped,
            "persistence.retyped".to_owned(),
            &detail,
        ));
    }
    for delivery in &parts.deliveries {
        let (kind, place, detail) = match (&delivery.rule, &delivery.same_body_as) {
            (None, Some(first)) => (
                StepKind::Duplicate,
                "persistence.duplicates",
                format!(
                    "the same signed body as event {}, whose id is not signed, by raw record {}",
                    plain(first, 100),
                    delivery.raw
                ),
            ),
            (None, None) => (
                StepKind::Duplicate,
                "persistence.duplicates",
                format!("the same content once more, by raw record {}", delivery.raw),
            ),
            (Some(rule), _) => (
                StepKind::Filtered,
                "persistence.filtered",
                format!("by {rule:?} of its source, raw record {}", delivery.raw),
            ),
        };
        steps.push(step(delivery.seen_at, kind, place.to_owned(), &detail));
    }
    for letter in &parts.letters {
        failures(context, letter, history, &mut steps);
        replays(context, letter, history, &mut steps);
    }
    steps.sort_by_key(|step| step.at);
    let mut before = None;
    for step in &mut steps {
        step.delay_seconds = before.map_or(0.0, |before: Time| (step.at - before).as_seconds_f64());
        before = Some(step.at);
    }
    let letter = parts.letters.last();
    let fate = match (&parts.row, parts.deliveries.first(), letter) {
        (Some(_), ..) => TraceFate::Stored,
        (None, Some(delivery), _) if delivery.rule.is_some() => TraceFate::Filtered,
        (None, Some(_), _) => TraceFate::Duplicate,
        (None, None, Some(letter)) => TraceFate::DeadLettered(letter.state),
        (None, None, None) => TraceFate::InFlight,
    };
    let delivery = parts.deliveries.first();
    let row = parts.row.as_ref();
    let (signature, verified_again) = signature(context, parts, raw, history);
    let of_letter = |field: fn(&TracedDeadLetter) -> Option<&String>| {
        parts.letters.iter().find_map(field).cloned()
    };
    Timeline {
        event_id: row
            .map(|row| row.event_id.clone())
            .or_else(|| delivery.map(|d| d.event_id.clone()))
            .or_else(|| of_letter(|l| l.event_id.as_ref())),
        source: row
            .map(|row| row.source.clone())
            .or_else(|| delivery.map(|d| d.source.clone()))
            .or_else(|| {
                letter
                    .map(|l| l.source.clone())
                    .filter(|source| !source.is_empty())
            }),
        entity_key: row
            .and_then(|row| row.entity_key.clone())
            .or_else(|| of_letter(|l| l.entity_key.as_ref())),
        trace_id: row
            .and_then(|row| row.trace_id.clone())
            .or_else(|| of_letter(|l| l.trace_id.as_ref())),
        fate,
        steps,
        signature,
        verified_again,
    }
}

fn step(at: Time, what: StepKind, place: String, detail: &str) -> TraceStep {
    TraceStep {
        at,
        what,
        place,
        detail: plain(detail, DETAIL),
        delay_seconds: 0.0,
    }
}

/// Every raw record of the timeline: received at the edge, and published, as far as Kafka still has it.
fn receipts(
    context: &Context,
    parts: &Parts,
    raw: &BTreeMap<RawPosition, OwnedRecord>,
    steps: &mut Vec<TraceStep>,
) {
    let topic = &context.pipeline.raw;
    let mut received: BTreeMap<RawPosition, (Time, &str)> = BTreeMap::new();
    for letter in &parts.letters {
        match (letter.raw(topic), letter.received_at) {
            (Some(raw), Some(at)) => drop(received.insert(raw, (at, &letter.source))),
            (None, Some(at)) => {
                let place = format!(
                    "{}:{}:{}",
                    plain(&letter.origin_topic, 100),
                    letter.origin_partition,
                    letter.origin_offset
                );
                steps.push(step(
                    at,
                    StepKind::Received,
                    place,
                    &format!("from {}", letter.source),
                ));
            }
            (_, None) => {}
        }
    }
    for delivery in &parts.deliveries {
        if let Some(at) = delivery.received_at {
            received.insert(delivery.raw.clone(), (at, &delivery.source));
        }
    }
    if let Some(row) = &parts.row
        && let Some(at) = row.received_at
    {
        received.insert(row.raw.clone(), (at, &row.source));
    }
    let place =
        |raw: &RawPosition| format!("{topic}{}:{}:{}", raw.epoch, raw.partition, raw.offset);
    for (position, (at, source)) in &received {
        steps.push(step(
            *at,
            StepKind::Received,
            place(position),
            &format!("from {source}"),
        ));
    }
    for position in &parts.raws {
        let Some(record) = raw.get(position) else {
            continue;
        };
        if let Ok(at) = Time::from_unix_timestamp_nanos(i128::from(record.timestamp_ms) * 1_000_000)
        {
            let bytes = record.value.as_ref().map_or(0, Vec::len);
            // Kafka counts whole milliseconds: in the one of its receipt it was published after it.
            let receipt = received.get(position).map(|(receipt, _)| *receipt);
            let at = receipt
                .filter(|receipt| (*receipt - at).whole_milliseconds() == 0)
                .map_or(at, |receipt| receipt.max(at));
            steps.push(step(
                at,
                StepKind::Published,
                place(position),
                &format!("{bytes} bytes"),
            ));
        }
    }
}

/// Every failure of a dead letter, further copies marked as such; and its discard.
fn failures(
    context: &Context,
    letter: &TracedDeadLetter,
    history: &DeadLetterHistory,
    steps: &mut Vec<TraceStep>,
) {
    let place = |partition: i32, offset: i64| {
        format!("{}:{partition}:{offset}", context.pipeline.dead_letters)
    };
    let words = |stage: &str, code: &str, detail: &str| {
        format!("{stage}: {code}: {detail} (dead letter {})", letter.id)
    };
    let mut counts = BTreeSet::from([letter.replay_count]);
    let detail = words(&letter.stage, &letter.code, &letter.detail);
    steps.push(step(
        letter.last_failed_at,
        StepKind::DeadLettered,
        place(letter.dlq_partition, letter.dlq_offset),
        &detail,
    ));
    for failure in history
        .failures
        .iter()
        .filter(|failure| failure.dead_letter_id == letter.id)
    {
        let again = if counts.insert(failure.replay_count) {
            ""
        } else {
            "a further copy: "
        };
        let detail = format!(
            "{again}{}",
            words(&failure.stage, &failure.code, &failure.detail)
        );
        steps.push(step(
            failure.failed_at,
            StepKind::DeadLettered,
            place(failure.dlq_partition, failure.dlq_offset),
            &detail,
        ));
    }
    if let (Some(at), Some(who)) = (letter.genuine_at, &letter.genuine_by) {
        let why = letter.genuine_reason.as_deref().unwrap_or_default();
        steps.push(step(
            at,
            StepKind::Genuine,
            "recovery.dead_letters".to_owned(),
            &format!("by {who}: {why}"),
        ));
    }
    if letter.state == DeadLetterState::Discarded
        && let Some(at) = letter.settled_at
    {
        let (who, why) = (
            letter.settled_by.as_deref().unwrap_or("unknown"),
            letter.reason.as_deref().unwrap_or_default(),
        );
        steps.push(step(
            at,
            StepKind::Discarded,
            "recovery.dead_letters".to_owned(),
            &format!("by {who}: {why}"),
        ));
    }
}

/// Edits and replays of a dead letter.
fn replays(
    context: &Context,
    letter: &TracedDeadLetter,
    history: &DeadLetterHistory,
    steps: &mut Vec<TraceStep>,
) {
    let pipeline = &context.pipeline;
    let group = &letter.consumer_group;
    let topic = pipeline
        .retry_of(group)
        .map_or_else(|| topics::retry(&plain(group, 100)), str::to_owned);
    for edit in history
        .edits
        .iter()
        .filter(|edit| edit.dead_letter_id == letter.id)
    {
        let detail = format!("by {}: {} {}", edit.edited_by, edit.reason, edit.patch);
        steps.push(step(
            edit.edited_at,
            StepKind::Edited,
            "recovery.edits".to_owned(),
            &detail,
        ));
    }
    for sent in history
        .sent
        .iter()
        .filter(|sent| sent.dead_letter_id == letter.id)
    {
        let edited = if sent.edit_id.is_some() {
            ", as edited"
        } else {
            ""
        };
        let came_of_it = match &sent.code {
            Some(code) => format!("{} ({code})", sent.state),
            None => sent.state.to_string(),
        };
        let number = sent.replay_count.unwrap_or_default();
        let detail = format!(
            "job {} by {}{edited}, replay {number}: {came_of_it}. {}",
            sent.job_id, sent.created_by, sent.reason
        );
        steps.push(step(
            sent.sent_at,
            StepKind::Replayed,
            topic.clone(),
            &detail,
        ));
    }
}

/// What verified it at the edge, and the verdict on the stored bytes today.
fn signature(
    context: &Context,
    parts: &Parts,
    raw: &BTreeMap<RawPosition, OwnedRecord>,
    history: &DeadLetterHistory,
) -> (Option<String>, Option<String>) {
    let record = parts.first.as_ref().and_then(|first| raw.get(first));
    let of_letter: Vec<(KeptHeaders, &TracedDeadLetter)> = parts
        .letters
        .iter()
        .map(|letter| (kept_headers(&letter.headers), letter))
        .collect();
    let kept = record
        .map(|record| &record.headers)
        .or_else(|| of_letter.first().map(|(headers, _)| headers));
    let field = |name: &str| {
        kept.and_then(|kept| text(kept, name))
            .map(|text| plain(&text, 100))
    };
    let row = parts.row.as_ref();
    let secret = field(headers::SECRET_ID).or_else(|| row.and_then(|row| row.secret_id.clone()));
    let source = field(headers::SOURCE).or_else(|| row.map(|row| row.source.clone()));
    let signature = match (source, secret) {
        (Some(source), Some(secret)) => {
            let scheme = field(headers::SCHEME)
                .map_or_else(String::new, |scheme| format!("scheme {scheme}, "));
            let unsigned = field(headers::UNSIGNED).map_or_else(String::new, |names| {
                format!("; NOT signed: {}", names.replace(',', ", "))
            });
            Some(format!(
                "{scheme}secret {secret} of source {source}{unsigned}"
            ))
        }
        (Some(source), None) => field(headers::UNPROVEN).map(|unproven| {
            let error = field(headers::SIGNATURE_ERROR).unwrap_or_default();
            format!("{unproven}, from whoever posts to source {source} ({error})")
        }),
        (_, _) => None,
    };
    // Dead letters of a stage that reads raw events hold the body as it came; others hold what was made of it.
    let body = match record {
        Some(record) => record
            .value
            .as_deref()
            .map(|value| (&record.headers, value)),
        None => of_letter
            .iter()
            .find(|(_, letter)| {
                let stage = context
                    .pipeline
                    .stage_of(&letter.consumer_group, &letter.stage);
                stage.is_some_and(|stage| stage.values == Values::Raw)
            })
            .and_then(|(headers, letter)| Some((headers, letter.value.as_deref()?))),
    };
    let Some((kept, body)) = body else {
        let why = "not verified again: the raw record is gone from Kafka or was not read, and no dead letter has it";
        return (signature, Some(why.to_owned()));
    };
    let vendors = context.vendors.get();
    let mut verdict = verify_again(vendors.sources.as_ref(), kept, body);
    let edited = history.sent.iter().any(|sent| {
        sent.edit_id.is_some()
            && parts
                .letters
                .iter()
                .any(|letter| letter.id == sent.dead_letter_id)
    });
    if edited {
        verdict.push_str("; an edited value was replayed, so this is about the original, not about what is stored");
    }
    (signature, Some(verdict))
}
