//! Everything about one event, by its raw position.

use super::curl;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EventDetail, Payload, ReceivedRecord};
use crate::persistence_views::{self, search};
use crate::query::payload;
use crate::query::trace::{self, RawBytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use store::row::RawPosition;

/// By `partition:offset`, and `@` and the topic's id where the topic was created again.
///
/// # Errors
/// [`RecoveryError::NotFound`] when it has no fate, or none yet.
pub async fn detail(context: &Context, raw: &str) -> Result<EventDetail, RecoveryError> {
    let position = parse(raw)?;
    let traced = trace::of_raw(context, &position).await?;
    let mut row = None;
    if persistence_views::is_there(&context.pool).await? {
        row = sqlx::query_as(search::ROW_AT)
            .bind(position.partition)
            .bind(position.offset)
            .bind(&position.epoch)
            .fetch_optional(&context.pool)
            .await?;
    }
    Ok(EventDetail {
        raw: position.to_string(),
        timeline: traced.timeline,
        received: traced.bytes.map(received),
        row,
        letters: traced.letters,
    })
}

fn parse(text: &str) -> Result<RawPosition, RecoveryError> {
    let bad = || {
        RecoveryError::Invalid(format!(
            "{:?} is no raw position: expected PARTITION:OFFSET, as eventflow events ls shows it",
            crate::query::plain(text, 100)
        ))
    };
    let (place, epoch) = text.find('@').map_or((text, ""), |at| text.split_at(at));
    let (partition, offset) = place.split_once(':').ok_or_else(bad)?;
    match (partition.parse(), offset.parse()) {
        (Ok(partition), Ok(offset)) if epoch.len() <= 100 => Ok(RawPosition {
            epoch: epoch.to_owned(),
            partition,
            offset,
        }),
        _ => Err(bad()),
    }
}

fn received(bytes: RawBytes) -> ReceivedRecord {
    let RawBytes {
        key,
        headers,
        value,
    } = bytes;
    let text = payload::printable(&value);
    let shown = |value: &Option<Vec<u8>>| value.as_deref().map(payload::readable);
    ReceivedRecord {
        key: shown(&key),
        curl: text.and_then(|body| curl::command(&headers, body)),
        value: match text {
            Some(text) => Payload::Text {
                text: text.to_owned(),
            },
            None => Payload::Binary {
                base64: STANDARD.encode(&value),
            },
        },
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), shown(value)))
            .collect(),
    }
}
