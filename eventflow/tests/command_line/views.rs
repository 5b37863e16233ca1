//! `eventflow admin views`: on a private PostgreSQL, with the contracts of a pack.

use crate::eventflow;
use contracts::Secret;
use persistence::writer::SCHEMA;
use sandbox::postgres::PrivatePostgres;
use sqlx::PgPool;

fn views(work: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    eventflow(&[&["admin", "views"][..], work].concat(), environment)
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_planned_made_listed_and_dropped() {
    let postgres = PrivatePostgres::start(false).unwrap();
    let url = postgres.url();
    let film = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../contracts/packs/film/events"
    );
    let of_film = [
        ("EVENTFLOW_DATABASE_URL", url.as_str()),
        ("EVENTFLOW_CONTRACTS", film),
    ];
    let (code, output) = views(&["apply"], &of_film);
    assert!(
        code == Some(1) && output.contains("run eventflow admin migrate first"),
        "{output}"
    );
    let rows = SCHEMA.pool(&Secret::new(url.clone()), 1).unwrap();
    SCHEMA.migrate(&rows).await.unwrap();
    let (code, planned) = views(&["apply", "--dry-run"], &of_film);
    assert_eq!(code, Some(0), "{planned}");
    let (code, listed) = views(&["ls"], &of_film);
    assert!(
        code == Some(1)
            && listed.contains("events.film_talent_booked\tfilm.talent.booked\tmissing")
            && listed.contains("run eventflow admin views apply"),
        "{listed}"
    );
    // What the dry run prints is what is done: somebody may as well run it by hand.
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(planned))
        .execute(&pool)
        .await
        .unwrap();
    let (code, listed) = views(&["ls"], &of_film);
    assert!(
        code == Some(0)
            && listed.contains("events.film_talent_booked\tfilm.talent.booked\tin step"),
        "{listed}"
    );
    let (code, again) = views(&["apply", "--dry-run"], &of_film);
    assert_eq!((code, again.as_str()), (Some(0), ""));
    // Without the pack's contracts its views are no longer wanted.
    let (code, applied) = views(&["apply"], &of_film[..1]);
    assert!(
        code == Some(0)
            && applied.contains("events.film_talent_booked\tfilm.talent.booked\tdropped")
            && applied.contains("events.payment_refunded\tpayment.refunded\tin step"),
        "{applied}"
    );
    let (code, dropped) = views(&["drop"], &of_film);
    assert!(
        code == Some(0) && dropped.contains("events.payment_refunded\tpayment.refunded\tdropped"),
        "{dropped}"
    );
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_views WHERE schemaname = 'events'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn what_cannot_be_used_is_named() {
    let url = ("EVENTFLOW_DATABASE_URL", "postgres://me@127.0.0.1:1/db");
    for (environment, code, names) in [
        (&[][..], 2, "--database-url"),
        (
            &[url, ("EVENTFLOW_CONTRACTS", "/nowhere")],
            2,
            "--contracts",
        ),
        (&[url], 1, ""),
    ] {
        for work in ["apply", "ls"] {
            let (exit, output) = views(&[work], environment);
            assert!(exit == Some(code) && output.contains(names), "{output}");
        }
    }
}
