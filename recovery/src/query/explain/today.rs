//! What today's checks say of what a replay would send.

use super::{Case, SHOWN, plain};
use crate::context::Context;
use crate::envelope::rfc3339;
use crate::error::RecoveryError;
use crate::persistence_views;
use contracts::avro::datum::Event;
use contracts::avro::framing;
use contracts::pipeline::{Offsets, Stage, Values};
use runtime::registry::RegistryError;
use sha2::{Digest, Sha256};

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
    Ok(match stage.values {
        Values::Raw => match context.contracts.validate(value) {
            Ok(event) => Today::passes(format!(
                "{whose} meets its contract ({}) now",
                event.contract().event_type
            )),
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
        },
        Values::Avro => datum(context, case, stage, value, whose).await?,
    })
}

async fn datum(
    context: &Context,
    case: &Case,
    stage: &Stage,
    value: &[u8],
    whose: &str,
) -> Result<Today, RecoveryError> {
    let (schema_id, datum) = match framing::unframe(value) {
        Ok(framed) => framed,
        Err(rejection) => {
            return Ok(Today::fails(format!(
                "{whose} still fails with bad_frame: {}",
                rejection.detail
            )));
        }
    };
    let decoder = context.registry.lock().await.decoder(schema_id).await;
    let decoder = match decoder {
        Ok(decoder) => decoder,
        Err(error @ RegistryError::Unavailable(_)) => {
            return Ok(Today::unknown(format!("not checked: {error}")));
        }
        Err(error @ (RegistryError::UnknownId(_) | RegistryError::Unusable { .. })) => {
            return Ok(Today::fails(format!(
                "{whose} still fails with unknown_schema_id: {error}"
            )));
        }
    };
    let event = match decoder.decode(datum) {
        Ok(event) => event,
        Err(error) => {
            return Ok(Today::fails(format!(
                "{whose} still fails with bad_datum: {error}"
            )));
        }
    };
    if stage.offsets == Offsets::Kafka {
        return Ok(Today::unknown(format!(
            "{whose} can be read; only a replay shows whether {} takes it",
            stage.name
        )));
    }
    against_the_row(context, case, &event, &Sha256::digest(datum), whose).await
}

/// Whether the event's id is stored, and with what.
async fn against_the_row(
    context: &Context,
    case: &Case,
    event: &Event<'_>,
    content_hash: &[u8],
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
    let source = if case.source.is_empty() {
        event.source
    } else {
        &case.source
    };
    let stored: Option<StoredContent> = sqlx::query_as(persistence_views::STORED_CONTENT)
        .bind(event.event_id)
        .bind(source)
        .fetch_optional(&context.pool)
        .await?;
    let Some(stored) = stored else {
        return Ok(is_free());
    };
    let StoredContent {
        raw_partition,
        raw_offset,
        ref stored_at,
        ..
    } = stored;
    if (raw_partition, raw_offset) == (case.origin_partition, case.origin_offset) {
        return Ok(Today::passes(format!(
            "{whose} was stored at {stored_at}, from this same raw record"
        )));
    }
    if stored.content_hash == content_hash {
        return Ok(Today::passes(format!(
            "{whose} has the stored content: a replay would be a duplicate of raw record {raw_partition}:{raw_offset}"
        )));
    }
    let differences = differences(&stored, event);
    let words = format!(
        "{whose} still fails with conflict: raw record {raw_partition}:{raw_offset} is stored since {stored_at}. Different: {differences}"
    );
    Ok(Today::fails(plain(&words, SHOWN * 5)))
}

/// The row an event's id has.
#[derive(sqlx::FromRow)]
struct StoredContent {
    content_hash: Vec<u8>,
    raw_partition: i32,
    raw_offset: i64,
    stored_at: String,
    event_type: Option<String>,
    schema_version: Option<String>,
    payload: String,
    occurred_at_micros: Option<i64>,
}

/// Fields whose stored value is another than the event's.
fn differences(stored: &StoredContent, event: &Event<'_>) -> String {
    let mut differences = Vec::new();
    let mut compare = |field: &str, stored: Option<String>, here: Option<String>| {
        if stored != here {
            let show = |value: Option<String>| {
                value.map_or_else(|| "nothing".to_owned(), |value| plain(&value, 60))
            };
            differences.push(format!(
                "{field}: stored {}, here {}",
                show(stored),
                show(here)
            ));
        }
    };
    compare(
        "event_type",
        stored.event_type.clone(),
        Some(event.event_type.to_owned()),
    );
    compare(
        "schema_version",
        stored.schema_version.clone(),
        Some(event.schema_version.to_string()),
    );
    let time = |micros: i64| rfc3339(micros).unwrap_or_else(|| micros.to_string());
    compare(
        "timestamp",
        stored.occurred_at_micros.map(time),
        Some(time(event.occurred_at_micros)),
    );
    let fields = |json: &str| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).unwrap_or_default()
    };
    let (stored, here) = (fields(&stored.payload), fields(&event.payload_json));
    let names: std::collections::BTreeSet<&String> = stored.keys().chain(here.keys()).collect();
    for name in names {
        let text = |value: Option<&serde_json::Value>| value.map(ToString::to_string);
        compare(
            &format!("payload.{}", plain(name, 60)),
            text(stored.get(name)),
            text(here.get(name)),
        );
    }
    if differences.is_empty() {
        "fields that are not stored".to_owned()
    } else {
        differences.join("; ")
    }
}
