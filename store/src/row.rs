//! The row of an event: made from a record, and inserted. Whoever stores rows, or tries whether they could be stored, uses this one.
//!
//! A new column is one line in [`columns`] and a migration of the role that owns the table.

mod copy;
mod retype;

pub use retype::{Outdone, Retype};

use crate::planted;
use crate::refused::{self, Cell, Refusals};
use contracts::avro::content;
use contracts::avro::datum::Event;
use contracts::kafka::headers::{self, SignedBody};
use contracts::{Rejection, RejectionCode};
use copy::Copy;
use runtime::faults;
use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres};
use std::sync::Arc;
use time::OffsetDateTime;

/// Where a raw record is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, FromRow)]
pub struct RawPosition {
    /// Which topic of that name: empty, or as [`crate::raw_topic`] says
    #[sqlx(rename = "raw_epoch")]
    pub epoch: String,
    /// Its partition
    #[sqlx(rename = "raw_partition")]
    pub partition: i32,
    /// Its offset there
    #[sqlx(rename = "raw_offset")]
    pub offset: i64,
}

impl RawPosition {
    /// In the topic that the database began with.
    #[must_use]
    pub fn new(partition: i32, offset: i64) -> Self {
        Self {
            epoch: String::new(),
            partition,
            offset,
        }
    }

    /// Partition and offset, whichever topic of that name it is.
    #[must_use]
    pub fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }
}

impl std::fmt::Display for RawPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.partition, self.offset, self.epoch)
    }
}

/// A validated event, ready to be a row of the table `events`. Borrowed from the record it was made of.
#[derive(Debug)]
pub struct EventRow<'a> {
    /// Name of the source
    pub source: &'a str,
    /// The record's key; `None` when it is null or not UTF-8
    pub entity_key: Option<&'a str>,
    /// When the edge received it
    pub received_at: Option<OffsetDateTime>,
    /// When it happened, as the event says
    pub occurred_at: OffsetDateTime,
    secret_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    /// The contract it satisfies, with its version; `None` in records of version 0.1, where the event type names it
    pub contract: Option<&'a str>,
    schema_id: i32,
    /// [`content::hash`]; rows that older versions stored have the SHA-256 of the event's Avro
    pub content_hash: [u8; 32],
    /// The raw record it was made from
    pub raw: RawPosition,
    /// It came by a replay, of whichever stage
    pub replayed: bool,
    /// Who edited it before its replay: its content need not be that of its raw record
    pub edited_by: Option<&'a str>,
    /// The signed body that it came in, where its id is not signed: another delivery of it under another id is a copy. None of an edit, which
    /// nobody signed
    pub signed_body: Option<SignedBody>,
    /// What the event says
    pub event: Event<'a>,
}

