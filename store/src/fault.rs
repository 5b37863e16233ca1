//! Whose fault a database error is: the row's, or a dependency's.

use crate::row::KEY_INDEX;
use crate::timed_out;
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
    let violates = |error: &dyn sqlx::error::DatabaseError| error.constraint().is_some();
    let violates = error.as_database_error().is_some_and(violates);
    sqlstate(error).is_some_and(|state| is_row_fault_of(&state, violates))
}

/// As [`is_row_fault`], of an error's code, and whether it names a constraint: a partition that is missing has the code of a check, and no name.
pub(crate) fn is_row_fault_of(sqlstate: &str, names_constraint: bool) -> bool {
    let class = sqlstate.get(..2).unwrap_or_default();
    sqlstate == "23502"
        || (sqlstate == "23514" && names_constraint)
        || ["22", "54"].contains(&class)
}

/// Another transaction stored one of the events of rows that are copied, after they were looked up.
#[must_use]
pub fn is_taken(error: &sqlx::Error) -> bool {
    let is_key = |error: &dyn sqlx::error::DatabaseError| {
        error.is_unique_violation() && error.constraint() == Some(KEY_INDEX)
    };
    error.as_database_error().is_some_and(is_key)
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
        // statement_timeout and lock_timeout: too much at once, or somebody holds a lock.
        _ if ["57014", "55P03"].contains(&&*state) => {
            timed_out(format!("{error} (SQLSTATE {state})"))
        }
        _ if is_taken(&error) => StageError::wait(
            "row_taken",
            format!(
                "{error} (SQLSTATE {state}): another instance stored an event of the batch meanwhile; retrying"
            ),
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    /// What PostgreSQL answers, by its code.
    #[derive(Debug)]
    struct Answer(&'static str);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an answer")
        }
    }

    impl Error for Answer {}

    impl sqlx::error::DatabaseError for Answer {
        fn message(&self) -> &str {
            "an answer"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    #[test]
    fn a_code_says_whether_to_wait_and_nothing_that_waits_is_a_rows_fault() {
        // Code, wait or stop, and whether it is the row's fault.
        for (state, code, waits, row) in [
            ("08000", "database_unavailable", true, false), // connection exception
            ("08006", "database_unavailable", true, false), // connection failure
            ("25006", "database_unavailable", true, false), // read-only: a replaced primary
            ("28P01", "database_unavailable", true, false), // wrong password
            ("3D000", "database_unavailable", true, false), // no such database
            ("40001", "database_unavailable", true, false), // serialization failure
            ("40P01", "database_unavailable", true, false), // deadlock
            ("53100", "database_unavailable", true, false), // disk full
            ("53200", "database_unavailable", true, false), // out of memory
            ("53300", "database_unavailable", true, false), // too many connections
            ("55006", "database_unavailable", true, false), // object in use
            ("55P03", "database_timeout", true, false),     // lock_timeout
            ("57014", "database_timeout", true, false),     // statement_timeout
            ("57P01", "database_unavailable", true, false), // administrator's shutdown
            ("57P02", "database_unavailable", true, false), // crash of another session
            ("57P03", "database_unavailable", true, false), // starting up
            ("58030", "database_unavailable", true, false), // I/O error
            ("XX000", "database_unavailable", true, false), // internal error
            ("42501", "database_schema", true, false),      // no privilege
            ("42P01", "database_schema", true, false),      // no such table
            ("0A000", "database_error", false, false),      // not supported
            ("22021", "database_error", false, true),       // U+0000 in a text
            ("22P05", "database_error", false, true),       // U+0000 in JSON
            ("22003", "database_error", false, true),       // number out of range
            ("23502", "database_error", false, true),       // a value is missing
            ("23505", "database_error", false, false),      // unique: a sequence set back
            ("23514", "database_error", false, false),      // a partition is missing
            ("54000", "database_error", false, true),       // an index entry is too long
        ] {
            let error = || sqlx::Error::Database(Box::new(Answer(state)));
            assert_eq!(is_row_fault(&error()), row, "{state}");
            let found = classify(error());
            assert_eq!((found.code(), !found.must_stop()), (code, waits), "{state}");
            assert!(found.to_string().contains(state), "{found}");
        }
    }
}
