//! What today's checks say of what a replay would send.

use super::{Case, SHOWN, plain};
use crate::context::{Checked, Context};
use crate::error::RecoveryError;
use crate::persistence_views;
use contracts::avro::content;
use contracts::avro::datum::Event;
use contracts::pipeline::{Offsets, Stage, Values};
use std::borrow::Cow;
use store::row::RawPosition;

/// What today's checks say.
pub(super) struct Today {
    pub(super) words: String,
    /// None: not known
    pub(super) passes: Option<bool>,
}

impl Today {
    fn passes(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            passes: Some(true),
        }
    }

    fn fails(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            passes: Some(false),
        }
    }

    fn unknown(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            passes: None,
        }
    }
}

pub(super) async fn check(context: &Context, case: &Case) -> Result<Today, RecoveryError> {
    let whose = if case.edited.is_some() {
        "as edited, it"
    } else {
        "it"
    };
    let Some(value) = case.current() else {
        return Ok(match case.value_bytes {
            None => Today::fails("it still fails: the record has no value"),
            Some(bytes) => Today::unknown(format!(
                "not checked: retention dropped its value of {bytes} bytes"
            )),
        });
    };
    let Some(stage) = case.stage_of(&context.pipeline) else {
        return Ok(Today::unknown(
            "not checked: no stage of this pipeline dead-lettered it",
        ));
    };
    if case.not_genuine {
        return Ok(Today::fails(
            "it still fails with unverified: nobody has said that the vendor sent it; eventflow trace says whether it verifies with the secrets of today",
        ));
    }
    Ok(match stage.values {
        Values::Raw => raw(context, case, value, whose)?,
        Values::Avro => datum(context, case, stage, value, whose).await?,
    })
}

fn raw(context: &Context, case: &Case, value: &[u8], whose: &str) -> Result<Today, RecoveryError> {
    let (vendors, headers) = (context.vendors.get(), case.headers()?);
    // What a person edited is JSON, whatever the vendor sends.
    let opened = match case.edited {
        Some(_) => Ok(Cow::Borrowed(value)),
        None => vendors.mappings.open(&headers.as_slice(), value),
    };
    let words = opened.and_then(|opened| {
        let checked = context.validate(&vendors.mappings, headers.as_slice(), &opened)?;
        Ok(match checked {
            Checked::Filtered(rule) => format!(
                "{whose} would be filtered now, by {rule:?} of its source: no row, and no dead letter"
            ),
            Checked::Valid(event) => {
                format!("{whose} meets its contract ({}) now", event.contract().label)
            }
        })
    });
    Ok(match words {
        Ok(words) => Today::passes(words),
        Err(rejection) => {
            let place = rejection
                .pointer
                .map_or_else(String::new, |pointer| format!(" at {pointer}"));
            Today::fails(format!(
                "{whose} still fails with {}{place}: {}",
                rejection.code.code(),
                rejection.detail
            ))
        }
    })
}

async fn datum(
    context: &Context,
    case: &Case,
    stage: &Stage,
    value: &[u8],
    whose: &str,
) -> Result<Today, RecoveryError> {
    let event = match context.decode(value).await {
        Ok(Ok(framed)) => framed.event,
        Ok(Err(rejection)) => {
            return Ok(Today::fails(format!(
                "{whose} still fails with {}: {}",
                rejection.code.code(),
                rejection.detail
            )));
        }
        Err(error) => return Ok(Today::unknown(format!("not checked: {error}"))),
    };
    if stage.offsets == Offsets::Kafka {
        return Ok(Today::unknown(format!(
            "{whose} can be read; only a replay shows whether {} takes it",
            stage.name
        )));
    }
    against_the_row(context, case, &event, whose).await
}

/// Whether the event's id is stored, and with what.
async fn against_the_row(
    context: &Context,
    case: &Case,
    event: &Event<'_>,
    whose: &str,
) -> Result<Today, RecoveryError> {
    let is_free = || match case.code.as_str() {
        "row_refused" => Today::unknown(format!(
            "{whose} can be read, and its event id is not stored; only a replay shows whether PostgreSQL takes the row"
        )),
        _ => Today::passes(format!(
            "{whose} can be read, and its event id is not stored: it would be stored now"
        )),
    };
    if !persistence_views::is_there(&context.pool).await? || event.event_id.contains('\0') {
        return Ok(is_free());
    }
    let stored: Option<StoredContent> = sqlx::query_as(persistence_views::STORED_CONTENT)
        .bind(event.event_id)
        .bind(&case.source)
        .fetch_optional(&context.pool)
        .await?;
    let Some(stored) = stored else {
        return Ok(is_free());
    };
    let StoredContent {
        ref raw,
        ref stored_at,
        ..
    } = stored;
    let topic = crate::raw_topic::name_of(context, &raw.epoch);
    if (topic.as_str(), raw.partition, raw.offset)
        == (
            case.origin_topic.as_str(),
            case.origin_partition,
            case.origin_offset,
        )
    {
        return Ok(Today::passes(format!(
            "{whose} was stored at {stored_at}, from this same raw record"
        )));
    }
    let pointers = content::differences(&stored.event_type, &stored.payload, event);
    if pointers.is_empty() {
        return Ok(Today::passes(format!(
            "{whose} has the stored content: a replay would be a duplicate of raw record {raw}"
        )));
    }
    let differences = shown(&pointers, &stored, event);
    let words = format!(
        "{whose} still fails with conflict: raw record {raw} is stored since {stored_at}. Different: {differences}"
    );
    Ok(Today::fails(plain(&words, SHOWN * 5)))
}

/// The row an event's id has.
#[derive(sqlx::FromRow)]
struct StoredContent {
    #[sqlx(flatten)]
    raw: RawPosition,
    stored_at: String,
    event_type: String,
    payload: String,
}

/// What is stored and what is here, at these pointers.
fn shown(pointers: &[String], stored: &StoredContent, event: &Event<'_>) -> String {
    let envelope = |event_type: &str, payload: &str| serde_json::json!({"event_type": event_type, "payload": serde_json::from_str::<serde_json::Value>(payload).unwrap_or_default()});
    let stored = envelope(&stored.event_type, &stored.payload);
    let here = envelope(event.event_type, &event.payload_json);
    let at = |json: &serde_json::Value, pointer: &str| {
        let value = json.pointer(pointer);
        value.map_or_else(
            || "nothing".to_owned(),
            |value| plain(&value.to_string(), 60),
        )
    };
    let difference = |pointer: &String| {
        format!(
            "{}: stored {}, here {}",
            plain(pointer.trim_start_matches('/'), 60).replace('/', "."),
            at(&stored, pointer),
            at(&here, pointer)
        )
    };
    pointers
        .iter()
        .map(difference)
        .collect::<Vec<_>>()
        .join("; ")
}
