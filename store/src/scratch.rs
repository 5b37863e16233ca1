//! A temporary table like the table of events, in which rows can be tried without storing one.

use crate::row::definitions;
use sqlx::{AssertSqlSafe, PgConnection};

/// What PostgreSQL's catalogue says of a table, as a definition: columns with their defaults, and checks. Identities are left out.
const PARTS: &str = "
    SELECT format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = ''
    UNION ALL
    SELECT format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE conrelid = to_regclass($1) AND contype = 'c'";

/// Its indexes: a text that is too long for one is refused by it.
const INDEXES: &str = "
    SELECT i.indisunique, substr(definition, strpos(definition, ' USING '))
    FROM pg_index i CROSS JOIN LATERAL pg_get_indexdef(i.indexrelid) AS definition
    WHERE i.indrelid = to_regclass($1) AND i.indisvalid
      AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) AND a.attidentity <> '')";

/// Without the table: those of its indexes that can refuse a text. `persistence/tests/scratch.rs` compares them with the migrations.
const FALLBACK_INDEXES: [(bool, &str); 1] = [(
    true,
    r#" USING btree (event_id COLLATE "C", source COLLATE "C")"#,
)];

/// Makes the temporary table `name` once a connection (one a transaction would fill PostgreSQL's catalogue); every transaction finds it empty.
///
/// It is made like the table `like` is now. Read from the catalogue, since `LIKE` takes the right to read the table. Where there is none, it
/// has the columns [`crate::row`] declares: what PostgreSQL refuses by their types is found.
///
/// # Errors
/// Those of the statements.
pub async fn create(
    connection: &mut PgConnection,
    name: &'static str,
    like: &str,
) -> Result<(), sqlx::Error> {
    let made: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(["pg_temp.", name].concat())
        .fetch_one(&mut *connection)
        .await?;
    if made {
        return Ok(());
    }
    let parts: Vec<String> = sqlx::query_scalar(PARTS)
        .bind(like)
        .fetch_all(&mut *connection)
        .await?;
    let mut indexes: Vec<(bool, String)> = sqlx::query_as(INDEXES)
        .bind(like)
        .fetch_all(&mut *connection)
        .await?;
    let mut columns = parts.join(", ");
    if parts.is_empty() {
        columns = definitions();
        indexes = FALLBACK_INDEXES
            .map(|(unique, on)| (unique, on.to_owned()))
            .into();
    }
    let table = format!("CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DELETE ROWS");
    sqlx::query(AssertSqlSafe(table))
        .execute(&mut *connection)
        .await?;
    for (unique, on) in indexes {
        let unique = if unique { "UNIQUE " } else { "" };
        let index = format!("CREATE {unique}INDEX ON pg_temp.{name}{on}");
        sqlx::query(AssertSqlSafe(index))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
