//! What a stage itself would say of a value, before any database.

use super::rows::Row;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::replay::runner::letter::Letter;
use crate::replay::runner::no_destination;
use contracts::avro::datum::Decoder;
use contracts::pipeline::Values;
use contracts::{Rejection, RejectionCode};

/// The stage's word.
#[derive(Debug)]
pub(crate) enum Checked {
    /// It would come to this row
    Row(Box<Row>),
    /// Why not: code, pointer, detail
    Fails(&'static str, Option<String>, String),
}

impl From<Rejection> for Checked {
    fn from(rejection: Rejection) -> Self {
        Self::Fails(rejection.code.code(), rejection.pointer, rejection.detail)
    }
}

/// One dead letter against the stage that would read its replay.
pub(crate) async fn check(recovery: &Context, letter: &Letter) -> Result<Checked, RecoveryError> {
    if recovery.pipeline.retry_of(&letter.group).is_none() {
        return Ok(Checked::Fails(
            "destination_unknown",
            None,
            no_destination(&recovery.pipeline, &letter.group),
        ));
    }
    if letter.dropped && letter.edit.is_none() {
        return Ok(Checked::Fails(
            "value_dropped",
            None,
            "the index's limits dropped its value: there is nothing to send".to_owned(),
        ));
    }
    // What is sent says one more than the dead letter; the stages refuse what says more than the limit.
    if i64::from(letter.replay_count) + 1 > i64::from(recovery.args.max_replays) {
        let detail = format!(
            "replayed {} times, and at most {} are allowed",
            letter.replay_count, recovery.args.max_replays
        );
        return Ok(Rejection::new(RejectionCode::ReplaysExhausted, None, detail).into());
    }
    let value = letter.outgoing().unwrap_or_default();
    let values = recovery
        .pipeline
        .stage_of_group(&letter.group)
        .map(|stage| stage.values);
    if values == Some(Values::Avro) {
        let mut registry = recovery.registry.lock().await;
        return Ok(match registry.decode(value).await? {
            Ok(framed) => row(letter, framed.datum, &framed.event),
            Err(rejection) => rejection.into(),
        });
    }
    Ok(validated(recovery, letter, value))
}

/// The validator's check, and what persistence would read of what it writes.
fn validated(recovery: &Context, letter: &Letter, value: &[u8]) -> Checked {
    let event = match recovery.contracts.validate(value) {
        Ok(event) => event,
        Err(rejection) => return rejection.into(),
    };
    let mut datum = Vec::new();
    event.encode(&mut datum);
    let decoded = Decoder::new(&event.contract().record_avsc).and_then(|decoder| {
        let event = decoder.decode(&datum)?;
        Ok(row(letter, &datum, &event))
    });
    decoded.unwrap_or_else(|error| {
        Rejection::new(RejectionCode::BadDatum, None, error.to_string()).into()
    })
}

fn row(letter: &Letter, datum: &[u8], event: &contracts::avro::datum::Event<'_>) -> Checked {
    match Row::new(letter, datum, event) {
        Ok(row) => Checked::Row(Box::new(row)),
        Err(problem) => Rejection::new(RejectionCode::BadDatum, None, problem).into(),
    }
}
