//! A database's views, compared with those that the contracts want, and brought in step in one transaction.

use super::names::{literal, quoted};
use super::{SCHEMA, View, reader};
use contracts::Secret;
use runtime::config::ConfigError;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use store::connect::ACQUIRE;
use store::fault::sqlstate;
use store::servers::Servers;

/// Two who apply at once to one database do so one after the other. The number is ours: "EFVIEWS" in hexadecimal.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'45465649455753'::bigint)";

/// How one view differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is as its contract wants it
    InStep,
    /// It is not there
    Missing,
    /// Its contract has changed, or the reader may not read it
    Changed,
    /// Its contract is gone, or has a view of another name
    Gone,
}

/// One view, and what brings it in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name, not quoted
    pub view: String,
    /// Its contract
    pub contract: String,
    /// How it differs
    pub state: State,
    /// Nothing where it is in step
    pub statements: Vec<String>,
}

/// What brings a database in step, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The schema, and who may read it
    pub before: Vec<String>,
    /// Each view; those that go come first
    pub steps: Vec<Step>,
    /// The reader is missing, and this user may not create it
    pub without_reader: bool,
}

impl Plan {
    /// All statements, in order.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        let of_steps = self.steps.iter().flat_map(|step| &step.statements);
        self.before.iter().chain(of_steps).map(String::as_str)
    }
}

/// A relation in the schema.
#[derive(FromRow)]
struct Relation {
    name: String,
    is_view: bool,
    comment: Option<String>,
    names: Vec<String>,
    types: Vec<String>,
    readable: bool,
}

/// What a database has besides views.
#[derive(FromRow)]
struct Around {
    migrated: bool,
    schema: bool,
    /// The reader is there
    reader: bool,
    /// This user may create it
    may_create: bool,
    /// The reader may use the schema
    usable: bool,
}

