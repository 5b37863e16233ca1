//! Between the bytes of a value and the text a person edits.

use super::exact_json;
use crate::context::Context;
use crate::envelope;
use crate::error::RecoveryError;
use crate::replay::runner::replay_letter::{ReplayLetter, header_map};
use contracts::avro::framing;
use contracts::event::{Envelope, Locator, Mapping, Mappings, Validated};
use contracts::kafka::headers;
use contracts::pipeline::{Stage, Values};
use contracts::{Rejection, RejectionCode};
use runtime::registry::RegistryError;
use std::borrow::Cow;

/// The text of a value: the JSON of a raw body (what is no UTF-8 is replaced), framed Avro as the envelope it was made from.
pub(super) async fn text(
    context: &Context,
    letter: &ReplayLetter,
    value: Option<&[u8]>,
) -> Result<String, RecoveryError> {
    if letter.dropped && letter.edit.is_none() {
        return Err(RecoveryError::WrongState(format!(
            "retention dropped the value of dead letter {}, so there is nothing to edit; discard it",
            letter.id
        )));
    }
    let value = value.unwrap_or_default();
    if stage_of_avro(context, letter).is_some() {
        match context.decode(value).await {
            Ok(Ok(framed)) => return Ok(envelope::lines(&framed.event)),
            Err(error @ RegistryError::Unavailable(_)) => {
                return Err(RecoveryError::Unavailable(error.to_string()));
            }
            Ok(Err(_)) | Err(RegistryError::UnknownId(_) | RegistryError::Unusable { .. }) => {}
        }
    }
    Ok(String::from_utf8_lossy(&opened(context, letter, value)).into_owned())
}

/// The JSON of a raw value, as a person edits it: what a form or a compressed body holds. What a person wrote is JSON already, and what cannot
/// be opened is left as it is.
pub(super) fn opened<'v>(
    context: &Context,
    letter: &'v ReplayLetter,
    value: &'v [u8],
) -> Cow<'v, [u8]> {
    let is_edited = letter.edit.as_ref().is_some_and(|edit| edit.value == value);
    if is_edited || stage_of_avro(context, letter).is_some() {
        return Cow::Borrowed(value);
    }
    let vendors = context.vendors.get();
    let opened = vendors.mappings.open(&letter.headers.as_slice(), value);
    opened.unwrap_or(Cow::Borrowed(value))
}

/// The stage of a dead letter, when it reads framed Avro.
pub(super) fn stage_of_avro<'a>(context: &'a Context, letter: &ReplayLetter) -> Option<&'a Stage> {
    let stage = context.pipeline.stage_of_group(&letter.group)?;
    match stage.values {
        Values::Avro => Some(stage),
        Values::Raw => None,
    }
}

/// The envelope of a letter's text. What stands in EventFlow's own keeps the contract that its record names.
pub(super) fn envelope<'a>(
    context: &'a Context,
    mappings: &'a Mappings,
    letter: &'a ReplayLetter,
    text: &'a str,
) -> Result<Envelope<'a>, Rejection> {
    if stage_of_avro(context, letter).is_none() {
        return mappings.find(letter.headers.as_slice(), text.as_bytes());
    }
    let mut envelope = Envelope::own(text.as_bytes())?;
    if let Some(contract) = letter.header(headers::CONTRACT) {
        envelope.contract = contract.into();
    }
    Ok(envelope)
}

/// A text as the stage that validates would check it.
fn validate<'a>(
    context: &'a Context,
    mappings: &'a Mappings,
    letter: &'a ReplayLetter,
    text: &'a str,
) -> Result<Validated<'a>, Rejection> {
    let envelope = envelope(context, mappings, letter, text)?;
    context.contracts.validate(envelope)
}

