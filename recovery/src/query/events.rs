//! Accepted events, searched: each raw record with its fate, the newest first.
//!
//! No index beyond those that storing and the audit need, since every row would pay for it. Rows, further deliveries, filtered events and
//! dead letters all have one by raw coordinates, and in a partition offsets are the order of receipt. So a page goes back from the newest
//! offset of each partition ([`window`]) and merges the partitions by time ([`merge`]). Filters look at a bounded number of offsets a page;
//! how far that was is said, and the next page goes on from there. An id is looked up by its own index, over all time.
//!
//! Of a raw topic that was deleted and created again, the list has the records of the new one; ids find those of the old one too.

mod curl;
mod detail;
mod field;
mod merge;
mod window;

pub use detail::detail;

use super::select;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EventFate, EventFilter, EventPage, EventSummary, Time, TraceFate};
use crate::persistence_views::{self, search};
use field::contained;
use sqlx::{FromRow, PgConnection};
use store::row::RawPosition;
pub(crate) use window::Window;

/// Events of a page, unless asked; and at most.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;
/// Most values of one filter.
const VALUES: usize = 50;
/// Longest value, in bytes.
const VALUE_BYTES: usize = 1024;

/// What was found at one raw position.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct FoundEvent {
    #[sqlx(flatten)]
    raw: RawPosition,
    received_at: Option<Time>,
    settled_at: Time,
    /// As [`TraceFate`] is written
    fate: String,
    source: String,
    event_type: Option<String>,
    event_id: Option<String>,
    entity_key: Option<String>,
    trace_id: Option<String>,
    letter: Option<i64>,
    why: Option<String>,
}

impl FoundEvent {
    fn at(&self) -> Time {
        self.received_at.unwrap_or(self.settled_at)
    }

    fn summary(self) -> Result<EventSummary, RecoveryError> {
        let fate: Result<TraceFate, String> = self.fate.clone().try_into();
        Ok(EventSummary {
            raw: self.raw.to_string(),
            at: self.at(),
            settled_at: self.settled_at,
            fate: fate.map_err(RecoveryError::Unavailable)?,
            source: self.source,
            event_type: self.event_type,
            event_id: self.event_id,
            entity_key: self.entity_key,
            trace_id: self.trace_id,
            letter: self.letter,
            why: self.why,
        })
    }
}

/// A filter that was checked.
pub(crate) struct Conditions<'f> {
    pub(crate) filter: &'f EventFilter,
    /// For each field, the JSON one of which the payload must contain
    pub(crate) fields: Vec<Vec<String>>,
}

impl<'f> Conditions<'f> {
    fn of(filter: &'f EventFilter) -> Result<Self, RecoveryError> {
        let texts = filter.source.iter().chain(&filter.event_type);
        let texts = texts.chain(&filter.field).chain(&filter.q);
        for text in texts {
            if text.len() > VALUE_BYTES || text.contains('\0') {
                let problem =
                    format!("a value of a filter has at most {VALUE_BYTES} bytes, and no NUL");
                return Err(RecoveryError::Invalid(problem));
            }
        }
        let most = [
            filter.source.len(),
            filter.event_type.len(),
            filter.field.len(),
        ];
        if most.into_iter().any(|many| many > VALUES) {
            let problem = format!("a filter has at most {VALUES} values");
            return Err(RecoveryError::Invalid(problem));
        }
        let fields: Result<_, _> = filter.field.iter().map(|text| contained(text)).collect();
        Ok(Self {
            filter,
            fields: fields?,
        })
    }

    /// Whether events of this fate can match.
    pub(crate) fn wants(&self, fate: EventFate) -> bool {
        let filter = self.filter;
        let asked = filter.fate.is_empty() || filter.fate.contains(&fate);
        let knows = match fate {
            EventFate::Stored => true,
            EventFate::Duplicate => self.fields.is_empty() && filter.event_type.is_empty(),
            EventFate::Filtered | EventFate::DeadLettered => self.fields.is_empty(),
        };
        asked && knows
    }
}

/// A page of events, the newest first; `before` is the former page's `next`.
///
/// # Errors
/// [`RecoveryError`]
pub async fn events(
    context: &Context,
    filter: &EventFilter,
    before: Option<&str>,
) -> Result<EventPage, RecoveryError> {
    let conditions = Conditions::of(filter)?;
    let limit = filter.limit.unwrap_or(PAGE).min(MAX_PAGE) as usize;
    let stored = persistence_views::is_there(&context.pool).await?;
    if let Some(id) = filter
        .q
        .as_deref()
        .map(str::trim)
        .filter(|id| !id.is_empty())
    {
        return by_id(context, &conditions, id, stored, limit).await;
    }
    let windows = match before {
        Some(before) => Window::parse(before)?,
        None => window::newest(context, stored).await?,
    };
    let windows = window::bounded(context, filter, windows).await?;
    let mut connection = context.pool.acquire().await?;
    let mut found = Vec::new();
    for fate in EventFate::ALL
        .iter()
        .copied()
        .filter(|fate| conditions.wants(*fate))
    {
        if stored || fate == EventFate::DeadLettered {
            let query =
                search::in_windows(fate, &windows, &conditions, limit, &context.pipeline.raw);
            found.extend(select::along_an_index::<FoundEvent>(&mut connection, query).await?);
        }
    }
    let oldest = window::oldest(&mut connection, &windows, &found, limit, stored).await?;
    drop(connection);
    merge::page(windows, found, &oldest, limit)
}

/// Whatever has this id, by its index: all of it, up to the limit.
async fn by_id(
    context: &Context,
    conditions: &Conditions<'_>,
    id: &str,
    stored: bool,
    limit: usize,
) -> Result<EventPage, RecoveryError> {
    let mut connection = context.pool.acquire().await?;
    let mut found: Vec<FoundEvent> = Vec::new();
    for fate in EventFate::ALL
        .iter()
        .copied()
        .filter(|fate| conditions.wants(*fate))
    {
        if stored || fate == EventFate::DeadLettered {
            found.extend(of_id(&mut connection, fate, conditions, id, limit, context).await?);
        }
    }
    drop(connection);
    // One that is found by two of its ids is one.
    found.sort_by(|one, other| {
        other
            .at()
            .cmp(&one.at())
            .then_with(|| one.raw.cmp(&other.raw))
    });
    found.dedup_by(|one, other| one.raw == other.raw && one.fate == other.fate);
    found.truncate(limit);
    let events: Result<_, _> = found.into_iter().map(FoundEvent::summary).collect();
    Ok(EventPage {
        events: events?,
        next: None,
        searched_to: None,
    })
}

async fn of_id(
    connection: &mut PgConnection,
    fate: EventFate,
    conditions: &Conditions<'_>,
    id: &str,
    limit: usize,
    context: &Context,
) -> Result<Vec<FoundEvent>, RecoveryError> {
    let trace_id =
        runtime::traceparent::trace_id(id).map_or_else(|| id.to_ascii_lowercase(), str::to_owned);
    let mut found = Vec::new();
    for (column, id) in [
        ("event_id", id),
        ("entity_key", id),
        ("trace_id", &trace_id),
    ] {
        let Some(query) = search::by_id(fate, column, id, conditions, limit, &context.pipeline.raw)
        else {
            continue;
        };
        found.extend(select::with_timeout::<FoundEvent>(connection, query).await?);
    }
    Ok(found)
}