impl<'a> EventRow<'a> {
    /// Makes the row of a record from its parts; `raw` is the raw record its `ef.raw` header names.
    ///
    /// # Errors
    /// What cannot be a row: `unknown_source`, or `bad_datum` for a time no calendar has.
    pub fn new(
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        key: Option<&'a [u8]>,
        raw: RawPosition,
        schema_id: i32,
        mut event: Event<'a>,
    ) -> Result<Self, Rejection> {
        if faults::planted("amount_through_a_float") {
            planted::through_a_float(&mut event);
        }
        if faults::planted("unknown_fields_dropped") {
            planted::known_fields_only(&mut event);
        }
        let (mut source, mut received_at, mut secret_id, mut trace_id) = (None, None, None, None);
        let (mut contract, mut signed_body) = (None, None);
        let (mut replayed, mut edited_by) = (false, None);
        // One walk: looking a header up by its name walks them all.
        for (name, value) in headers {
            match (
                name,
                value.and_then(|bytes| std::str::from_utf8(bytes).ok()),
            ) {
                (headers::SOURCE, Some(text)) => source = Some(text),
                (headers::CONTRACT, Some(text)) => contract = Some(text),
                (headers::RECEIVED_AT, Some(text)) => {
                    received_at = text.parse().ok().and_then(time_of_micros);
                }
                (headers::SIGNED_BODY, Some(text)) => signed_body = SignedBody::parse(text),
                (headers::SECRET_ID, Some(text)) => secret_id = Some(text),
                (headers::TRACEPARENT, Some(text)) => {
                    trace_id = runtime::traceparent::trace_id(text);
                }
                (headers::REPLAY_ID | headers::REPLAY_COUNT, _) => replayed = true,
                (headers::EDITED_BY, who) => {
                    // The name is for people; that it was edited counts, whatever the bytes are.
                    let who = who.filter(|who| !who.contains('\0'));
                    (replayed, edited_by) = (true, Some(who.unwrap_or("(unreadable)")));
                }
                (_, _) => {}
            }
        }
        let refuse = |code, detail| Rejection::new(code, None, detail);
        Ok(Self {
            source: source.ok_or_else(|| {
                refuse(
                    RejectionCode::UnknownSource,
                    "the record has no ef.source header",
                )
            })?,
            // A key that is no text PostgreSQL stores is no reason to refuse the row: it only cannot be found by it.
            entity_key: key
                .and_then(|key| std::str::from_utf8(key).ok())
                .filter(|key| !key.contains('\0')),
            received_at,
            occurred_at: time_of_micros(event.occurred_at_micros).ok_or_else(|| {
                let detail = "its timestamp is outside the years that can be stored";
                refuse(RejectionCode::BadDatum, detail)
            })?,
            contract,
            secret_id,
            trace_id,
            schema_id,
            content_hash: content::hash(&event),
            raw,
            replayed,
            edited_by,
            signed_body: signed_body.filter(|_| edited_by.is_none()),
            event,
        })
    }

    /// Source and event id: what there is one row of.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (self.source.to_owned(), self.event.event_id.to_owned())
    }

    /// How its content differs from what is stored of its event, when that is another hash. The hash is a hint: the payload decides.
    #[must_use]
    pub fn differences(
        &self,
        stored_event_type: &str,
        stored_payload: &str,
    ) -> Option<Vec<String>> {
        let found = content::differences(stored_event_type, stored_payload, &self.event);
        (!found.is_empty()).then_some(found)
    }

    /// Whether its contract says more than the one that its row has.
    #[must_use]
    pub fn says_more_than(&self, stored: Option<&str>) -> bool {
        let both = self.contract.zip(stored);
        both.is_some_and(|(contract, stored)| contracts::event::says_more(contract, stored))
    }

    /// Seconds from the edge's receipt until `now`, when the edge recorded it.
    #[must_use]
    pub fn age_seconds(&self, now: OffsetDateTime) -> Option<f64> {
        self.received_at
            .map(|received| (now - received).as_seconds_f64().max(0.0))
    }
}

/// Microseconds since the epoch as a time; `None` outside the calendar.
#[must_use]
pub fn time_of_micros(micros: i64) -> Option<OffsetDateTime> {
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

        fn copied(row: &EventRow<'_>, tuple: &mut copy::Tuple<'_>) -> Result<(), copy::NotBinary> {
            $(tuple.push({ let $row = row; $value }, stringify!($kept))?;)+
            Ok(())
        }

        fn document(row: &EventRow<'_>) -> Value {
            let fields = [$((stringify!($name).to_owned(), { let $row = row; Cell::json($value) })),+];
            Value::Object(fields.into_iter().collect())
        }
    };
}

columns! {
    source: text => text NOT NULL, |row| row.source;
    event_id: text => text NOT NULL, |row| row.event.event_id;
    event_type: text => text NOT NULL, |row| row.event.event_type;
    contract: text => text, |row| row.contract;
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
    raw_partition: integer => integer NOT NULL, |row| row.raw.partition;
    raw_offset: bigint => bigint NOT NULL, |row| row.raw.offset;
    raw_epoch: text => text NOT NULL, |row| &*row.raw.epoch;
    edited_by: text => text, |row| row.edited_by;
}

