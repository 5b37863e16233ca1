//! Whose fault a database error is: the row's, or a dependency's.

use runtime::consumer::StageError;

/// The five characters PostgreSQL classifies an error by; none when it is not the server's.
#[must_use]
pub fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(std::borrow::Cow::into_owned)
}

/// True when the row's content is refused: a data exception (22), a limit such as an over-long index entry (54), a missing value (23502), or
/// a check of the table's own. Other constraints (23), such as a sequence set back or a partition that is missing, are not the row's fault.
#[must_use]
pub fn is_row_fault(error: &sqlx::Error) -> bool {
    let Some(state) = sqlstate(error) else {
        return false;
    };
    let by_check = state == "23514"
        && error
            .as_database_error()
            .is_some_and(|error| error.constraint().is_some());
    by_check || state == "23502" || ["22", "54"].contains(&state.get(..2).unwrap_or_default())
}

/// A dependency's faults wait; what waiting cannot fix ends the process. Source: PostgreSQL manual, appendix A.
#[must_use]
pub fn classify(error: sqlx::Error) -> StageError {
    let Some(state) = sqlstate(&error) else {
        return match error {
            sqlx::Error::Configuration(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. } => StageError::stop("database_error", error),
            sqlx::Error::RowNotFound => StageError::wait(
                "row_vanished",
                "a row was deleted while a batch was stored; retrying",
            ),
            _ => StageError::wait("database_unavailable", error),
        };
    };
    match state.get(..2).unwrap_or_default() {
        // Wrong password, no such database, missing privileges: an operator fixes these while we wait.
        "08" | "53" | "57" | "40" | "55" | "28" | "3D" | "25" | "58" | "XX" => StageError::wait(
            "database_unavailable",
            format!("{error} (SQLSTATE {state})"),
        ),
        "42" => StageError::wait(
            "database_schema",
            format!(
                "{error} (SQLSTATE {state}); check that no newer version has migrated the database, and that this user has its privileges"
            ),
        ),
        _ => StageError::stop("database_error", format!("{error} (SQLSTATE {state})")),
    }
}
