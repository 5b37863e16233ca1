//! PostgreSQL as the roles that write to it use it: [`connect`] reaches it and brings a role's own schema up to date, [`users`] gives each
//! role a login of its own, [`fault`] says whose fault an error is, [`offsets`] moves a consumer's offsets in the transaction that stores
//! what was read, [`bisect`] finds the row of a batch that PostgreSQL refuses.
//!
//! The row of an event is here too, once for the role that stores it and the one that predicts what would be stored: [`row`] makes and inserts
//! it, [`fate`] decides what becomes of it, [`scratch`] is a table to try it in.
//!
//! Every role has a schema of its own and writes nowhere else; what others may read are views in it.

pub mod bisect;
pub mod connect;
pub mod fate;
pub mod fault;
pub mod offsets;
pub mod row;
pub mod scratch;
pub mod users;

use contracts::Secret;
use runtime::config::ConfigError;
use runtime::consumer::StageError;
use std::time::Duration;

/// Health check of the database.
pub const CHECK: &str = "database";
/// Longest one unit of work may take: below the group's `max.poll.interval.ms`. The server's own time limits end statements, but say
/// nothing when the server itself is silent.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How to reach PostgreSQL.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArgs {
    /// PostgreSQL URL; for TLS, add its parameters sslmode, sslrootcert, sslcert and sslkey
    #[arg(
        help_heading = "Database",
        long,
        env = "EVENTFLOW_DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://eventflow@127.0.0.1:5432/eventflow"
    )]
    pub database_url: Secret,
}

impl DatabaseArgs {
    /// Refuses what is no PostgreSQL URL; nothing connects.
    ///
    /// # Errors
    /// Names the setting, and nothing of the URL, which may hold a password.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bad = |problem| Err(ConfigError::new("--database-url", problem));
        // The parser takes any scheme, and reads `me:secret@host` as one.
        let url = String::from_utf8_lossy(self.database_url.expose());
        let schemes = ["postgres://", "postgresql://"];
        let Some(rest) = schemes.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            return bad(
                "must begin with postgres://, as postgres://user:password@host:port/database"
                    .to_owned(),
            );
        };
        if let Some(at) = misplaced(rest) {
            let character = rest[at..].chars().next().unwrap_or_default();
            return bad(format!(
                "character {} ({character}) is part of a user name or password: percent-encode it there, as %{:02X} (an @ behind the host is written %40)",
                url.len() - rest.len() + at + 1,
                u32::from(character)
            ));
        }
        connect::options(&self.database_url, "").map(drop)
    }
}

/// Where the user name or password of a URL, which is given without its scheme, has a character that ends it for the parser: what follows
/// would be taken for a host, a path or a parameter, and be shown as such.
fn misplaced(rest: &str) -> Option<usize> {
    let last = rest.rfind('@')?;
    rest[..last].find(['/', '?', '#', '@'])
}

/// The database does not answer at all.
#[must_use]
pub fn silent() -> StageError {
    StageError::wait(
        "database_timeout",
        format!("PostgreSQL did not answer within {} s", DEADLINE.as_secs()),
    )
}

/// Runs database work to its end, or to [`DEADLINE`], from a stage's own thread.
///
/// # Errors
/// Those of the work, and [`silent`].
pub fn within<T>(
    runtime: &tokio::runtime::Handle,
    work: impl Future<Output = Result<T, StageError>>,
) -> Result<T, StageError> {
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, work)
            .await
            .unwrap_or_else(|_| Err(silent()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_not_encoded_is_refused_by_its_position_and_never_shown() {
        for (url, problem) in [
            ("postgres://u:pa/ss@host/db", Some("character 16 (/) ")),
            ("postgres://u:12?ss=x@host/db", Some("character 16 (?) ")),
            ("postgresql://u:pa#ss@host/db", Some("character 18 (#) ")),
            ("postgres://u:pa@ss@host/db", Some("character 16 (@) ")),
            ("postgres://u:pa%2Fss@host/db?sslmode=require", None),
            ("postgres://u@host:5432/db", None),
            ("postgres:///db?host=/run/postgresql", None),
            ("u:pass@host", Some("must begin with postgres://")),
        ] {
            let database_url = Secret::new(url);
            let checked = DatabaseArgs { database_url }.check();
            match (checked, problem) {
                (Ok(()), None) => {}
                (Err(error), Some(problem)) => {
                    let shown = error.to_string();
                    assert!(shown.contains(problem), "{shown}");
                    assert!(
                        !shown.contains("ss@") && !shown.contains("pass@"),
                        "{shown}"
                    );
                }
                (checked, _) => panic!("{url}: {checked:?}"),
            }
        }
    }
}
