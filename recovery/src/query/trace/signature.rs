//! Who signed it, and whether the stored bytes still carry that signature.

use super::{KAFKA_DEADLINE, RAW_RECORDS};
use crate::context::Context;
use crate::replay::runner::replay_letter::header_map;
use base64::Engine;
use contracts::kafka::headers;
use contracts::webhook::signature::{SignatureError, SignatureVerdict, SignedRequest};
use contracts::webhook::source::{Source, Sources};
use runtime::admin::OwnedRecord;
use std::collections::BTreeMap;
use store::row::RawPosition;

/// Headers in order, as records have them.
pub(super) type KeptHeaders = Vec<(String, Option<Vec<u8>>)>;

/// Raw records that Kafka still has, when this process has Kafka and it answers in time.
pub(super) async fn raw_records(
    context: &Context,
    wanted: Vec<Option<RawPosition>>,
) -> BTreeMap<RawPosition, OwnedRecord> {
    let Some(kafka) = context.kafka.clone() else {
        return BTreeMap::new();
    };
    // What was in a topic of that name before cannot be read any more: its offsets are other records now.
    let Ok(epoch) = crate::raw_topic::current_epoch(context).await else {
        return BTreeMap::new();
    };
    let wanted: Vec<RawPosition> = wanted
        .into_iter()
        .flatten()
        .filter(|raw| raw.epoch == epoch)
        .collect();
    let topic = context.pipeline.raw.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut records = BTreeMap::new();
        for raw in wanted.into_iter().take(RAW_RECORDS) {
            let RawPosition {
                partition, offset, ..
            } = raw;
            match runtime::admin::read_range(
                &kafka,
                &topic,
                partition,
                offset..offset.saturating_add(1),
                1,
            ) {
                Ok((mut found, _)) => {
                    records.extend(found.pop().map(|record| (raw, record)));
                }
                Err(error) => {
                    tracing::warn!(event = "raw_record_not_read", partition, offset, error = %format!("{error:#}"));
                    break;
                }
            }
        }
        records
    });
    match tokio::time::timeout(KAFKA_DEADLINE, reading).await {
        Ok(Ok(records)) => records,
        Ok(Err(_)) | Err(_) => BTreeMap::new(),
    }
}

/// A dead letter's headers, as the index keeps them.
pub(super) fn kept_headers(json: &str) -> KeptHeaders {
    let kept: Vec<(String, serde_json::Value)> = serde_json::from_str(json).unwrap_or_default();
    let bytes = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.into_bytes()),
        serde_json::Value::Object(object) => {
            let text = object.get("base64").and_then(serde_json::Value::as_str)?;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        }
        _ => None,
    };
    kept.into_iter()
        .map(|(name, value)| (name, bytes(value)))
        .collect()
}

/// The header with this name, as text.
pub(super) fn text(headers: &KeptHeaders, name: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(found, _)| found == name)?;
    Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
}

/// Verifies the raw bytes as the edge did, at the time of their receipt, with the secrets of today.
pub(super) fn verify_again(sources: Option<&Sources>, kept: &KeptHeaders, body: &[u8]) -> String {
    if text(kept, headers::BATCH).is_some() {
        return "cannot be verified alone: it came in a batch, and the signature covers the whole batch".to_owned();
    }
    let scheme = text(kept, headers::SCHEME);
    if scheme.as_deref() == Some("api-key") {
        return "there is no signature: it came through /api/ingest, with an API key".to_owned();
    }
    let (Some(name), Some(received)) = (
        text(kept, headers::SOURCE),
        text(kept, headers::RECEIVED_AT).and_then(|text| text.parse::<i64>().ok()),
    ) else {
        return "cannot be verified: its headers do not say who sent it and when".to_owned();
    };
    let Some(sources) = sources else {
        return "not verified again: this role has no sources; give it --sources".to_owned();
    };
    let name = crate::query::plain(&name, 100);
    let Some(source) = sources.get(&name) else {
        return format!("NOT verified: source {name} is not configured today");
    };
    let presented = header_map(kept);
    let now = received.div_euclid(1_000_000);
    if source.verifier.secret_headers().next().is_some() {
        return format!(
            "cannot be verified again: source {name} sends a token, which is a secret and is not kept; nothing of the body is signed"
        );
    }
    let query = text(kept, headers::QUERY);
    let request = SignedRequest {
        query: query.as_deref(),
        ..SignedRequest::post(&presented, body)
    };
    if text(kept, headers::UNPROVEN).is_some() {
        return of_unproven(source, kept, source.verifier.verify(&request, now));
    }
    let was = text(kept, headers::SECRET_ID)
        .map_or_else(|| "unknown".to_owned(), |id| crate::query::plain(&id, 100));
    match source.verifier.verify(&request, now) {
        Ok(verdict) if verdict.secret_id == was => {
            format!("verified: the stored bytes carry the signature of secret {was}")
        }
        Ok(verdict) => {
            format!(
                "verified by secret {}; at the edge the signature matched secret {was}",
                verdict.secret_id
            )
        }
        Err(SignatureError::Mismatch) => format!(
            "NOT verified: no secret that source {name} has today gives this signature; at the edge it was secret {was}. Either that secret was \
             removed since, or these are not the bytes that were signed"
        ),
        Err(
            error @ (SignatureError::MissingHeader
            | SignatureError::DuplicateHeader
            | SignatureError::MalformedHeader
            | SignatureError::TooOld
            | SignatureError::InFuture
            | SignatureError::SecretExpired),
        ) => format!(
            "NOT verified: {error}, judged at its receipt by what source {name} is configured to be today"
        ),
    }
}

/// Of a webhook that was accepted without proof: what the secrets of today say, which may be others than at the edge.
fn of_unproven(
    source: &Source,
    kept: &KeptHeaders,
    today: Result<SignatureVerdict<'_>, SignatureError>,
) -> String {
    let then = text(kept, headers::SIGNATURE_ERROR).map_or_else(
        || "unknown".to_owned(),
        |code| crate::query::plain(&code, 40),
    );
    match today {
        Ok(verdict) => format!(
            "verified by secret {}, which source {} has today; at the edge it was not ({then})",
            verdict.secret_id, source.name
        ),
        Err(error) => format!("NOT verified, as at the edge ({then}): {error}"),
    }
}
