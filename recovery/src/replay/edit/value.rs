//! Between the bytes of a value and the text a person edits.

use crate::context::Context;
use crate::envelope;
use crate::error::RecoveryError;
use crate::replay::runner::replay_letter::ReplayLetter;
use contracts::avro::framing;
use contracts::pipeline::{Stage, Values};
use contracts::{Rejection, RejectionCode};

/// The text of a value: a raw body as it is (what is no UTF-8 is replaced), framed Avro as the envelope it was made from.
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
    if stage_of_avro(context, letter).is_some()
        && let Ok(framed) = context.registry.lock().await.decode(value).await?
    {
        return Ok(envelope::lines(&framed.event));
    }
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// The stage of a dead letter, when it reads framed Avro.
pub(super) fn stage_of_avro<'a>(context: &'a Context, letter: &ReplayLetter) -> Option<&'a Stage> {
    let stage = context.pipeline.stage_of_group(&letter.group)?;
    match stage.values {
        Values::Avro => Some(stage),
        Values::Raw => None,
    }
}

/// The bytes a replay of an edited text sends: checked against its contract; for a stage that reads Avro, encoded and framed again.
pub(super) async fn bytes(
    context: &Context,
    letter: &ReplayLetter,
    text: &str,
) -> Result<Vec<u8>, RecoveryError> {
    let event = context
        .contracts
        .validate(text.as_bytes())
        .map_err(RecoveryError::StillBroken)?;
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
    let fault = context
        .contracts
        .validate(original.as_bytes())
        .err()
        .and_then(|rejection| rejection.pointer);
    let mut names = vec!["event_id"];
    if letter.header(contracts::kafka::headers::SOURCE).is_none() {
        names.push("source");
    }
    for name in names {
        if fault.as_deref() == Some(&format!("/{name}")) {
            continue;
        }
        let Some(known) = field(original, name) else {
            continue;
        };
        if field(edited, name).as_deref() != Some(&known) {
            let shown = crate::audit_log::clean(&known);
            return Err(RecoveryError::Invalid(format!(
                "an edit must not make another event: keep {name} {shown:?} of dead letter {}; if it is another event, \
                 discard this one and have its vendor send it again",
                letter.id
            )));
        }
    }
    Ok(())
}

/// A text field of the envelope that says something.
fn field(text: &str, name: &str) -> Option<String> {
    let document = super::exact_json::read(text).ok()?;
    let value = document.get(name)?.as_str()?;
    (!value.trim().is_empty()).then(|| value.to_owned())
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