const AROUND: &str = "
    SELECT to_regclass('persistence.stored_events') IS NOT NULL AS migrated,
           n.oid IS NOT NULL AS schema, r.oid IS NOT NULL AS reader,
           (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may_create,
           coalesce(has_schema_privilege(r.oid, n.oid, 'USAGE'), false) AS usable
    FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1 LEFT JOIN pg_roles r ON r.rolname = $2";

const RELATIONS: &str = "
    SELECT c.relname::text AS name, c.relkind = 'v' AS is_view, obj_description(c.oid, 'pg_class') AS comment,
           array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS names,
           array(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS types,
           coalesce(has_table_privilege(r.oid, c.oid, 'SELECT'), false) AS readable
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_roles r ON r.rolname = $2
    WHERE n.nspname = $1 ORDER BY c.relname";

/// What the comment of a view of ours says.
const KEPT: &str = " Kept by eventflow admin views: ";
const EVENTS_OF: &str = "Events of contract ";

fn comment(view: &View) -> String {
    let digest = hex::encode(&Sha256::digest(&view.definition)[..8]);
    format!("{EVENTS_OF}{}.{KEPT}{digest}", view.contract)
}

impl Relation {
    /// The contract it was made of; `None` when it is not ours.
    fn contract(&self) -> Option<&str> {
        let (head, _) = self.comment.as_deref()?.rsplit_once(KEPT)?;
        let contract = head.strip_prefix(EVENTS_OF)?.strip_suffix('.')?;
        self.is_view.then_some(contract)
    }

    /// Whether PostgreSQL can replace it by this view, which keeps what depends on it: its columns stay, and others follow them.
    fn can_become(&self, view: &View) -> bool {
        let now = self.names.iter().zip(&self.types);
        let wanted = view.columns.iter();
        self.names.len() <= view.columns.len()
            && now
                .zip(wanted)
                .all(|((name, kind), (other, wanted))| name == other && kind == wanted)
    }
}

/// Nothing connects yet.
///
/// # Errors
/// [`ConfigError`]
pub fn pool(url: &Secret) -> Result<PgPool, ConfigError> {
    Ok(Servers::parse(url, SCHEMA)?.pool(1, ACQUIRE))
}

/// Compares a database with the views that are wanted, and changes nothing.
///
/// # Errors
/// The rows' tables are not there, something else has a view's name, or an error of PostgreSQL.
pub async fn compare(connection: &mut PgConnection, wanted: &[View]) -> anyhow::Result<Plan> {
    let reader = reader();
    let around: Around = sqlx::query_as(AROUND)
        .bind(SCHEMA)
        .bind(&reader)
        .fetch_one(&mut *connection)
        .await?;
    anyhow::ensure!(
        around.migrated,
        "the view persistence.stored_events is not there; run eventflow admin migrate first"
    );
    let relations: Vec<Relation> = sqlx::query_as(RELATIONS)
        .bind(SCHEMA)
        .bind(&reader)
        .fetch_all(connection)
        .await?;
    let has_reader = around.reader || around.may_create;
    let mut plan = Plan {
        without_reader: !has_reader,
        ..Plan::default()
    };
    if !around.schema {
        plan.before.push(format!("CREATE SCHEMA {SCHEMA}"));
    }
    if !around.reader && around.may_create {
        // Roles are of all databases of a server, and somebody may make it in another one at this moment.
        plan.before.push(format!(
            "DO $$ BEGIN CREATE ROLE {reader} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        ));
    }
    if has_reader && !around.usable {
        plan.before
            .push(format!("GRANT USAGE ON SCHEMA {SCHEMA} TO {reader}"));
    }
    for relation in &relations {
        let is_wanted = wanted.iter().any(|view| view.name == relation.name);
        match relation.contract() {
            Some(contract) if !is_wanted => plan.steps.push(Step {
                view: relation.name.clone(),
                contract: contract.to_owned(),
                state: State::Gone,
                statements: vec![format!("DROP VIEW {}", full(&relation.name))],
            }),
            None if is_wanted => anyhow::bail!(
                "{} is there, and is none of our views: rename it or drop it, then run this again",
                full(&relation.name)
            ),
            Some(_) | None => {}
        }
    }
    for view in wanted {
        let there = relations.iter().find(|relation| relation.name == view.name);
        let (state, statements) = step(view, there, has_reader);
        plan.steps.push(Step {
            view: view.name.clone(),
            contract: view.contract.clone(),
            state,
            statements,
        });
    }
    Ok(plan)
}

/// How a view differs, and what brings it in step.
fn step(view: &View, there: Option<&Relation>, has_reader: bool) -> (State, Vec<String>) {
    let (name, comment) = (full(&view.name), comment(view));
    let grant = format!("GRANT SELECT ON {name} TO {}", reader());
    let mut statements = Vec::new();
    let state = match there {
        Some(relation) if relation.comment.as_deref() == Some(&comment) => {
            if relation.readable || !has_reader {
                return (State::InStep, statements);
            }
            return (State::Changed, vec![grant]);
        }
        Some(relation) => {
            if !relation.can_become(view) {
                statements.push(format!("DROP VIEW {name}"));
            }
            State::Changed
        }
        None => State::Missing,
    };
    statements.push(format!(
        "CREATE OR REPLACE VIEW {name} AS\n{}",
        view.definition
    ));
    statements.push(format!("COMMENT ON VIEW {name} IS {}", literal(&comment)));
    if has_reader {
        statements.push(grant);
    }
    (state, statements)
}

/// Brings a database in step; a second time it changes nothing. All of it is done, or nothing.
///
/// # Errors
/// As [`compare`], or what PostgreSQL refuses: such as to drop a view that others depend on.
pub async fn apply(pool: &PgPool, wanted: &[View]) -> anyhow::Result<Plan> {
    let mut transaction = pool.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    let plan = compare(&mut transaction, wanted).await?;
    for statement in plan.statements() {
        // Names are quoted, texts are literals, and all else is ours.
        let run = sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction);
        run.await.map_err(|error| refused(statement, &error))?;
    }
    transaction.commit().await?;
    Ok(plan)
}

/// What PostgreSQL says of a statement, and why.
fn refused(statement: &str, error: &sqlx::Error) -> anyhow::Error {
    let of = statement.lines().next().unwrap_or_default().to_owned();
    let detail = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
        .and_then(|error| error.detail())
        .map(|detail| format!("; {}", detail.replace('\n', "; ")))
        .unwrap_or_default();
    let next = match sqlstate(error).as_deref() {
        Some("2BP01") => {
            ". Its columns change, so the view is recreated: drop what depends on it, run this again, and create that again"
        }
        Some("42501") => ". Connect as the user who ran eventflow admin migrate",
        _ => "",
    };
    anyhow::anyhow!("nothing is changed: {of}: {error}{detail}{next}")
}

/// The name with its schema, in SQL.
fn full(view: &str) -> String {
    format!("{SCHEMA}.{}", quoted(view))
}
