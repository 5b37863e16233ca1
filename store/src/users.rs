//! A login of its own for each role: it owns the role's schema, and reads of others' what they offer.

use crate::connect::options;
use crate::fault::classify;
use crate::{DEADLINE, silent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::Secret;
use hmac::{Hmac, KeyInit, Mac};
use runtime::config::ConfigError;
use runtime::consumer::StageError;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgPool, PgPoolOptions};

/// PostgreSQL's own number.
const ITERATIONS: u32 = 4096;

/// The name a role logs in by.
#[must_use]
pub fn name(role: &str) -> String {
    ["eventflow", role].join("_")
}

/// Makes the logins; connected as somebody who may create users and schemas, such as a managed database's administrator.
#[derive(Debug)]
pub struct Users {
    pool: PgPool,
}

impl Users {
    /// Nothing connects yet.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn new(url: &Secret) -> Result<Self, ConfigError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(DEADLINE);
        Ok(Self {
            pool: pool.connect_lazy_with(options(url, "public")?),
        })
    }

    /// A login for the role, with this password, and its schema, which it owns. The password does not leave this process: the server gets
    /// what it would keep of it. What is there already is left, but for the password.
    ///
    /// # Errors
    /// [`StageError`], as when this user may not create others.
    pub async fn create(&self, role: &str, password: &Secret) -> Result<(), StageError> {
        let (login, verifier) = (
            name(role),
            verifier(password.expose(), &uuid::Uuid::new_v4().into_bytes()),
        );
        let there = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(&login);
        let there: bool = self.bounded(there.fetch_one(&self.pool)).await?;
        let verb = if there { "ALTER" } else { "CREATE" };
        self.run(format!("{verb} ROLE {login} LOGIN PASSWORD '{verifier}'"))
            .await?;
        // Creating something for another takes being allowed to act as the other.
        self.run(format!("GRANT {login} TO CURRENT_USER")).await?;
        self.run(format!(
            "CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {login}"
        ))
        .await?;
        self.run(adopt(role, &login)).await
    }

    /// Lets a role read these views of another's schema, and make the temporary tables it compares them with.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn grant(
        &self,
        schema: &str,
        views: &[&str],
        reader: &str,
    ) -> Result<(), StageError> {
        let reader = name(reader);
        self.run(format!("GRANT USAGE ON SCHEMA {schema} TO {reader}"))
            .await?;
        for view in views {
            self.run(format!("GRANT SELECT ON {schema}.{view} TO {reader}"))
                .await?;
        }
        let database: String = self
            .bounded(
                sqlx::query_scalar("SELECT quote_ident(current_database())").fetch_one(&self.pool),
            )
            .await?;
        self.run(format!(
            "GRANT TEMPORARY ON DATABASE {database} TO {reader}"
        ))
        .await
    }

    /// Statements of names that are ours, and a verifier that is base64.
    async fn run(&self, statement: String) -> Result<(), StageError> {
        self.bounded(sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&self.pool))
            .await
            .map(drop)
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StageError> {
        tokio::time::timeout(DEADLINE, work)
            .await
            .map_err(|_| silent())?
            .map_err(classify)
    }
}

/// Makes the login the owner of a schema that was there before it, and of all in it.
fn adopt(schema: &str, login: &str) -> String {
    format!(
        "DO $$
         DECLARE one record;
         BEGIN
             -- First: who becomes the owner of a table must be one who may create it there.
             IF (SELECT nspowner FROM pg_namespace WHERE nspname = '{schema}') <> '{login}'::regrole THEN
                 ALTER SCHEMA {schema} OWNER TO {login};
             END IF;
             FOR one IN SELECT oid::regclass AS name FROM pg_class c
                 WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S') AND relowner <> '{login}'::regrole
                 -- a column's sequence goes with its table
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
             LOOP
                 EXECUTE format('ALTER TABLE %s OWNER TO {login}', one.name);
             END LOOP;
             FOR one IN SELECT oid::regprocedure AS name FROM pg_proc
                 WHERE pronamespace = '{schema}'::regnamespace AND proowner <> '{login}'::regrole
             LOOP
                 EXECUTE format('ALTER FUNCTION %s OWNER TO {login}', one.name);
             END LOOP;
         END $$"
    )
}

/// What PostgreSQL keeps of a password: SCRAM-SHA-256, RFC 5802, section 3. For passwords of ASCII, which need no preparation.
fn verifier(password: &[u8], salt: &[u8]) -> String {
    let keyed = |key: &[u8], text: &[u8]| {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let mut last = keyed(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut salted = last;
    for _ in 1..ITERATIONS {
        last = keyed(password, &last);
        salted
            .iter_mut()
            .zip(&last)
            .for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(keyed(&salted, b"Client Key"));
    let server = keyed(&salted, b"Server Key");
    let [salt, stored, server] = [salt, &stored, &server].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

#[cfg(test)]
mod tests {
    /// Source of the figures: the example of RFC 7677, section 3; the keys by another implementation (Python's hashlib and hmac).
    #[test]
    fn a_verifier_is_what_postgresql_would_make() {
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        assert_eq!(
            super::verifier(b"pencil", &salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
