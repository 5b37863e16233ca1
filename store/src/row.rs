//! The row of an event: made from a record, and inserted. Whoever stores rows, or tries whether they could be stored, uses this one.
//!
//! A new column is one line in [`columns`] and a migration of the role that owns the table.

use contracts::avro::datum::Event;
use contracts::kafka::headers;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use std::sync::Arc;
use time::OffsetDateTime;

/// Partition and offset in the topic of raw events.
pub type RawPosition = (i32, i64);

/// A validated event, ready to be a row of the table `events`. Borrowed from the record it was made of.
#[derive(Debug)]
pub struct EventRow<'a> {
    /// Name of the source, by header, else as the event says
    pub source: &'a str,
    /// The record's key; `None` when it is null or not UTF-8
    pub entity_key: Option<&'a str>,
    /// When the edge received it
    pub received_at: Option<OffsetDateTime>,
    /// When it happened, as the event says
    pub occurred_at: OffsetDateTime,
    secret_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    schema_id: i32,
    /// SHA-256 of the event's Avro: the same content has the same
    pub content_hash: [u8; 32],
    /// The raw record it was made from
    pub raw: RawPosition,
    /// It came by a replay, of whichever stage
    pub replayed: bool,
    /// Edited before its replay: its content need not be that of its raw record
    pub edited: bool,
    /// What the event says
    pub event: Event<'a>,
}

impl<'a> EventRow<'a> {
    /// Makes the row of a record from its parts; `raw` are the coordinates its `ef.raw` header names, `datum` is the event's Avro.
    ///
    /// # Errors
    /// What cannot be a row: a raw record that is not named, or a time no calendar has.
    pub fn new(
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        key: Option<&'a [u8]>,
        raw: Option<RawPosition>,
        schema_id: i32,
        datum: &[u8],
        event: Event<'a>,
    ) -> Result<Self, &'static str> {
        let (mut source, mut received_at, mut secret_id, mut trace_id) =
            (event.source, None, None, None);
        let (mut replayed, mut edited) = (false, false);
        // One walk: looking a header up by its name walks them all.
        for (name, value) in headers {
            match (
                name,
                value.and_then(|bytes| std::str::from_utf8(bytes).ok()),
            ) {
                (headers::SOURCE, Some(text)) => source = text,
                (headers::RECEIVED_AT, Some(text)) => {
                    received_at = text.parse().ok().and_then(time_of_micros);
                }
                (headers::SECRET_ID, Some(text)) => secret_id = Some(text),
                (headers::TRACEPARENT, Some(text)) => {
                    trace_id = runtime::traceparent::trace_id(text);
                }
                (headers::REPLAY_ID | headers::REPLAY_COUNT, _) => replayed = true,
                (headers::EDITED_BY, _) => (replayed, edited) = (true, true),
                (_, _) => {}
            }
        }
        Ok(Self {
            source,
            // A key that is no text PostgreSQL stores is no reason to refuse the row: it only cannot be found by it.
            entity_key: key
                .and_then(|key| std::str::from_utf8(key).ok())
                .filter(|key| !key.contains('\0')),
            received_at,
            occurred_at: time_of_micros(event.occurred_at_micros)
                .ok_or("its timestamp is outside the years that can be stored")?,
            secret_id,
            trace_id,
            schema_id,
            content_hash: Sha256::digest(datum).into(),
            raw: raw.ok_or("its ef.raw header names no raw record")?,
            replayed,
            edited,
            event,
        })
    }

    /// Source and event id: what there is one row of.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (self.source.to_owned(), self.event.event_id.to_owned())
    }

    /// Seconds from the edge's receipt until `now`, when the edge recorded it.
    #[must_use]
    pub fn age_seconds(&self, now: OffsetDateTime) -> Option<f64> {
        self.received_at
            .map(|received| (now - received).as_seconds_f64().max(0.0))
    }
}

fn time_of_micros(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}

