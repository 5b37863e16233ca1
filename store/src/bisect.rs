//! Batches with a row PostgreSQL refuses: found by halving, inside the transaction, and dealt with alone.

use crate::fault::{classify, is_row_fault, sqlstate};
use futures_util::future::BoxFuture;
use runtime::consumer::StageError;
use sqlx::postgres::PgPool;
use sqlx::{Acquire as _, PgConnection, Postgres, Transaction};

/// Work on some rows of a batch.
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

impl Refusal {
    fn of(error: &sqlx::Error) -> Self {
        Self {
            message: error
                .as_database_error()
                .map_or_else(String::new, |error| error.message().to_owned()),
            sqlstate: sqlstate(error).unwrap_or_default(),
        }
    }
}

/// Applies a batch in a transaction that is left open, for whatever must be committed with it. As [`bisect`] when a row is refused.
///
/// # Errors
/// [`StageError`]: nothing is applied.
pub async fn apply<R: Sync, T: Send>(
    pool: &PgPool,
    rows: &[R],
    mut work: impl for<'c> FnMut(&'c mut PgConnection, &'c [R]) -> Work<'c, T> + Send,
    refused: impl for<'c> FnMut(&'c mut PgConnection, &'c R, Refusal) -> Work<'c, T> + Send,
) -> Result<(Transaction<'static, Postgres>, Vec<T>), StageError> {
    let mut transaction = pool.begin().await.map_err(classify)?;
    let parts = match work(&mut transaction, rows).await {
        Ok(all) => vec![all],
        Err(error) if is_row_fault(&error) => {
            // The statement has spoilt the transaction; savepoints are paid for only from here on.
            transaction.rollback().await.map_err(classify)?;
            transaction = pool.begin().await.map_err(classify)?;
            bisect(&mut transaction, rows, work, refused)
                .await
                .map_err(classify)?
        }
        Err(error) => return Err(classify(error)),
    };
    Ok((transaction, parts))
}

/// Applies a batch, halving it where PostgreSQL refuses a row for its content, down to that row, which `refused` then deals with. Answers
/// what each part came to, in the order of the rows.
///
/// # Errors
/// Any error that is no row's fault.
pub async fn bisect<R: Sync, T: Send>(
    connection: &mut PgConnection,
    rows: &[R],
    mut work: impl for<'c> FnMut(&'c mut PgConnection, &'c [R]) -> Work<'c, T> + Send,
    mut refused: impl for<'c> FnMut(&'c mut PgConnection, &'c R, Refusal) -> Work<'c, T> + Send,
) -> Result<Vec<T>, sqlx::Error> {
    let (mut pending, mut parts) = (vec![rows], Vec::new());
    while let Some(part) = pending.pop() {
        let mut savepoint = connection.begin().await?;
        match work(&mut savepoint, part).await {
            Ok(done) => {
                savepoint.commit().await?;
                parts.push(done);
            }
            Err(error) if is_row_fault(&error) => {
                savepoint.rollback().await?;
                if let [row] = part {
                    parts.push(refused(connection, row, Refusal::of(&error)).await?);
                } else {
                    let (left, right) = part.split_at(part.len() / 2);
                    pending.extend([right, left]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(parts)
}
