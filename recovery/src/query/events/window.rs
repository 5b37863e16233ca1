//! Which offsets of each partition a page looks at.

use super::FoundEvent;
use crate::audit;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EventFilter, Time};
use crate::persistence_views::search;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Offsets of a partition that one page looks at.
const LOOKED_AT: i64 = 20_000;
/// Most partitions of a cursor.
const PARTITIONS: usize = 10_000;

/// A range of offsets of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) partition: i32,
    /// Which topic of that name
    pub(crate) epoch: String,
    /// The first of this page
    pub(crate) from: i64,
    /// Before this one
    pub(crate) to: i64,
    /// The first that can match at all
    pub(crate) first: i64,
}

impl Window {
    fn new(partition: i32, epoch: &str, to: i64) -> Self {
        Self {
            partition,
            epoch: epoch.to_owned(),
            from: 0,
            to,
            first: 0,
        }
    }

    /// Whether nothing is left behind it.
    pub(super) fn is_last(&self) -> bool {
        self.from <= self.first
    }

    /// Of a page's `next`: `0:123,1:456@topic`.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, RecoveryError> {
        let parts: Vec<&str> = text.split(',').collect();
        let window = |part: &&str| {
            let (partition, rest) = part.split_once(':')?;
            let (to, epoch) = match rest.find('@') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            let (partition, to): (i32, i64) = (partition.parse().ok()?, to.parse().ok()?);
            let legal = partition >= 0 && to >= 0 && epoch.len() <= 100 && !epoch.contains('\0');
            legal.then(|| Self::new(partition, epoch, to))
        };
        let windows: Option<Vec<Self>> = parts.iter().map(window).collect();
        windows
            .filter(|windows| windows.len() <= PARTITIONS)
            .ok_or_else(|| {
                RecoveryError::Invalid("before: expected the next of a former page".to_owned())
            })
    }
}

/// As [`Window::parse`] reads it; none when nothing is left.
pub(super) fn cursor(left: &[(Window, i64)]) -> Option<String> {
    let part = |(window, to): &(Window, i64)| {
        let Window {
            partition, epoch, ..
        } = window;
        format!("{partition}:{to}{epoch}")
    };
    let parts: Vec<String> = left.iter().map(part).collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Every partition of the raw topic, from its newest record that has a fate.
pub(super) async fn newest(context: &Context, stored: bool) -> Result<Vec<Window>, RecoveryError> {
    let raw = &context.pipeline.raw;
    let topic = audit::topic_now(context).await?;
    let epoch = topic.strip_prefix(raw.as_str()).unwrap_or_default();
    let known = context
        .pipeline
        .topics
        .get(raw)
        .map_or(1, |topic| topic.partitions);
    let statement = match (epoch, stored) {
        // Offsets of the topic that had the name before would be taken for these: as far as the audit has seen the new one.
        ("", true) => search::NEWEST,
        ("", false) => search::NEWEST_WITHOUT,
        (_, _) => search::NEWEST_OF_EPOCH,
    };
    let newest: Vec<(i32, i64)> = sqlx::query_as(statement)
        .bind(&topic)
        .bind(known)
        .fetch_all(&context.pool)
        .await?;
    let window = |(partition, last): (i32, i64)| Window::new(partition, epoch, last + 1);
    Ok(newest.into_iter().map(window).collect())
}

/// Narrowed to a time range, as far as the audit's checkpoints know offsets of then, and to what one page looks at.
pub(super) async fn bounded(
    context: &Context,
    filter: &EventFilter,
    windows: Vec<Window>,
) -> Result<Vec<Window>, RecoveryError> {
    let raw = &context.pipeline.raw;
    let Some(epoch) = windows.first().map(|window| window.epoch.clone()) else {
        return Ok(windows);
    };
    let topic = format!("{raw}{epoch}");
    let since = audit::ends_before(context, &topic, filter.since).await?;
    let until = audit::ends_after(context, &topic, filter.until).await?;
    let of = |ends: &Option<BTreeMap<i32, i64>>, partition: i32| {
        ends.as_ref().and_then(|ends| ends.get(&partition)).copied()
    };
    let bounded = windows.into_iter().map(|window| {
        let first = of(&since, window.partition).unwrap_or(0);
        let to = of(&until, window.partition).map_or(window.to, |end| end.min(window.to));
        Window {
            from: (to - LOOKED_AT).max(first),
            to,
            first,
            ..window
        }
    });
    Ok(bounded.filter(|window| window.to > window.first).collect())
}

/// Of each partition that is not looked at to its end, and of which less was found than a page holds: when the first record of the window
/// was received. What is older there may be newer than what was found in others.
pub(super) async fn oldest(
    connection: &mut PgConnection,
    windows: &[Window],
    found: &[FoundEvent],
    limit: usize,
    stored: bool,
) -> Result<BTreeMap<i32, Option<Time>>, RecoveryError> {
    let mut many: BTreeMap<i32, usize> = BTreeMap::new();
    for event in found {
        *many.entry(event.raw.partition).or_default() += 1;
    }
    let open = windows.iter().filter(|window| {
        let found = many.get(&window.partition).copied().unwrap_or(0);
        !window.is_last() && found < limit
    });
    let open: Vec<&Window> = open.collect();
    let mut oldest: BTreeMap<i32, Option<Time>> =
        open.iter().map(|window| (window.partition, None)).collect();
    if stored && !open.is_empty() {
        let times: Vec<(i32, Option<Time>)> = sqlx::query_as(search::OLDEST)
            .bind(
                open.iter()
                    .map(|window| window.partition)
                    .collect::<Vec<_>>(),
            )
            .bind(open.iter().map(|window| window.from).collect::<Vec<_>>())
            .bind(open.iter().map(|window| window.to).collect::<Vec<_>>())
            .bind(open[0].epoch.as_str())
            .fetch_all(connection)
            .await?;
        oldest.extend(times);
    }
    Ok(oldest)
}