/// A text for each column, with its index, as a list.
fn list(text: &dyn Fn(usize, &Column) -> String) -> String {
    let all = COLUMNS.iter().enumerate();
    all.map(|(index, column)| text(index, column))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Name of the unique index on (source, event id).
pub(crate) const KEY_INDEX: &str = "events_key";

/// The unique index on (source, event id), as a statement names it. Texts are compared byte by byte: the rules of a language cost as much again as the rest of
/// the index, and ids have none.
const KEY: &str = r#"event_id COLLATE "C", source COLLATE "C""#;

/// That two relations, by their aliases, have rows of one event, as the unique index finds it.
#[must_use]
pub fn same_event(one: &str, other: &str) -> String {
    format!(
        r#"{one}.event_id = {other}.event_id COLLATE "C" AND {one}.source = {other}.source COLLATE "C""#
    )
}

/// Inserts rows into a table, all in one statement; rows whose (source, event id) is there already are left out.
#[derive(Debug, Clone)]
pub struct Insert {
    copy: Copy,
    statement: Arc<str>,
    /// The same for one row, which is JSON
    trial: Arc<str>,
}

impl Insert {
    /// Into this table, which has the columns and a unique index on (source, event id).
    #[must_use]
    pub fn into_table(table: &'static str) -> Self {
        let names = list(&|_, column| column.name.to_owned());
        let values = list(&|_, column| match column.sent == column.kept {
            true => column.name.to_owned(),
            false => format!("{}::{}", column.name, column.kept),
        });
        let arrays = list(&|index, column| format!("${}::{}[]", index + 1, column.sent));
        let typed = list(&|_, column| [column.name, column.sent].join(" "));
        let unless_there = match faults::planted("dedupe_removed") {
            true => String::new(),
            false => format!("ON CONFLICT ({KEY}) DO NOTHING"),
        };
        let from = |rows: String| -> Arc<str> {
            let statement =
                format!("INSERT INTO {table} ({names}) SELECT {values} FROM {rows} {unless_there}");
            statement.into()
        };
        Self {
            copy: Copy::into_table(table, &names),
            statement: from(format!("UNNEST({arrays}) AS batch ({names})")),
            trial: from(format!("json_to_record($1::json) AS batch ({typed})")),
        }
    }

    /// Answers how many rows were inserted. Many rows are copied, which costs PostgreSQL less than a statement with arrays.
    ///
    /// # Errors
    /// Those of the statement: one row PostgreSQL refuses refuses all ([`Self::refusals`] finds it). Of rows that are copied, also that another
    /// transaction stored one of their events meanwhile ([`crate::fault::is_taken`]): tried again, it is found.
    pub async fn run(
        &self,
        connection: &mut PgConnection,
        rows: &[&EventRow<'_>],
    ) -> Result<usize, sqlx::Error> {
        if rows.len() >= copy::LEAST
            && !faults::planted("dedupe_removed")
            && let Some(copied) = self.copy.run(connection, rows).await?
        {
            return Ok(copied);
        }
        let inserted = bind(&self.statement, rows).execute(connection).await?;
        Ok(usize::try_from(inserted.rows_affected()).unwrap_or(usize::MAX))
    }

    /// Of each row, why PostgreSQL refuses it; nothing is inserted.
    ///
    /// # Errors
    /// As [`refused::refusals`].
    pub async fn refusals(
        &self,
        connection: &mut PgConnection,
        rows: &[&EventRow<'_>],
    ) -> Result<Refusals, sqlx::Error> {
        let rows: Vec<Value> = rows.iter().map(|row| document(row)).collect();
        refused::refusals(connection, &self.trial, &rows).await
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
