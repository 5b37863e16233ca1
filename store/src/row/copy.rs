//! New rows by `COPY`, in PostgreSQL's binary form.
//!
//! `COPY` knows no `ON CONFLICT`: what is there already is looked up first. An event that another transaction stores in between refuses the whole
//! batch, which is then tried again and finds it.

use super::{COLUMNS, EventRow, copied, same_event};
use sqlx::postgres::PgArgumentBuffer;
use sqlx::types::BigDecimal;
use sqlx::{AssertSqlSafe, Encode, PgConnection};
use std::collections::HashSet;
use std::sync::Arc;
use time::OffsetDateTime;

/// Fewer rows are inserted: the look-up is another round trip.
pub(super) const LEAST: usize = 64;

/// Before the first tuple: the signature, no flags, no extension. Source: PostgreSQL manual, COPY, binary format.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After the last tuple.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// PostgreSQL counts from 2000-01-01, in microseconds.
const EPOCH_MICROS: i128 = 946_684_800_000_000;

/// Copies rows into one table.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    known: Arc<str>,
    statement: Arc<str>,
}

/// A value that has no binary form.
#[derive(Debug)]
pub(super) struct NotBinary;

impl Copy {
    pub(super) fn into_table(table: &str, names: &str) -> Self {
        let same = same_event("e", "b");
        Self {
            known: format!(
                "SELECT b.place FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS b (source, event_id, place) JOIN {table} e ON {same}"
            )
            .into(),
            statement: format!("COPY {table} ({names}) FROM STDIN (FORMAT binary)").into(),
        }
    }

    /// Answers how many rows were copied; `None`, and nothing is, where one has a value without a binary form.
    ///
    /// # Errors
    /// As [`Insert::run`](super::Insert::run).
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        rows: &[&EventRow<'_>],
    ) -> Result<Option<usize>, sqlx::Error> {
        let known: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(Arc::clone(&self.known)))
            .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
            .bind(
                rows.iter()
                    .map(|row| row.event.event_id)
                    .collect::<Vec<_>>(),
            )
            .fetch_all(&mut *connection)
            .await?;
        let known: HashSet<i64> = known.into_iter().collect();
        let mut taken = HashSet::with_capacity(rows.len());
        let new = (1..).zip(rows).filter(|(place, _)| !known.contains(place));
        let new: Vec<&EventRow<'_>> = new
            .map(|(_, row)| *row)
            .filter(|row| taken.insert((row.source, row.event.event_id)))
            .collect();
        if new.is_empty() {
            return Ok(Some(0));
        }
        let Ok(tuples) = tuples(&new) else {
            return Ok(None);
        };
        let mut copy = connection.copy_in_raw(&self.statement).await?;
        copy.send(&tuples[..]).await?;
        let copied = copy.finish().await?;
        Ok(Some(usize::try_from(copied).unwrap_or(usize::MAX)))
    }
}

fn tuples(rows: &[&EventRow<'_>]) -> Result<PgArgumentBuffer, NotBinary> {
    let mut out = PgArgumentBuffer::default();
    out.extend_from_slice(HEADER);
    let columns = i16::try_from(COLUMNS.len()).map_err(|_| NotBinary)?;
    for row in rows {
        out.extend_from_slice(&columns.to_be_bytes());
        copied(row, &mut Tuple(&mut out))?;
    }
    out.extend_from_slice(&TRAILER);
    Ok(out)
}

/// One row, value after value: its length, and its bytes.
pub(super) struct Tuple<'o>(&'o mut PgArgumentBuffer);

impl Tuple<'_> {
    /// Appends a value of a column that has this type.
    pub(super) fn push(&mut self, value: impl Binary, kept: &str) -> Result<(), NotBinary> {
        let start = self.0.len();
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
        if value.append(kept, self.0)? {
            let length = i32::try_from(self.0.len() - start - 4).map_err(|_| NotBinary)?;
            self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

/// A value as PostgreSQL's receiving functions read it.
pub(super) trait Binary {
    /// Appends it; `false` is null.
    fn append(self, kept: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary>;
}

impl Binary for &str {
    fn append(self, kept: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary> {
        match kept {
            "numeric" => {
                let number: BigDecimal = self.parse().map_err(|_| NotBinary)?;
                let null = number.encode_by_ref(out).map_err(|_| NotBinary)?;
                return Ok(!null.is_null());
            }
            // Its version.
            "jsonb" => out.push(1),
            _ => {}
        }
        out.extend_from_slice(self.as_bytes());
        Ok(true)
    }
}

impl Binary for i32 {
    fn append(self, _: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(true)
    }
}

impl Binary for i64 {
    fn append(self, _: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(true)
    }
}

impl Binary for &[u8] {
    fn append(self, _: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary> {
        out.extend_from_slice(self);
        Ok(true)
    }
}

impl Binary for OffsetDateTime {
    fn append(self, _: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary> {
        let micros = self.unix_timestamp_nanos().div_euclid(1000) - EPOCH_MICROS;
        let micros = i64::try_from(micros).map_err(|_| NotBinary)?;
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(true)
    }
}

impl<T: Binary> Binary for Option<T> {
    fn append(self, kept: &str, out: &mut PgArgumentBuffer) -> Result<bool, NotBinary> {
        self.map_or(Ok(false), |value| value.append(kept, out))
    }
}