/// A column the insert fills.
struct Column {
    name: &'static str,
    /// Type of the values as they are sent
    sent: &'static str,
    /// Type it has in the table
    kept: &'static str,
    /// `NOT NULL`, or empty
    required: &'static str,
}

macro_rules! columns {
    ($($name:ident: $sent:ident => $kept:ident $($not:ident $null:ident)?, |$row:ident| $value:expr;)+) => {
        const COLUMNS: &[Column] = &[$(Column {
            name: stringify!($name),
            sent: stringify!($sent),
            kept: stringify!($kept),
            required: concat!($(stringify!($not), " ", stringify!($null))?),
        }),+];

        fn bind<'q>(statement: &Arc<str>, rows: &[&EventRow<'_>]) -> Query<'q, Postgres, PgArguments> {
            sqlx::query(AssertSqlSafe(Arc::clone(statement)))
                $(.bind(rows.iter().map(|$row| $value).collect::<Vec<_>>()))+
        }
    };
}

columns! {
    source: text => text NOT NULL, |row| row.source;
    event_id: text => text NOT NULL, |row| row.event.event_id;
    event_type: text => text NOT NULL, |row| row.event.event_type;
    schema_version: text => text NOT NULL, |row| &*row.event.schema_version;
    entity_key: text => text, |row| row.entity_key;
    occurred_at: timestamptz => timestamptz NOT NULL, |row| row.occurred_at;
    received_at: timestamptz => timestamptz, |row| row.received_at;
    amount: text => numeric, |row| row.event.amount.as_deref();
    currency: text => text, |row| row.event.currency.as_deref();
    payload: text => jsonb NOT NULL, |row| row.event.payload_json.as_str();
    content_hash: bytea => bytea NOT NULL, |row| row.content_hash.as_slice();
    schema_id: integer => integer NOT NULL, |row| row.schema_id;
    secret_id: text => text, |row| row.secret_id;
    trace_id: text => text, |row| row.trace_id;
    raw_partition: integer => integer NOT NULL, |row| row.raw.0;
    raw_offset: bigint => bigint NOT NULL, |row| row.raw.1;
}

/// Inserts rows into a table, all in one statement; rows whose (source, event id) is there already are left out.
#[derive(Debug, Clone)]
pub struct Insert(Arc<str>);

impl Insert {
    /// Into this table, which has the columns and a unique index on (source, event id).
    #[must_use]
    pub fn into_table(table: &'static str) -> Self {
        let list = |text: &dyn Fn(usize, &Column) -> String| {
            let all = COLUMNS.iter().enumerate();
            all.map(|(index, column)| text(index, column))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let names = list(&|_, column| column.name.to_owned());
        let values = list(&|_, column| match column.sent == column.kept {
            true => column.name.to_owned(),
            false => format!("{}::{}", column.name, column.kept),
        });
        let arrays = list(&|index, column| format!("${}::{}[]", index + 1, column.sent));
        let statement = format!(
            "INSERT INTO {table} ({names}) SELECT {values} FROM UNNEST({arrays}) AS batch ({names}) \
             ON CONFLICT (source, event_id) DO NOTHING"
        );
        Self(statement.into())
    }

    /// Answers how many rows were inserted.
    ///
    /// # Errors
    /// Those of the statement: one row PostgreSQL refuses refuses all ([`crate::bisect`] finds it).
    pub async fn run(
        &self,
        connection: &mut PgConnection,
        rows: &[&EventRow<'_>],
    ) -> Result<usize, sqlx::Error> {
        let inserted = bind(&self.0, rows).execute(connection).await?;
        Ok(usize::try_from(inserted.rows_affected()).unwrap_or(usize::MAX))
    }
}

/// Definitions of the columns, for a table made where the role that owns the real one has never run.
pub(crate) fn definitions() -> String {
    let define = |column: &Column| {
        let Column {
            name,
            kept,
            required,
            ..
        } = column;
        format!("{name} {kept} {required}").trim_end().to_owned()
    };
    COLUMNS.iter().map(define).collect::<Vec<_>>().join(", ")
}