/// Where the id and the entity are in a letter's text; `None` when its source is not configured here.
pub(super) fn places(context: &Context, letter: &ReplayLetter) -> Option<(Locator, Locator)> {
    let vendors = context.vendors.get();
    let mapping = vendors.mappings.get(letter.header(headers::SOURCE)?)?;
    Some(match stage_of_avro(context, letter) {
        None => (mapping.id.clone(), mapping.entity.clone()),
        Some(_) => (Mapping::own().id.clone(), mapping.entity_in_own_envelope()),
    })
}

/// The bytes a replay of an edited text sends: checked against its contract; for a stage that reads Avro, encoded and framed again.
pub(super) async fn bytes(
    context: &Context,
    letter: &ReplayLetter,
    text: &str,
) -> Result<Vec<u8>, RecoveryError> {
    let vendors = context.vendors.get();
    let event =
        validate(context, &vendors.mappings, letter, text).map_err(RecoveryError::StillBroken)?;
    let Some(stage) = stage_of_avro(context, letter) else {
        return Ok(text.as_bytes().to_vec());
    };
    let contract = event.contract();
    // The id of what is written now: the original's may be of an older schema.
    let registry = context.registry.lock().await;
    let registering = registry.register(&stage.reads, &contract.record_name, &contract.record_avsc);
    let id = registering
        .await
        .map_err(|error| RecoveryError::Unavailable(error.to_string()))?;
    let mut value = Vec::new();
    framing::frame(id, &mut value);
    event.encode(&mut value);
    Ok(value)
}

/// Refuses a text that makes another event of the original.
pub(super) fn same_event(
    context: &Context,
    letter: &ReplayLetter,
    original: &str,
    edited: &str,
) -> Result<(), RecoveryError> {
    let Some((id, _)) = places(context, letter) else {
        return Ok(());
    };
    let request = header_map(&letter.headers);
    let Some(known) = id.find(&request, original.as_bytes()) else {
        return Ok(());
    };
    let same = id.find(&request, edited.as_bytes()).as_deref() == Some(&known);
    if same
        || id
            .pointers()
            .any(|pointer| is_fault(context, letter, (original, edited), &pointer))
    {
        return Ok(());
    }
    Err(RecoveryError::Invalid(format!(
        "an edit must not make another event: keep the event id {:?} ({id}) of dead letter {}; if it is another event, discard this one and \
         have its vendor send it again",
        crate::audit_log::clean(&known),
        letter.id
    )))
}

/// Whether the original's value at a pointer is itself against the contract, whatever else is wrong with the original: what is right but for
/// that value is rejected for it.
pub(super) fn is_fault(
    context: &Context,
    letter: &ReplayLetter,
    (original, edited): (&str, &str),
    pointer: &str,
) -> bool {
    let (Ok(original), Ok(mut edited)) = (exact_json::read(original), exact_json::read(edited))
    else {
        return false;
    };
    let (Some(was), Some(is)) = (original.pointer(pointer), edited.pointer_mut(pointer)) else {
        return false;
    };
    is.clone_from(was);
    let edited = exact_json::write(&edited);
    let vendors = context.vendors.get();
    let judged = validate(context, &vendors.mappings, letter, &edited).map(drop);
    judged.is_err_and(|rejection| rejection.pointer.as_deref() == Some(pointer))
}

/// A rejection that names the dead letter.
pub(super) fn of_letter(id: i64, refusal: RecoveryError) -> RecoveryError {
    match refusal {
        RecoveryError::StillBroken(Rejection {
            code,
            pointer,
            detail,
        }) => RecoveryError::StillBroken(Rejection::new(
            code,
            pointer,
            format!("dead letter {id}: {detail}"),
        )),
        other => other,
    }
}

/// What a patch cannot be applied to.
pub(super) fn not_json(id: i64, error: &serde_json::Error) -> RecoveryError {
    RecoveryError::StillBroken(Rejection::new(
        RejectionCode::NotJson,
        None,
        format!(
            "the value of dead letter {id} is not JSON, so it cannot be patched: {error}; edit it alone"
        ),
    ))
}
