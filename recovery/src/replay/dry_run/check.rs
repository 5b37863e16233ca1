//! What a stage itself would say of a value, before any database.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::replay::runner::no_destination;
use crate::replay::runner::replay_letter::{Headers, ReplayLetter};
use contracts::avro::datum::{DatumError, Decoder, Event};
use contracts::kafka::headers;
use contracts::pipeline::Values;
use contracts::{Rejection, RejectionCode};
use store::row::EventRow;

/// Why a replay would fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PredictedFailure {
    pub(crate) code: &'static str,
    /// Where in the JSON
    pub(crate) pointer: Option<String>,
    pub(crate) detail: String,
}

impl PredictedFailure {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            pointer: None,
            detail: detail.into(),
        }
    }
}

impl From<Rejection> for PredictedFailure {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code.code(),
            pointer: rejection.pointer,
            detail: rejection.detail,
        }
    }
}

/// The record a replay would send.
pub(super) struct CheckedReplay<'l> {
    letter: &'l ReplayLetter,
    headers: Headers,
    value: CheckedValue<'l>,
}

/// What would become of a replay, as far as no database is asked.
pub(super) enum Expected<'r> {
    /// Persistence would make this row of it
    Row(Box<EventRow<'r>>),
    /// A stage beside the path would read it
    Processed,
    /// It would not be sent, or its stage would reject it
    Fails(PredictedFailure),
}

impl<'r> Expected<'r> {
    pub(super) fn row(&self) -> Option<&EventRow<'r>> {
        match self {
            Expected::Row(row) => Some(row.as_ref()),
            Expected::Processed | Expected::Fails(_) => None,
        }
    }
}

/// What its stage would read of it.
enum CheckedValue<'l> {
    /// A stage beside the path: nothing else is known of what it takes
    Any,
    /// A stage beside the path that reads Avro
    Readable(&'l [u8]),
    /// Persistence: the framed Avro as it is
    Framed(&'l [u8]),
    /// The validator: the Avro it would write, and its reader
    Validated(Vec<u8>, Decoder),
    /// None: it would not be sent, or the validator would reject it
    Fails(PredictedFailure),
}

impl<'l> CheckedReplay<'l> {
    /// As a replay would send it now, checked as the validator would.
    pub(super) fn of(recovery: &Context, letter: &'l ReplayLetter) -> Self {
        // The name of the job is no matter: that it is a replay is.
        Self {
            letter,
            headers: letter.retry_headers("dry_run", letter.replay_count.saturating_add(1)),
            value: value(recovery, letter),
        }
    }

    /// What its stage would make of it.
    pub(super) async fn expected(&self, recovery: &Context) -> Result<Expected<'_>, RecoveryError> {
        let bad_datum =
            |error: DatumError| Rejection::new(RejectionCode::BadDatum, None, error.to_string());
        let row = match &self.value {
            CheckedValue::Any => return Ok(Expected::Processed),
            CheckedValue::Readable(value) => {
                return Ok(match recovery.registry.lock().await.decode(value).await? {
                    Ok(_) => Expected::Processed,
                    Err(rejection) => Expected::Fails(rejection.into()),
                });
            }
            CheckedValue::Fails(failure) => Err(failure.clone()),
            CheckedValue::Validated(datum, decoder) => match decoder.decode(datum) {
                // The schema's id is the registry's to give.
                Ok(event) => self.row_of(0, datum, event),
                Err(error) => Err(bad_datum(error).into()),
            },
            CheckedValue::Framed(value) => {
                let mut registry = recovery.registry.lock().await;
                match registry.decode(value).await? {
                    Ok(framed) => self.row_of(framed.schema_id, framed.datum, framed.event),
                    Err(rejection) => Err(rejection.into()),
                }
            }
        };
        Ok(row.map_or_else(Expected::Fails, |row| Expected::Row(Box::new(row))))
    }

    fn row_of<'r>(
        &'r self,
        schema_id: i32,
        datum: &[u8],
        event: Event<'r>,
    ) -> Result<EventRow<'r>, PredictedFailure> {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()));
        let raw = headers::raw_position(self.letter.raw_text().as_bytes());
        let row = EventRow::new(
            headers,
            self.letter.key.as_deref(),
            raw,
            schema_id,
            datum,
            event,
        );
        row.map_err(|problem| Rejection::new(RejectionCode::BadDatum, None, problem).into())
    }
}

fn value<'l>(recovery: &Context, letter: &'l ReplayLetter) -> CheckedValue<'l> {
    if recovery.pipeline.retry_of(&letter.group).is_none() {
        return CheckedValue::Fails(PredictedFailure::new(
            "destination_unknown",
            no_destination(&recovery.pipeline, &letter.group),
        ));
    }
    if letter.dropped && letter.edit.is_none() {
        return CheckedValue::Fails(PredictedFailure::new(
            "value_dropped",
            "retention dropped its value, so there is nothing to send; discard it",
        ));
    }
    // What is sent says one more than the dead letter; the stages refuse what says more than the limit.
    let limit = recovery.args.max_replays;
    if i64::from(letter.replay_count) + 1 > i64::from(limit) {
        return CheckedValue::Fails(PredictedFailure::new(
            RejectionCode::ReplaysExhausted.code(),
            format!(
                "replayed {} times, and at most {limit} are allowed: raise --max-replays, or discard it",
                letter.replay_count
            ),
        ));
    }
    let value = letter.outgoing().unwrap_or_default();
    if let Some(stage) = recovery.pipeline.stage_of_group(&letter.group) {
        match (stage.on_path, stage.values) {
            (false, Values::Raw) => return CheckedValue::Any,
            (false, Values::Avro) => return CheckedValue::Readable(value),
            (true, Values::Avro) => return CheckedValue::Framed(value),
            (true, Values::Raw) => {}
        }
    }
    let event = match recovery.contracts.validate(value) {
        Ok(event) => event,
        Err(rejection) => return CheckedValue::Fails(rejection.into()),
    };
    let mut datum = Vec::new();
    event.encode(&mut datum);
    match Decoder::new(&event.contract().record_avsc) {
        Ok(decoder) => CheckedValue::Validated(datum, decoder),
        Err(error) => CheckedValue::Fails(
            Rejection::new(RejectionCode::BadDatum, None, error.to_string()).into(),
        ),
    }
}
