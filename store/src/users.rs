//! A login of its own for each role: it owns the role's schema, and reads the views that others offer. What a role may add to
//! and never change belongs to a user without a login.

use crate::connect::login;
use crate::fault::classify;
use crate::servers::Servers;
use crate::{DEADLINE, silent};
use contracts::Secret;
use postgres_protocol::password::scram_sha_256;
use runtime::config::ConfigError;
use runtime::consumer::StageError;
use sqlx::postgres::PgPool;

/// Owns what the role that writes it may not change. Nobody can log in as it.
#[must_use]
pub fn owner() -> String {
    login("owner")
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
        Ok(Self {
            pool: Servers::parse(url, "public")?.pool(1, DEADLINE),
        })
    }

    /// A login for the role, with this password, and its schema, which it owns. The password does not leave this process: the server gets
    /// what it would keep of it. What is there already is left, but for the password.
    ///
    /// # Errors
    /// [`StageError`], as when this user may not create others.
    pub async fn create(&self, role: &str, password: &Secret) -> Result<(), StageError> {
        // As PostgreSQL would make it (RFC 5802 and 4013): base64 and dollar signs, nothing to quote.
        let (login, verifier) = (login(role), scram_sha_256(password.expose()));
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

    /// Restricts a role to inserting into one of its tables and reading it: the table and the functions of its triggers change their owner. The schema changes its
    /// owner too, since who owns a schema may drop what is in it; the role may still create its own there. Again, it changes nothing.
    ///
    /// # Errors
    /// [`StageError`], as when the table is not there yet.
    pub async fn restrict(
        &self,
        role: &str,
        table: &str,
        functions: &[&str],
    ) -> Result<(), StageError> {
        let (login, owner) = (login(role), owner());
        let there = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(&owner);
        if !self.bounded(there.fetch_one(&self.pool)).await? {
            self.run(format!("CREATE ROLE {owner} NOLOGIN")).await?;
        }
        self.run(format!("GRANT {owner} TO CURRENT_USER")).await?;
        let functions: String = functions
            .iter()
            .map(|function| format!("ALTER FUNCTION {role}.{function} OWNER TO {owner};"))
            .collect();
        // One transaction: at no time may the role have less than it needs.
        self.run(format!(
            "DO $$ BEGIN
                 ALTER SCHEMA {role} OWNER TO {owner};
                 GRANT USAGE, CREATE ON SCHEMA {role} TO {login};
                 ALTER TABLE {role}.{table} OWNER TO {owner};
                 REVOKE ALL ON {role}.{table} FROM PUBLIC, {login};
                 GRANT SELECT, INSERT ON {role}.{table} TO {login};
                 {functions}
             END $$"
        ))
        .await
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
        let reader = login(reader);
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

/// Makes the login the owner of a schema that was there before it, and of all in it but what it may not own.
fn adopt(schema: &str, login: &str) -> String {
    let owner = owner();
    format!(
        "DO $$
         DECLARE one record;
         BEGIN
             -- First: who becomes the owner of a table must be one who may create it there.
             IF (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = '{schema}') NOT IN ('{login}', '{owner}') THEN
                 ALTER SCHEMA {schema} OWNER TO {login};
             END IF;
             FOR one IN SELECT oid::regclass AS name FROM pg_class c
                 WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
                 AND pg_get_userbyid(relowner) NOT IN ('{login}', '{owner}')
                 -- a column's sequence goes with its table
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
             LOOP
                 EXECUTE format('ALTER TABLE %s OWNER TO {login}', one.name);
             END LOOP;
             FOR one IN SELECT oid::regprocedure AS name FROM pg_proc
                 WHERE pronamespace = '{schema}'::regnamespace AND pg_get_userbyid(proowner) NOT IN ('{login}', '{owner}')
             LOOP
                 EXECUTE format('ALTER FUNCTION %s OWNER TO {login}', one.name);
             END LOOP;
         END $$"
    )
}
