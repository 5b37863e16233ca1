//! The servers a URL names, and connections to the one among them that can be written to.
//!
//! After a failover the old primary may live on and refuse to write (SQLSTATE 25006). So every connection is asked, when it is made and each
//! time it is taken from the pool, whether it can write; one that cannot is closed. Of several servers, the pool follows the one that can.

use crate::reach::{REACH, describe, reach};
use contracts::Secret;
use runtime::config::ConfigError;
use runtime::faults;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Error};
use std::str::FromStr;
use std::time::Duration;

const FORM: &str = "expected postgres://user:password@host:port/database?sslmode=..., with several servers as host:port,host:port";
/// How often it is asked whether the server of several is still the right one.
const FOLLOW: Duration = Duration::from_millis(250);
/// A connection that comes back to the pool with work unfinished is not waited for longer.
const RELEASE: Duration = Duration::from_secs(5);

/// One server, or several of which one is the primary.
#[derive(Debug, Clone)]
pub struct Servers {
    /// Never empty
    options: Vec<PgConnectOptions>,
    /// Only one that can be written to (`target_session_attrs`)
    must_write: bool,
}

impl Servers {
    /// Parses the URL for a role whose schema has the role's name; nothing connects.
    ///
    /// # Errors
    /// [`ConfigError`] without the URL's content, which may hold a password.
    pub fn parse(url: &Secret, role: &str) -> Result<Self, ConfigError> {
        let bad = |problem: &str| ConfigError::new("--database-url", problem);
        let text = std::str::from_utf8(url.expose()).map_err(|_| bad("not UTF-8"))?;
        if faults::planted("secret_logged") {
            tracing::info!(event = "database", role, url = text);
        }
        if text.is_empty() {
            return Err(bad(
                "not given: set it, or EVENTFLOW_DATABASE_URL, to postgres://user:password@host:port/database",
            ));
        }
        let must_write = must_write(text).map_err(|problem| bad(&problem))?;
        let options = one_each(text)
            .ok_or_else(|| bad("names a server without a host; expected host:port,host:port"))?
            .iter()
            .map(|url| PgConnectOptions::from_str(url))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad(&format!("not a PostgreSQL URL; {FORM}")))?;
        let servers = Self {
            options,
            must_write,
        };
        Ok(servers
            .with(&[
                ("search_path", role),
                ("statement_timeout", "20s"),
                ("lock_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "60s"),
            ])
            .map(|options| options.application_name(&format!("eventflow-{role}"))))
    }

    /// With these settings too, on every connection.
    #[must_use]
    pub fn with(self, settings: &[(&str, &str)]) -> Self {
        self.map(|options| options.options(settings.iter().copied()))
    }

    fn map(self, change: impl Fn(PgConnectOptions) -> PgConnectOptions) -> Self {
        Self {
            options: self.options.into_iter().map(change).collect(),
            ..self
        }
    }

