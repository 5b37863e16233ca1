//! PostgreSQL as the roles that write to it use it: [`servers`] finds the one to write to, [`reach`] says why there is none, [`connect`]
//! brings a role's own schema up to date, large indexes while rows are stored (`online`), [`users`] gives each
//! role a login of its own, [`fault`] says whose fault an error is, [`offsets`] moves a consumer's offsets in the transaction that stores
//! what was read, [`refused`] finds the rows of a batch that PostgreSQL refuses, [`parts`] makes the next attempt smaller after a time-out.
//!
//! The row of an event is here too, once for the role that stores it and the one that predicts what would be stored: [`row`] makes and inserts
//! it, [`fate`] decides what becomes of it, [`scratch`] is a table to try it in.
//!
//! [`raw_topic`] tells a topic from another that had its name before.
//!
//! Every role has a schema of its own and writes nowhere else; what others may read are views in it.

pub mod connect;
pub mod copies;
pub mod fate;
pub mod fault;
pub mod offsets;
mod online;
pub mod parts;
mod planted;
pub mod raw_topic;
pub mod reach;
pub mod refused;
pub mod row;
pub mod scratch;
pub mod servers;
pub mod users;

use contracts::Secret;
use runtime::config::ConfigError;
use runtime::connection::Connection;
use runtime::consumer::StageError;
use servers::Servers;
use std::time::Duration;

/// Health check of the database.
pub const CHECK: &str = "database";
/// Longest one unit of work may take: below the group's `max.poll.interval.ms`. The server's own time limits end statements, but say
/// nothing when the server itself is silent.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How to reach PostgreSQL.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArgs {
    /// PostgreSQL URL, as postgres://user:password@host:port/database; several servers, of which one is the primary, as host:port,host:port.
    /// For TLS, add its parameters sslmode, sslrootcert, sslcert and sslkey
    #[arg(
        help_heading = "Database",
        long,
        env = "EVENTFLOW_DATABASE_URL",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
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
        if url.is_empty() {
            return Servers::parse(&self.database_url, "").map(drop);
        }
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
        Servers::parse(&self.database_url, "").map(drop)
    }

    /// PostgreSQL, as `--check --connect` tries it for a role: a server that can be written to must answer.
    #[must_use]
    pub fn connection(&self, role: &str) -> Connection {
        let servers = Servers::parse(&self.database_url, role);
        let place = servers
            .as_ref()
            .map_or_else(|_| String::new(), Servers::describe);
        Connection::new("PostgreSQL", place, async move {
            let servers = servers.map_err(|error| error.to_string())?;
            servers.reach().await
        })
    }
}

/// Where the user name or password of a URL, which is given without its scheme, has a character that ends it for the parser: what follows
/// would be taken for a host, a path or a parameter, and be shown as such.
fn misplaced(rest: &str) -> Option<usize> {
    let last = rest.rfind('@')?;
    rest[..last].find(['/', '?', '#', '@'])
}

/// Code of a wait for a database that is silent or too slow.
pub const TIMEOUT: &str = "database_timeout";

/// A wait with the code [`TIMEOUT`].
pub(crate) fn timed_out(reason: impl std::fmt::Display) -> StageError {
    StageError::wait("database_timeout", reason)
}

/// The database does not answer at all.
#[must_use]
pub fn silent() -> StageError {
    timed_out(format!(
        "PostgreSQL did not answer within {} s",
        DEADLINE.as_secs()
    ))
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
