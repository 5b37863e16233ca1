//! What belongs together: the same source and event id, or the same raw record.

use super::RawBytes;
use super::find::{Found, TracedDeadLetter, TracedDelivery, TracedRetyping, TracedRow};
use super::signature::kept_headers;
use crate::context::Context;
use contracts::pipeline::Values;
use std::collections::BTreeSet;
use store::row::RawPosition;

/// The parts of one timeline.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) row: Option<TracedRow>,
    pub(super) retypings: Vec<TracedRetyping>,
    pub(super) deliveries: Vec<TracedDelivery>,
    pub(super) letters: Vec<TracedDeadLetter>,
    pub(super) raws: BTreeSet<RawPosition>,
    /// The raw record the timeline is about
    pub(super) first: Option<RawPosition>,
}

impl Parts {
    pub(super) fn raw(&self) -> Option<RawPosition> {
        self.first.clone()
    }

    /// What a dead letter of a stage that reads raw events holds: the body as it came.
    pub(super) fn kept_bytes(&self, context: &Context, position: &RawPosition) -> Option<RawBytes> {
        let (topic, pipeline) = (&context.pipeline.raw, &context.pipeline);
        let is_raw = |letter: &&TracedDeadLetter| {
            let stage = pipeline.stage_of(&letter.consumer_group, &letter.stage);
            letter.raw(topic).as_ref() == Some(position)
                && stage.is_some_and(|stage| stage.values == Values::Raw)
        };
        let letter = self.letters.iter().find(is_raw)?;
        Some(RawBytes {
            key: letter.entity_key.clone().map(String::into_bytes),
            headers: kept_headers(&letter.headers),
            value: letter.value.clone()?,
        })
    }

    fn is_of(&self, source: &str, event_id: &str) -> bool {
        let row = self
            .row
            .as_ref()
            .is_some_and(|row| row.source == source && row.event_id == event_id);
        let deliveries = self
            .deliveries
            .iter()
            .any(|delivery| delivery.source == source && delivery.event_id == event_id);
        let same_source = |letter: &TracedDeadLetter| {
            letter.source == source || letter.source.is_empty() || source.is_empty()
        };
        row || deliveries
            || self
                .letters
                .iter()
                .any(|letter| letter.event_id.as_deref() == Some(event_id) && same_source(letter))
    }
}

/// Puts together what has the same source and event id, or the same raw record.
pub(super) fn group(context: &Context, found: Found) -> Vec<Parts> {
    let mut timelines: Vec<Parts> = Vec::new();
    for (raw, row) in found.rows {
        let mut parts = Parts {
            first: Some(raw.clone()),
            ..Parts::default()
        };
        parts.raws.insert(raw);
        parts.row = Some(row);
        timelines.push(parts);
    }
    for (raw, delivery) in found.deliveries {
        let parts = place(
            &mut timelines,
            Some(raw),
            Some((&delivery.source, &delivery.event_id)),
        );
        parts.deliveries.push(delivery);
    }
    for letter in found.letters.into_values() {
        let event = letter
            .event_id
            .as_deref()
            .map(|event_id| (letter.source.as_str(), event_id));
        let parts = place(&mut timelines, letter.raw(&context.pipeline.raw), event);
        parts.letters.push(letter);
    }
    timelines
}

fn place<'s>(
    timelines: &'s mut Vec<Parts>,
    raw: Option<RawPosition>,
    event: Option<(&str, &str)>,
) -> &'s mut Parts {
    let same = |parts: &Parts| {
        raw.as_ref().is_some_and(|raw| parts.raws.contains(raw))
            || event.is_some_and(|(source, event_id)| parts.is_of(source, event_id))
    };
    let index = timelines.iter().position(same).unwrap_or(timelines.len());
    if index == timelines.len() {
        timelines.push(Parts {
            first: raw.clone(),
            ..Parts::default()
        });
    }
    let parts = &mut timelines[index];
    parts.raws.extend(raw);
    parts
}
