//! A row that a contract which says more types again.

use super::{COLUMNS, EventRow, bind, list, same_event};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::sync::Arc;

/// The columns that mapping and contract decide. The others are the delivery's.
const TYPED: [&str; 9] = [
    "event_type",
    "contract",
    "entity_key",
    "occurred_at",
    "amount",
    "currency",
    "payload",
    "content_hash",
    "schema_id",
];

/// Gives rows what a contract that says more makes of them, all in one statement.
#[derive(Debug, Clone)]
pub struct Retype(Arc<str>);

/// A row of the table that is typed again.
#[derive(Debug, Clone, Copy)]
pub struct Outdone<'r> {
    /// The contract that it has
    pub contract: &'r str,
    /// What it becomes
    pub row: &'r EventRow<'r>,
}

impl Retype {
    /// In this table, which has the columns and the unique index; what was changed goes to the table `history`.
    #[must_use]
    pub fn in_table(table: &'static str, history: &'static str) -> Self {
        let names = list(&|_, column| column.name.to_owned());
        let arrays = list(&|index, column| format!("${}::{}[]", index + 1, column.sent));
        let typed = COLUMNS.iter().filter(|column| TYPED.contains(&column.name));
        let set = typed.map(|column| format!("{0} = b.{0}::{1}", column.name, column.kept));
        let set = set.collect::<Vec<_>>().join(", ");
        let contracts = COLUMNS.len() + 1;
        let (of_batch, of_locked) = (same_event("e", "b"), same_event("e", "l"));
        // Locked in one order, so that two of them do not wait for each other in a circle; a row that another has changed since is left alone.
        let statement = format!(
            "WITH batch AS (SELECT * FROM UNNEST({arrays}, ${contracts}::text[]) AS batch ({names}, outdone)),
             locked AS (SELECT e.source, e.event_id FROM {table} e JOIN batch b ON {of_batch} AND b.outdone = e.contract
                        ORDER BY e.source, e.event_id FOR UPDATE OF e),
             changed AS (UPDATE {table} e SET {set} FROM locked l JOIN batch b USING (source, event_id) WHERE {of_locked}
                         RETURNING e.source, e.event_id, e.raw_partition, e.raw_offset, e.raw_epoch, b.outdone, e.contract),
             noted AS (INSERT INTO {history} (raw_partition, raw_offset, raw_epoch, source, event_id, contract_before, contract)
                       SELECT raw_partition, raw_offset, raw_epoch, source, event_id, outdone, contract FROM changed
                       ON CONFLICT (raw_partition, raw_offset, raw_epoch, contract)
                       DO UPDATE SET contract_before = excluded.contract_before, retyped_at = clock_timestamp())
             SELECT source, event_id FROM changed"
        );
        Self(statement.into())
    }

    /// Answers source and event id of the rows that were changed. Each row is here once.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn run(
        &self,
        connection: &mut PgConnection,
        outdone: &[Outdone<'_>],
    ) -> Result<Vec<(String, String)>, sqlx::Error> {
        let rows: Vec<&EventRow<'_>> = outdone.iter().map(|outdone| outdone.row).collect();
        let changed = bind(&self.0, &rows)
            .bind(
                outdone
                    .iter()
                    .map(|outdone| outdone.contract)
                    .collect::<Vec<_>>(),
            )
            .fetch_all(connection)
            .await?;
        let event = |row: &PgRow| Ok((row.try_get("source")?, row.try_get("event_id")?));
        changed.iter().map(event).collect()
    }
}
