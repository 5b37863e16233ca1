//! Whether a server can be used, and if not, why: where it is, the cause, and the next step. The pool alone says that it timed out.

use crate::fault::sqlstate;
use runtime::consumer::StageError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions as _, Connection as _, FromRow};
use std::time::Duration;

/// Longest an attempt may take.
pub const REACH: Duration = Duration::from_secs(2);

/// Where it is, without user or password.
#[must_use]
pub fn describe(options: &PgConnectOptions) -> String {
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options
        .get_database()
        .unwrap_or_else(|| options.get_username());
    format!("{place}, database {database}")
}

/// What a server says of itself, and of the settings that came with the connection.
#[derive(FromRow)]
struct Answer {
    read_only: String,
    encoding: String,
    lock_timeout: String,
}

/// Connects once, and asks whether this is a database to work with.
///
/// # Errors
/// [`StageError`]: one to wait for, or one that can never be used.
pub async fn reach(options: &PgConnectOptions, must_write: bool) -> Result<(), StageError> {
    let place = describe(options);
    let unreachable = |cause: String| {
        StageError::wait(
            "database_unavailable",
            format!("cannot use PostgreSQL at {place}: {cause}"),
        )
    };
    let answer = match tokio::time::timeout(REACH, ask(options)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let state = sqlstate(&error).unwrap_or_default();
            // A prepared statement that is there already, or is not, is another client's.
            let of_pooler = state == "08P01" && error.to_string().contains("startup parameter");
            if of_pooler || ["26000", "42P05"].contains(&&*state) {
                return Err(pooler(&place));
            }
            return Err(unreachable(format!(
                "{error}; {}",
                next_step(&error, &state)
            )));
        }
        Err(_) => {
            return Err(unreachable(format!(
                "no answer within {} s; check the address, and firewalls on the way",
                REACH.as_secs()
            )));
        }
    };
    if answer.encoding != "UTF8" {
        let encoding = answer.encoding;
        return Err(StageError::stop(
            "database_encoding",
            format!(
                "the encoding of {place} is {encoding}, which cannot store every text; create one with CREATE DATABASE ... ENCODING 'UTF8' \
                 TEMPLATE template0"
            ),
        ));
    }
    // Set by every connection (`Servers::parse`), and by nobody else.
    if !options
        .get_options()
        .unwrap_or_default()
        .contains(&format!("lock_timeout={}", answer.lock_timeout))
    {
        return Err(pooler(&place));
    }
    if must_write && answer.read_only == "on" {
        return Err(StageError::wait(
            "database_read_only",
            format!(
                "PostgreSQL at {place} is read-only: a standby, or a primary that was replaced. Waiting for the primary; name all servers in \
                 --database-url, or point its address to the primary"
            ),
        ));
    }
    Ok(())
}

async fn ask(options: &PgConnectOptions) -> Result<Answer, sqlx::Error> {
    let mut connection: PgConnection = options.connect().await?;
    let answer = sqlx::query_as(
        "SELECT current_setting('transaction_read_only') AS read_only, current_setting('server_encoding') AS encoding,
                current_setting('lock_timeout') AS lock_timeout",
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    Ok(answer)
}

fn pooler(place: &str) -> StageError {
    StageError::stop(
        "database_pooler",
        format!(
            "{place} does not take the settings of a connection, such as search_path: a pooler like pgbouncer is in between. Connect to \
             PostgreSQL itself; EventFlow pools its connections, a few for each instance"
        ),
    )
}

fn next_step(error: &sqlx::Error, state: &str) -> &'static str {
    match (error, state) {
        (_, "28P01" | "28000") => "check user and password in --database-url",
        (_, "3D000") => "create the database, or correct its name in --database-url",
        (_, "53300") => "raise max_connections, or stop what holds connections",
        (_, "57P03") => "it is starting or stopping; waiting",
        (sqlx::Error::Tls(_), _) => "check sslmode and sslrootcert in --database-url",
        _ => "check host and port in --database-url, and that PostgreSQL is running",
    }
}

/// The same error; one that only says that the pool had no connection says why.
pub async fn explain(pool: &PgPool, error: StageError) -> StageError {
    let timed_out = sqlx::Error::PoolTimedOut.to_string();
    if error.must_stop() || !error.to_string().contains(&timed_out) {
        return error;
    }
    match reach(&pool.connect_options(), true).await {
        Err(cause) if !cause.must_stop() => cause,
        _ => error,
    }
}
