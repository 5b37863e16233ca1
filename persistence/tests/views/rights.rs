//! Who may read: members of the reader, the views and nothing else. Made by somebody who is no superuser, as on a managed database.

use crate::world::world;
use contracts::Secret;
use contracts::event::Catalog;
use persistence::views;
use persistence::views::database;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use store::fault::sqlstate;
use store::users::Users;

#[tokio::test(flavor = "multi_thread")]
async fn readers_read_the_views_and_nothing_else() {
    let world = world().await;
    let database: Option<String> = world.text("SELECT current_database()::text").await;
    let database = database.unwrap();
    // Roles are of the whole cluster, which tests share.
    let (master, anna) = (format!("master_{database}"), format!("anna_{database}"));
    world
        .run(&format!(
            "CREATE ROLE {master} LOGIN CREATEROLE PASSWORD 'm'; CREATE ROLE {anna} LOGIN PASSWORD 'a';
             GRANT CREATE ON DATABASE {database} TO {master} WITH GRANT OPTION"
        ))
        .await;
    // As `admin migrate` leaves it: persistence's login owns the rows, and the master may act as it.
    let users = Users::new(&Secret::new(world.url.clone())).unwrap();
    users
        .create("persistence", &Secret::new("p"))
        .await
        .unwrap();
    world
        .run(&format!("GRANT eventflow_persistence TO {master}"))
        .await;
    let options: PgConnectOptions = world.url.parse().unwrap();
    let as_user = |user: &str, password: &str| {
        let (_, place) = world.url.split_once('@').unwrap();
        Secret::new(format!("postgres://{user}:{password}@{place}"))
    };
    let pool = database::pool(&as_user(&master, "m")).unwrap();
    let wanted = views::of(&Catalog::builtin());
    let plan = database::apply(&pool, &wanted).await.unwrap();
    assert!(!plan.without_reader);
    let again = database::apply(&pool, &wanted).await.unwrap();
    assert_eq!(again.statements().count(), 0, "{again:?}");
    world
        .run(&format!("GRANT eventflow_reader TO {anna}"))
        .await;
    let mut reader = options
        .username(&anna)
        .password("a")
        .connect()
        .await
        .unwrap();
    for view in &wanted {
        let query = format!("SELECT count(*) FROM events.{}", view.name);
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut reader)
            .await
            .unwrap();
        assert_eq!(found, 0);
    }
    for beyond in [
        "SELECT * FROM persistence.events",
        "SELECT * FROM persistence.stored_events",
        "DELETE FROM events.payment_authorized",
        "DROP VIEW events.payment_authorized",
        "CREATE VIEW events.mine AS SELECT 1",
    ] {
        let error = sqlx::query(beyond).execute(&mut reader).await.unwrap_err();
        let state = sqlstate(&error);
        // 55000: no view of a join is written to, whoever asks.
        let refused = ["42501", "55000"].contains(&state.as_deref().unwrap_or_default());
        assert!(refused, "{beyond}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_create_no_roles_still_has_views_of_their_own() {
    let world = world().await;
    let database: Option<String> = world.text("SELECT current_database()::text").await;
    let database = database.unwrap();
    let only = format!("only_{database}");
    world
        .run(&format!(
            "CREATE ROLE {only} LOGIN PASSWORD 'o'; GRANT CREATE ON DATABASE {database} TO {only};
             GRANT USAGE ON SCHEMA persistence TO {only}; GRANT SELECT ON persistence.stored_events TO {only}"
        ))
        .await;
    let (_, place) = world.url.split_once('@').unwrap();
    let url = Secret::new(format!("postgres://{only}:o@{place}"));
    let pool = database::pool(&url).unwrap();
    let wanted = views::of(&Catalog::builtin());
    database::apply(&pool, &wanted).await.unwrap();
    let again = database::apply(&pool, &wanted).await.unwrap();
    assert_eq!(again.statements().count(), 0, "{again:?}");
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM events.payment_refunded")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(found, 0);
}