    /// Connections made when they are needed; nothing connects yet. Needs a Tokio runtime.
    #[must_use]
    pub fn pool(self, connections: u32, acquire_timeout: Duration) -> PgPool {
        let must_write = self.must_write;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(acquire_timeout)
            // Instead of a ping: it costs as much, and says more.
            .test_before_acquire(false)
            .before_acquire(move |connection, _| Box::pin(is_usable(connection, must_write)))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_usable(connection, must_write).await? {
                        return Ok(());
                    }
                    Err(Error::Protocol("the server is read-only".to_owned()))
                })
            })
            // What is not over soon would keep its place in the pool until the server, or TCP, gives up.
            .after_release(|connection, _| {
                Box::pin(async move {
                    let idle = tokio::time::timeout(RELEASE, connection.ping()).await;
                    idle.map_err(|_| Error::PoolTimedOut)?.map(|()| true)
                })
            })
            .connect_lazy_with(self.first().clone());
        if self.options.len() > 1 {
            tokio::spawn(follow(pool.clone(), self.options, must_write));
        }
        pool
    }

    /// Where they are, without user or password.
    #[must_use]
    pub fn describe(&self) -> String {
        let all: Vec<String> = self.options.iter().map(describe).collect();
        all.join("; ")
    }

    /// Tries them once: one must be usable.
    ///
    /// # Errors
    /// What is wrong with each.
    pub async fn reach(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        for options in &self.options {
            match reach(options, self.must_write).await {
                Ok(()) => return Ok(()),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(problems.join("; "))
    }

    /// The first server.
    fn first(&self) -> &PgConnectOptions {
        &self.options[0]
    }
}

async fn is_usable(connection: &mut PgConnection, must_write: bool) -> Result<bool, Error> {
    // A standby says so too.
    let read_only: String = sqlx::query_scalar("SELECT current_setting('transaction_read_only')")
        .fetch_one(connection)
        .await?;
    Ok(!must_write || read_only == "off")
}

/// Points the pool to the first server that can be used, whenever the one it has cannot.
///
/// It asks over a connection of its own: one of the pool comes only after all who wait for a server that is gone have given up.
async fn follow(pool: PgPool, servers: Vec<PgConnectOptions>, must_write: bool) {
    let mut watched: Option<PgConnection> = None;
    while !pool.is_closed() {
        let usable = match &mut watched {
            Some(connection) => {
                let asked = tokio::time::timeout(REACH, is_usable(connection, must_write));
                matches!(asked.await, Ok(Ok(true)))
            }
            None => false,
        };
        if !usable {
            watched = point_to_usable(&pool, &servers, must_write).await;
        }
        tokio::time::sleep(FOLLOW).await;
    }
}

/// A connection to the first server that can be used, which the pool then connects to.
async fn point_to_usable(
    pool: &PgPool,
    servers: &[PgConnectOptions],
    must_write: bool,
) -> Option<PgConnection> {
    for options in servers {
        if reach(options, must_write).await.is_err() {
            continue;
        }
        let (host, port) = (options.get_host(), options.get_port());
        let now = pool.connect_options();
        if now.get_host() != host || now.get_port() != port {
            tracing::warn!(event = "database_server_changed", host, port);
            pool.set_connect_options(options.clone());
        }
        let connecting = tokio::time::timeout(REACH, options.connect());
        return connecting.await.ok()?.ok();
    }
    None
}

/// Whether a server must be writable, as the URL's `target_session_attrs` says.
fn must_write(url: &str) -> Result<bool, String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match (name, value) {
            ("target_session_attrs", "read-write" | "primary") => return Ok(true),
            ("target_session_attrs", "any") => return Ok(false),
            ("target_session_attrs", _) => {
                return Err(
                    "target_session_attrs is read-write (the default), primary, or any".to_owned(),
                );
            }
            ("host" | "hostaddr" | "port", several) if several.contains(',') => {
                return Err(format!(
                    "{name}= takes one server; several go before the path, as postgres://user@one:5432,two:5432/database"
                ));
            }
            _ => {}
        }
    }
    Ok(true)
}

/// A URL for each of the servers that this one names; none when one of several has no host.
fn one_each(url: &str) -> Option<Vec<String>> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some(vec![url.to_owned()]);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > 1
        && hosts
            .iter()
            .any(|host| host.is_empty() || host.starts_with(':'))
    {
        return None;
    }
    let url = |host: &&str| format!("{scheme}://{user}{host}{path}");
    Some(hosts.iter().map(url).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_are_one_url_each() {
        for (url, servers) in [
            (
                "postgres://u:p@one:5433,two/db?sslmode=disable",
                &[("one", 5433), ("two", 5432)][..],
            ),
            (
                "postgresql://one,two,three:1/db",
                &[("one", 5432), ("two", 5432), ("three", 1)],
            ),
            (
                "postgres://u@[::1]:5433,two/db",
                &[("[::1]", 5433), ("two", 5432)],
            ),
            (
                "postgres://u:p@one/db?target_session_attrs=primary",
                &[("one", 5432)],
            ),
        ] {
            let parsed = Servers::parse(&Secret::new(url), "r").unwrap();
            let found: Vec<(&str, u16)> = parsed
                .options
                .iter()
                .map(|options| (options.get_host(), options.get_port()))
                .collect();
            assert_eq!(found, servers, "{url}");
            assert!(
                parsed
                    .options
                    .iter()
                    .all(|options| options.get_database() == Some("db"))
            );
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (url, named) in [
            ("", "EVENTFLOW_DATABASE_URL"),
            (
                "postgres://one/db?target_session_attrs=standby",
                "read-write",
            ),
            ("postgres:///db?host=one,two", "host="),
            ("postgres://one/db?port=1,2", "port="),
            ("postgres://u:LEAKED@one,/db", "without a host"),
            (
                "postgres://u:LEAKED@one,two:99999/db",
                "not a PostgreSQL URL",
            ),
        ] {
            let error = Servers::parse(&Secret::new(url), "r")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(named) && !error.contains("LEAKED"),
                "{url}: {error}"
            );
        }
    }

    #[test]
    fn any_server_may_be_asked_for() {
        for (url, wanted) in [
            ("postgres://one/db", true),
            ("postgres://one/db?target_session_attrs=any", false),
            (
                "postgres://one/db?a=b&target_session_attrs=read-write",
                true,
            ),
        ] {
            assert_eq!(
                Servers::parse(&Secret::new(url), "r").unwrap().must_write,
                wanted
            );
        }
    }
}
