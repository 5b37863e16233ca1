//! The audit log: a chain that is whole whoever writes at once, and that the role which writes it cannot change.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use contracts::Secret;
use recovery::replay::jobs;
use recovery::{SCHEMA, audit_log};
use replay::world;
use sandbox::postgres::PrivatePostgres;
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use std::borrow::Cow;
use store::users::{self, Users};

const ENTRY: &str = "INSERT INTO audit_log (who, action, job_id, dead_letter_id, reason, counts)
     VALUES ('ann', 'test', NULL, 7, 'größer, 3:abc', '{\"b\": 1,  \"a\": 1.50}')";

/// The context of recovery on a database that a test made itself.
fn context(url: &str) -> recovery::Context {
    recovery::Context::new(replay::pipeline(url, &[]), None).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_is_whole_whoever_writes_at_once_and_whatever_they_insert() {
    let world = world(&[]).await;
    let ids = world.many(40).await;
    // Each plans on its own, at the same time; half of them fail and take their entry back.
    let plans = ids.iter().map(|id| {
        let recovery = world.recovery.clone();
        let selection = recovery::model::Selection {
            id: vec![*id],
            ..Default::default()
        };
        tokio::spawn(async move {
            let key = format!("{:?}", selection.id);
            jobs::plan(&recovery, "ann", &selection, "at once", &key, None).await
        })
    });
    for plan in plans.collect::<Vec<_>>() {
        plan.await.unwrap().unwrap();
    }
    let mut taken_back = world.pool.begin().await.unwrap();
    taken_back.execute(ENTRY).await.unwrap();
    taken_back.rollback().await.unwrap();
    // Number, time and hash are not the writer's to choose.
    let forged = "INSERT INTO audit_log (seq, at, who, action, hash) OVERRIDING SYSTEM VALUE
         VALUES (7, '2020-01-01', 'alice', 'replay.approve', 'x'), (9999, '2020-01-01', 'alice', 'replay.approve', 'x')";
    world.pool.execute(forged).await.unwrap();
    let check = audit_log::verify(&world.recovery).await.unwrap();
    assert_eq!(
        (check.entries, check.seq, check.broken),
        (42, Some(42), None)
    );
    let old = "SELECT count(*) FROM audit_log WHERE at < '2026-01-01'";
    assert_eq!(world.number(old).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_row_shows_and_is_named() {
    for (change, broken) in [
        ("UPDATE audit_log SET who = 'bob' WHERE seq = 3", 3),
        (
            "UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 3",
            3,
        ),
        ("UPDATE audit_log SET job_id = '' WHERE seq = 3", 3),
        (
            "UPDATE audit_log SET dead_letter_id = NULL WHERE seq = 3",
            3,
        ),
        (
            "UPDATE audit_log SET reason = reason || ' ' WHERE seq = 3",
            3,
        ),
        ("UPDATE audit_log SET counts = '{}' WHERE seq = 3", 3),
        ("DELETE FROM audit_log WHERE seq = 3", 4),
        ("DELETE FROM audit_log WHERE seq = 1", 2),
        ("UPDATE audit_log SET seq = 100 - seq", 94),
    ] {
        let world = world(&[]).await;
        for _ in 0..6 {
            world.pool.execute(ENTRY).await.unwrap();
        }
        sqlx::raw_sql("GRANT UPDATE, DELETE ON audit_log TO CURRENT_USER; ALTER TABLE audit_log DISABLE TRIGGER append_only")
            .execute(&world.pool)
            .await
            .unwrap();
        sqlx::raw_sql("ALTER TABLE audit_log ALTER seq DROP IDENTITY")
            .execute(&world.pool)
            .await
            .unwrap();
        let check = audit_log::verify(&world.recovery).await.unwrap();
        assert_eq!((check.entries, check.broken), (6, None));
        world.pool.execute(change).await.unwrap();
        let check = audit_log::verify(&world.recovery).await.unwrap();
        assert_eq!(check.broken.map(|row| row.seq), Some(broken), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_the_chain_are_part_of_it() {
    let url = sandbox::harness::database().await;
    let pool = SCHEMA.pool(&Secret::new(url.as_str()), 1).unwrap();
    pool.execute("CREATE SCHEMA recovery").await.unwrap();
    let before = SCHEMA.migrations.iter().filter(|one| one.version < 12);
    let before = Migrator {
        migrations: Cow::Owned(before.cloned().collect()),
        ..Migrator::DEFAULT
    };
    before.run(&pool).await.unwrap();
    for _ in 0..3 {
        pool.execute(ENTRY).await.unwrap();
    }
    // A number that was never used: a transaction that was taken back.
    pool.execute("SELECT nextval(pg_get_serial_sequence('audit_log', 'seq'))")
        .await
        .unwrap();
    pool.execute(ENTRY).await.unwrap();
    SCHEMA.migrate(&pool).await.unwrap();
    pool.execute(ENTRY).await.unwrap();
    let check = audit_log::verify(&context(&url)).await.unwrap();
    assert_eq!((check.entries, check.seq, check.broken), (5, Some(6), None));
    let refused = pool.execute("UPDATE audit_log SET who = 'x'").await;
    assert!(refused.is_err());
}

/// As `eventflow admin migrate` does, by somebody who is no superuser, as on a managed database.
async fn migrate(url: &str) {
    let url = Secret::new(url);
    let users = Users::new(&url).unwrap();
    users
        .create("recovery", &Secret::new("of-recovery"))
        .await
        .unwrap();
    let pool = SCHEMA.pool_as_its_user(&url, 1).unwrap();
    SCHEMA.migrate(&pool).await.unwrap();
    users
        .restrict("recovery", audit_log::TABLE, &audit_log::FUNCTIONS)
        .await
        .unwrap();
}

async fn log_in(url: &str, user: &str, password: &str) -> PgConnection {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let options = options.username(user).password(password);
    let options = options.options([("search_path", "recovery")]);
    options.connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_of_the_role_may_insert_and_read_the_log_and_no_more() {
    let postgres = PrivatePostgres::start(false).unwrap();
    let superuser = PgPool::connect(&postgres.url()).await.unwrap();
    sqlx::raw_sql(
        "CREATE ROLE master LOGIN CREATEROLE PASSWORD 'of-master';
         GRANT CREATE, TEMPORARY ON DATABASE postgres TO master WITH GRANT OPTION",
    )
    .execute(&superuser)
    .await
    .unwrap();
    let url = postgres.url();
    let (_, place) = url.split_once('@').unwrap();
    let master = format!("postgres://master:of-master@{place}");
    let recovery = format!("postgres://eventflow_recovery:of-recovery@{place}");
    // Twice: an upgrade, or a change of password.
    for _ in 0..2 {
        migrate(&master).await;
        let kept = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'recovery.audit_log'::regclass";
        let owner: String = sqlx::query_scalar(kept)
            .fetch_one(&superuser)
            .await
            .unwrap();
        assert_eq!(owner, users::owner());
    }
    let context = context(&recovery);
    // What a running role does at its start, and its own tables, are its own still.
    SCHEMA.migrate(context.pool()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE later (); ALTER TABLE later ADD COLUMN x int; DROP TABLE later; ALTER TABLE groups ADD COLUMN x int")
        .execute(context.pool())
        .await
        .unwrap();
    for _ in 0..3 {
        context.pool().execute(ENTRY).await.unwrap();
    }
    let mut login = log_in(&url, "eventflow_recovery", "of-recovery").await;
    // A warning that it granted nothing.
    login
        .execute("GRANT ALL ON audit_log TO eventflow_recovery")
        .await
        .unwrap();
    for change in [
        "UPDATE audit_log SET who = 'alice'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "ALTER TABLE audit_log DISABLE TRIGGER append_only",
        "ALTER TABLE audit_log DISABLE TRIGGER chained",
        "DROP TRIGGER chained ON audit_log",
        "CREATE TRIGGER later BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        "CREATE RULE later AS ON INSERT TO audit_log DO INSTEAD NOTHING",
        "DROP TABLE audit_log",
        "DROP TABLE audit_log CASCADE",
        "ALTER TABLE audit_log RENAME TO gone",
        "ALTER TABLE audit_log SET SCHEMA public",
        "DROP SCHEMA recovery CASCADE",
        "ALTER SCHEMA recovery RENAME TO gone",
        "ALTER SCHEMA recovery OWNER TO eventflow_recovery",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE OR REPLACE FUNCTION chain_audit_log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "DROP FUNCTION audit_log_hash(bytea, audit_log) CASCADE",
        "SET ROLE eventflow_owner",
        "SET session_replication_role = replica",
    ] {
        let refused = login.execute(change).await.expect_err(change);
        let code = refused.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("42501"), "{change}: {refused}");
    }
    // A table of the same name in front of it leads nobody astray: neither the chain nor its check.
    sqlx::raw_sql("CREATE TEMPORARY TABLE audit_log (LIKE recovery.audit_log); INSERT INTO pg_temp.audit_log SELECT 900, now(), 'x', 'y', NULL, NULL, '', '{}', 'z'")
        .execute(&mut login)
        .await
        .unwrap();
    let straight = "INSERT INTO recovery.audit_log (who, action) VALUES ('bob', 'test')";
    login.execute(straight).await.unwrap();
    login.close().await.unwrap();
    let check = audit_log::verify(&context).await.unwrap();
    assert_eq!((check.entries, check.seq, check.broken), (4, Some(4), None));
}
