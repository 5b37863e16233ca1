//! Batches with rows PostgreSQL refuses: every row is tried alone, all in one statement, and the batch is then written without those.

mod cell;

pub use cell::Cell;

use crate::fault::{classify, is_row_fault, is_row_fault_of, is_taken, sqlstate};
use futures_util::future::BoxFuture;
use runtime::consumer::StageError;
use runtime::faults;
use serde_json::Value;
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};

/// Work on the rows of a batch.
pub type Work<'c, T> = BoxFuture<'c, Result<T, sqlx::Error>>;

/// Why PostgreSQL refuses a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// PostgreSQL's message
    pub message: String,
    /// Its code
    pub sqlstate: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { message, sqlstate } = self;
        write!(
            f,
            "PostgreSQL refuses the row: {message} (SQLSTATE {sqlstate})"
        )
    }
}

/// Of each row of a batch, in order, why PostgreSQL refuses it.
pub type Refusals = Vec<Option<Refusal>>;

/// Writes a batch in a transaction that is left open, for whatever must be committed with it.
///
/// `write` is first told of no refusals. When PostgreSQL refuses a row, `trial` finds all that it refuses ([`refusals`]), and `write` is
/// called once more with them: the number of round trips does not depend on the number of bad rows. So it is, without a trial, when another
/// transaction stored one of the events meanwhile.
///
/// # Errors
/// [`StageError`]: nothing is written.
pub async fn apply<R: Sync, T: Send>(
    pool: &PgPool,
    rows: &[R],
    trial: impl for<'c> FnOnce(&'c mut PgConnection, &'c [R]) -> Work<'c, Refusals> + Send,
    write: impl for<'c> Fn(&'c mut PgConnection, &'c [R], &'c Refusals) -> Work<'c, T> + Send,
) -> Result<(Transaction<'static, Postgres>, T), StageError> {
    let mut transaction = pool.begin().await.map_err(classify)?;
    let mut refusals = vec![None; rows.len()];
    let error = match write(&mut transaction, rows, &refusals).await {
        Ok(written) => return Ok((transaction, written)),
        Err(error) => error,
    };
    let (blamed, refuses_a_row) = (blamed_on_rows(&error), is_row_fault(&error));
    if blamed.is_none() && !refuses_a_row && !is_taken(&error) {
        return Err(classify(error));
    }
    // The statement has spoilt the transaction; a savepoint before each would cost every batch what only a few need.
    transaction.rollback().await.map_err(classify)?;
    transaction = pool.begin().await.map_err(classify)?;
    if refuses_a_row {
        refusals = trial(&mut transaction, rows).await.map_err(classify)?;
    } else if blamed.is_some() {
        refusals.fill(blamed);
    }
    let written = write(&mut transaction, rows, &refusals).await;
    Ok((transaction, written.map_err(classify)?))
}

/// The bug `serialization_is_the_rows_fault`: what another transaction caused refuses every row. Nothing without it.
fn blamed_on_rows(error: &sqlx::Error) -> Option<Refusal> {
    if !faults::planted("serialization_is_the_rows_fault") {
        return None;
    }
    let sqlstate = sqlstate(error).filter(|state| state.starts_with("40"))?;
    let message = error.to_string();
    Some(Refusal { message, sqlstate })
}

/// What the function `refused_rows` of the role's schema returns.
#[derive(FromRow)]
struct Found {
    number: i32,
    state: String,
    message: String,
    violated: String,
}

/// Tries each row alone, all in one call, and keeps none. `statement` inserts the row that its parameter, a JSON
/// object, describes.
///
/// # Errors
/// Any error that is no row's fault.
pub async fn refusals(
    connection: &mut PgConnection,
    statement: &str,
    rows: &[Value],
) -> Result<Refusals, sqlx::Error> {
    let mut refusals = vec![None; rows.len()];
    if rows.is_empty() {
        return Ok(refusals);
    }
    let texts: Vec<String> = rows.iter().map(Value::to_string).collect();
    let found: Vec<Found> =
        sqlx::query_as("SELECT number, state, message, violated FROM refused_rows($1, $2)")
            .bind(statement)
            .bind(texts)
            .fetch_all(connection)
            .await?;
    for row in found {
        if !is_row_fault_of(&row.state, !row.violated.is_empty()) {
            return Err(sqlx::Error::Protocol(format!(
                "{} (SQLSTATE {}), which is no row's fault",
                row.message, row.state
            )));
        }
        let place = usize::try_from(row.number)
            .ok()
            .and_then(|n| n.checked_sub(1));
        if let Some(refusal) = place.and_then(|place| refusals.get_mut(place)) {
            *refusal = Some(Refusal {
                message: row.message,
                sqlstate: row.state,
            });
        }
    }
    Ok(refusals)
}
