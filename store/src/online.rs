//! Indexes of a table that is there, made while it is written to.
//!
//! `CREATE INDEX` holds every write until it is done: a minute at ten million rows. A migration whose file begins with `-- online` has its statements
//! run beforehand, each by itself, and its indexes made concurrently. The migration then finds them: `IF NOT EXISTS`. On an empty schema it makes them itself.
//!
//! An index that is made concurrently waits for every transaction that is older, so also for an instance that waits for a lock of the migrations. Whoever
//! waits here therefore waits in no transaction.

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, PgConnection};
use std::time::Duration;

/// How often it is tried whether another instance is done.
const POLL: Duration = Duration::from_millis(250);

/// Runs the migrations of a role's schema, those that are meant so without holding up writes.
///
/// # Errors
/// Those of the statements.
pub(crate) async fn migrate(
    migrations: &Migrator,
    role: &str,
    connection: &mut PgConnection,
) -> Result<(), MigrateError> {
    for migration in migrations.iter() {
        if is_online(migration) && is_pending(migration, connection).await? {
            prepare(migrations, migration, role, connection).await?;
        }
    }
    migrations.run_direct(None, connection, false).await
}

fn is_online(migration: &Migration) -> bool {
    migration.sql.as_str().starts_with("-- online")
}

/// Whether the schema has migrations, and this is not one of them.
async fn is_pending(
    migration: &Migration,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !migrated {
        return Ok(false);
    }
    sqlx::query_scalar(
        "SELECT count(*) > 0 AND NOT coalesce(bool_or(version = $1), false) FROM _sqlx_migrations",
    )
    .bind(migration.version)
    .fetch_one(connection)
    .await
}

/// Brings the schema to the migration before, and does what this one would do.
async fn prepare(
    migrations: &Migrator,
    migration: &Migration,
    role: &str,
    connection: &mut PgConnection,
) -> Result<(), MigrateError> {
    let before = Some(migration.version - 1);
    migrations.run_direct(before, connection, false).await?;
    let mut has_waited = false;
    while !lock(role, connection).await? {
        if !has_waited {
            tracing::info!(
                event = "migration_waits",
                role,
                "another instance is making indexes"
            );
            has_waited = true;
        }
        tokio::time::sleep(POLL).await;
    }
    let made = make(migration, role, connection).await;
    sqlx::query("SELECT pg_advisory_unlock(hashtext('eventflow.online'), hashtext($1))")
        .bind(role)
        .execute(connection)
        .await?;
    Ok(made?)
}

async fn lock(role: &str, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('eventflow.online'), hashtext($1))")
        .bind(role)
        .fetch_one(connection)
        .await
}

async fn make(
    migration: &Migration,
    role: &str,
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    for statement in statements(migration.sql.as_str()) {
        let Some(index) = index_of(&statement) else {
            run(statement, connection).await?;
            continue;
        };
        // One that failed, of an instance that ended in the middle of it, is left by PostgreSQL and is good for nothing.
        let is_broken: Option<bool> = sqlx::query_scalar(
            "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)",
        )
        .bind(index)
        .fetch_optional(&mut *connection)
        .await?;
        if is_broken == Some(true) {
            run(format!("DROP INDEX CONCURRENTLY {index}"), connection).await?;
        }
        tracing::info!(
            event = "index_begun",
            role,
            index,
            "rows are stored meanwhile"
        );
        let concurrently = statement.replacen("INDEX IF", "INDEX CONCURRENTLY IF", 1);
        run(concurrently, connection).await?;
    }
    Ok(())
}

async fn run(statement: String, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
}

/// The statements of a migration. None of those that are meant has a semicolon in it.
fn statements(sql: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.starts_with("--");
    let code = sql.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    let statements = code.split(';').map(str::trim);
    let statements = statements.filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}

/// The name of the index that a statement makes.
fn index_of(statement: &str) -> Option<&str> {
    let (create, rest) = statement.split_once(" INDEX IF NOT EXISTS ")?;
    let name = rest.split_whitespace().next();
    name.filter(|_| matches!(create, "CREATE" | "CREATE UNIQUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_the_names_of_their_indexes_are_found() {
        let sql = "-- online: why; and how\n\nCREATE UNIQUE INDEX IF NOT EXISTS one ON t (a);\n-- two\nCREATE INDEX IF NOT EXISTS two\n    ON t (b);\nANALYZE t;\n";
        let statements = statements(sql);
        let names: Vec<Option<&str>> = statements.iter().map(|one| index_of(one)).collect();
        assert_eq!(names, [Some("one"), Some("two"), None]);
        assert_eq!(statements[2], "ANALYZE t");
    }
}
