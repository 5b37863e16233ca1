//! Statements of the search for events. Every value is bound, never spliced.

use crate::model::EventFate;
use crate::query::events::{Conditions, Window};
use sqlx::{Postgres, QueryBuilder};

macro_rules! newest {
    ($stored:literal) => {
        concat!(
            "SELECT p, last FROM (SELECT generate_series(0, $2 - 1) AS p UNION SELECT partition FROM audit_frontier WHERE topic = $1) partitions
             CROSS JOIN LATERAL (SELECT greatest(",
            $stored,
            " (SELECT max(origin_offset) FROM dead_letters WHERE origin_topic = $1 AND origin_partition = p AND origin_group = '')) AS last) newest
             WHERE last IS NOT NULL ORDER BY p"
        )
    };
}

/// The newest offset of each partition of the raw topic ($1) that has a fate; of at least so many partitions ($2).
pub(crate) const NEWEST: &str = newest!(
    "(SELECT max(raw_offset) FROM persistence.stored_events WHERE raw_partition = p),
     (SELECT max(raw_offset) FROM persistence.duplicate_deliveries WHERE raw_partition = p),
     (SELECT max(raw_offset) FROM persistence.filtered_events WHERE raw_partition = p),"
);
/// The same where persistence has never run.
pub(crate) const NEWEST_WITHOUT: &str = newest!("");
/// The same of a topic that was created again: as far as the audit has seen it.
pub(crate) const NEWEST_OF_EPOCH: &str = "SELECT partition, high - 1 FROM audit_frontier WHERE topic = $1 AND partition >= 0 AND $2 > 0 AND high > 0";

/// When the first record that is stored in each window (partitions $1, from $2 to $3, of epoch $4) was received.
pub(crate) const OLDEST: &str =
    "SELECT w.p, coalesce(e.received_at, e.stored_at) FROM UNNEST($1::integer[], $2::bigint[], $3::bigint[]) AS w (p, lo, hi)
     LEFT JOIN LATERAL (SELECT received_at, stored_at FROM persistence.stored_events
         WHERE raw_partition = w.p AND raw_offset >= w.lo AND raw_offset < w.hi AND raw_epoch = $4 ORDER BY raw_offset LIMIT 1) e ON true";

/// What is stored at a raw position ($1 to $3).
pub(crate) const ROW_AT: &str =
    "SELECT source, event_id, event_type, contract, entity_key, occurred_at, received_at, stored_at, amount::text AS amount, currency,
            schema_id, secret_id, trace_id, edited_by, payload::text AS payload
     FROM persistence.stored_events WHERE raw_partition = $1 AND raw_offset = $2 AND raw_epoch = $3 LIMIT 1";

/// What a fate is read from: its table, and its columns as those of one event.
struct From {
    columns: &'static str,
    table: &'static str,
    /// Its coordinates
    partition: &'static str,
    offset: &'static str,
    received: &'static str,
    source: &'static str,
    event_type: Option<&'static str>,
    /// Which ids it has
    ids: &'static [&'static str],
}

fn from(fate: EventFate) -> From {
    match fate {
        EventFate::Stored => From {
            columns: "raw_epoch, raw_partition, raw_offset, received_at, stored_at AS settled_at, 'stored' AS fate, source, event_type,
                      event_id, entity_key, trace_id, NULL::bigint AS letter, NULL::text AS why",
            table: "persistence.stored_events",
            partition: "raw_partition",
            offset: "raw_offset",
            received: "coalesce(received_at, stored_at)",
            source: "source",
            event_type: Some("event_type"),
            ids: &["event_id", "entity_key", "trace_id"],
        },
        EventFate::Duplicate => From {
            columns: "raw_epoch, raw_partition, raw_offset, received_at, seen_at AS settled_at, 'duplicate' AS fate, source,
                      NULL::text AS event_type, event_id, NULL::text AS entity_key, NULL::text AS trace_id, NULL::bigint AS letter,
                      NULL::text AS why",
            table: "persistence.duplicate_deliveries",
            partition: "raw_partition",
            offset: "raw_offset",
            received: "coalesce(received_at, seen_at)",
            source: "source",
            event_type: None,
            ids: &["event_id"],
        },
        EventFate::Filtered => From {
            columns: "raw_epoch, raw_partition, raw_offset, received_at, seen_at AS settled_at, 'filtered' AS fate, source, event_type,
                      event_id, NULL::text AS entity_key, NULL::text AS trace_id, NULL::bigint AS letter, rule AS why",
            table: "persistence.filtered_events",
            partition: "raw_partition",
            offset: "raw_offset",
            received: "coalesce(received_at, seen_at)",
            source: "source",
            event_type: Some("event_type"),
            ids: &["event_id"],
        },
        // A resolved one is its row.
        EventFate::DeadLettered => From {
            columns: "substr(d.origin_topic, 1 + length($1)) AS raw_epoch, d.origin_partition AS raw_partition, d.origin_offset AS raw_offset,
                      d.received_at, d.last_failed_at AS settled_at, 'dead_lettered (' || d.state || ')' AS fate, g.source,
                      nullif(g.event_type, '') AS event_type, d.event_id, d.entity_key, d.trace_id, d.id AS letter, g.code AS why",
            table: "dead_letters d JOIN groups g ON g.id = d.group_id AND d.origin_group = '' AND d.state <> 'resolved'",
            partition: "d.origin_partition",
            offset: "d.origin_offset",
            received: "coalesce(d.received_at, d.last_failed_at)",
            source: "g.source",
            event_type: Some("g.event_type"),
            ids: &["d.event_id", "d.entity_key", "d.trace_id"],
        },
    }
}

/// Of each window, the newest that match.
pub(crate) fn in_windows(
    fate: EventFate,
    windows: &[Window],
    conditions: &Conditions<'_>,
    limit: usize,
    raw: &str,
) -> QueryBuilder<Postgres> {
    let from = from(fate);
    let epoch = windows.first().map_or("", |window| window.epoch.as_str());
    let column = |of: fn(&Window) -> i64| windows.iter().map(of).collect::<Vec<i64>>();
    let partitions: Vec<i32> = windows.iter().map(|window| window.partition).collect();
    // The name of the topic is $1, which the columns of dead letters take it from.
    let mut query = QueryBuilder::new("WITH raw AS (SELECT ");
    query
        .push_bind(raw.to_owned())
        .push("::text AS topic) SELECT c.* FROM UNNEST(");
    query.push_bind(partitions).push("::integer[], ");
    query
        .push_bind(column(|window| window.from))
        .push("::bigint[], ");
    query
        .push_bind(column(|window| window.to))
        .push("::bigint[]) AS w (p, lo, hi) CROSS JOIN LATERAL (SELECT ");
    query.push(from.columns).push(" FROM ").push(from.table);
    query
        .push(" WHERE ")
        .push(from.partition)
        .push(" = w.p AND ")
        .push(from.offset)
        .push(" >= w.lo AND ");
    query.push(from.offset).push(" < w.hi AND ");
    of_epoch(&mut query, fate, raw, epoch);
    push(&mut query, &from, conditions);
    query
        .push(" ORDER BY ")
        .push(from.offset)
        .push(" DESC LIMIT ");
    query
        .push_bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .push(") c");
    query
}

/// The newest that have this id in this column; none for a fate that does not keep it.
pub(crate) fn by_id(
    fate: EventFate,
    column: &str,
    id: &str,
    conditions: &Conditions<'_>,
    limit: usize,
    raw: &str,
) -> Option<QueryBuilder<Postgres>> {
    let from = from(fate);
    let column = from
        .ids
        .iter()
        .find(|name| name.rsplit('.').next() == Some(column))?;
    let mut query = QueryBuilder::new("WITH raw AS (SELECT ");
    query
        .push_bind(raw.to_owned())
        .push("::text AS topic) SELECT ");
    query.push(from.columns).push(" FROM ").push(from.table);
    query
        .push(" WHERE ")
        .push(*column)
        .push(" = ")
        .push_bind(id.to_owned());
    if fate == EventFate::Stored && *column == "event_id" {
        query.push(" COLLATE \"C\"");
    }
    if fate == EventFate::DeadLettered {
        query.push(" AND starts_with(d.origin_topic, $1)");
    }
    push(&mut query, &from, conditions);
    query
        .push(" ORDER BY ")
        .push(from.received)
        .push(" DESC LIMIT ");
    query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    Some(query)
}

fn of_epoch(query: &mut QueryBuilder<Postgres>, fate: EventFate, raw: &str, epoch: &str) {
    match fate {
        EventFate::DeadLettered => {
            query
                .push("d.origin_topic = ")
                .push_bind(format!("{raw}{epoch}"));
        }
        EventFate::Stored | EventFate::Duplicate | EventFate::Filtered => {
            query.push("raw_epoch = ").push_bind(epoch.to_owned());
        }
    }
}

/// What the filter says of what it knows.
fn push(query: &mut QueryBuilder<Postgres>, from: &From, conditions: &Conditions<'_>) {
    let filter = conditions.filter;
    let lists = [
        (Some(from.source), &filter.source),
        (from.event_type, &filter.event_type),
    ];
    for (column, values) in lists {
        if let (Some(column), false) = (column, values.is_empty()) {
            query
                .push(" AND ")
                .push(column)
                .push(" = ANY(")
                .push_bind(values.clone())
                .push(")");
        }
    }
    if let Some(since) = filter.since {
        query
            .push(" AND ")
            .push(from.received)
            .push(" >= ")
            .push_bind(since);
    }
    if let Some(until) = filter.until {
        query
            .push(" AND ")
            .push(from.received)
            .push(" < ")
            .push_bind(until);
    }
    for field in &conditions.fields {
        query
            .push(" AND payload @> ANY(")
            .push_bind(field.clone())
            .push("::jsonb[])");
    }
}
