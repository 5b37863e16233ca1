//! What a stage itself would say of a value, before any database.

use crate::context::{Checked, Context};
use crate::error::RecoveryError;
use crate::replay::runner::no_destination;
use crate::replay::runner::replay_letter::{Headers, ReplayLetter};
use contracts::avro::datum::{DatumError, Decoder, Event};
use contracts::kafka::headers::{CONTRACT, RawCoordinates};
use contracts::pipeline::Values;
use contracts::webhook::unproven;
use contracts::{Rejection, RejectionCode};
use runtime::registry::{Framed, RegistryError};
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
    /// This rule of its source would filter it
    Filtered(String),
    /// It would not be sent, or its stage would reject it
    Fails(PredictedFailure),
}

impl<'r> Expected<'r> {
    pub(super) fn row(&self) -> Option<&EventRow<'r>> {
        match self {
            Expected::Row(row) => Some(row.as_ref()),
            Expected::Processed | Expected::Filtered(_) | Expected::Fails(_) => None,
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
    /// The validator: the Avro it would write, its reader, and the contract
    Validated(Vec<u8>, Decoder, String),
    /// The validator: a rule of its source filters it
    Filtered(String),
    /// None: it would not be sent, or the validator would reject it
    Fails(PredictedFailure),
}

impl<'l> CheckedReplay<'l> {
    /// As a replay would send it now, checked as the validator would.
    pub(super) fn of(recovery: &Context, letter: &'l ReplayLetter) -> Self {
        // The name of the job is no matter: that it is a replay is.
        let mut headers = letter.retry_headers("dry_run", letter.replay_count.saturating_add(1));
        let value = value(recovery, letter, &headers);
        if let CheckedValue::Validated(_, _, contract) = &value {
            headers.push((CONTRACT.to_owned(), Some(contract.clone().into_bytes())));
        }
        Self {
            letter,
            headers,
            value,
        }
    }

    /// What its stage would make of it.
    pub(super) async fn expected(&self, recovery: &Context) -> Result<Expected<'_>, RecoveryError> {
        let bad_datum =
            |error: DatumError| Rejection::new(RejectionCode::BadDatum, None, error.to_string());
        let row = match &self.value {
            CheckedValue::Any => return Ok(Expected::Processed),
            CheckedValue::Readable(value) => {
                return Ok(match framed(recovery, value).await? {
                    Ok(_) => Expected::Processed,
                    Err(failure) => Expected::Fails(failure),
                });
            }
            CheckedValue::Filtered(rule) => return Ok(Expected::Filtered(rule.clone())),
            CheckedValue::Fails(failure) => Err(failure.clone()),
            CheckedValue::Validated(datum, decoder, _) => match decoder.decode(datum) {
                // The schema's id is the registry's to give.
                Ok(event) => self.row_of(0, event),
                Err(error) => Err(bad_datum(error).into()),
            },
            CheckedValue::Framed(value) => framed(recovery, value)
                .await?
                .and_then(|framed| self.row_of(framed.schema_id, framed.event)),
        };
        Ok(row.map_or_else(Expected::Fails, |row| Expected::Row(Box::new(row))))
    }

    fn row_of<'r>(
        &'r self,
        schema_id: i32,
        event: Event<'r>,
    ) -> Result<EventRow<'r>, PredictedFailure> {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()));
        if RawCoordinates::parse(self.letter.raw_text().as_bytes()).is_none() {
            let detail = "its ef.raw header names no raw record";
            return Err(Rejection::new(RejectionCode::NoRawRecord, None, detail).into());
        }
        let row = EventRow::new(
            headers,
            self.letter.outgoing_key(),
            self.letter.origin.clone(),
            schema_id,
            event,
        );
        row.map_err(PredictedFailure::from)
    }
}

/// A value as its stage reads it. One whose schema the registry does not have would hold its stage, so it fails here.
async fn framed<'v>(
    recovery: &Context,
    value: &'v [u8],
) -> Result<Result<Framed<'v>, PredictedFailure>, RecoveryError> {
    match recovery.decode(value).await {
        Ok(read) => Ok(read.map_err(PredictedFailure::from)),
        Err(error @ (RegistryError::UnknownId(_) | RegistryError::Unusable { .. })) => {
            Ok(Err(PredictedFailure::new(error.code(), error.to_string())))
        }
        Err(error @ RegistryError::Unavailable(_)) => {
            Err(RecoveryError::Unavailable(error.to_string()))
        }
    }
}

fn value<'l>(recovery: &Context, letter: &'l ReplayLetter, headers: &Headers) -> CheckedValue<'l> {
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
    let proof = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()));
    if let Some(rejection) = unproven::refused(proof, true) {
        return CheckedValue::Fails(rejection.into());
    }
    let vendors = recovery.vendors.get();
    let opened = match vendors.mappings.open(&headers.as_slice(), value) {
        Ok(opened) => opened,
        Err(rejection) => return CheckedValue::Fails(rejection.into()),
    };
    let event = match recovery.validate(&vendors.mappings, headers.as_slice(), &opened) {
        Ok(Checked::Valid(event)) => event,
        Ok(Checked::Filtered(rule)) => return CheckedValue::Filtered(rule.to_owned()),
        Err(rejection) => return CheckedValue::Fails(rejection.into()),
    };
    let mut datum = Vec::new();
    event.encode(&mut datum);
    match Decoder::new(&event.contract().record_avsc) {
        Ok(decoder) => CheckedValue::Validated(datum, decoder, event.contract().label.clone()),
        Err(error) => CheckedValue::Fails(
            Rejection::new(RejectionCode::BadDatum, None, error.to_string()).into(),
        ),
    }
}
