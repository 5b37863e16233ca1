//! Views are kept in step with the contracts: a second time nothing changes, a changed contract changes its view, one that is gone takes it away.

use crate::world::{version, world};
use contracts::event::Catalog;
use persistence::views::database::{self, State};
use persistence::views::{self, View};
use serde_json::{Value, json};

const VIEW: &str = "parcel_sent";

/// Contract `parcel.sent`, in versions of these fields.
fn parcels(versions: &[Value]) -> Catalog {
    let files = (1..).zip(versions).map(|(number, fields)| {
        let schema = json!({"type": "object", "required": ["parcel"], "properties": fields});
        version("parcel.sent", number, &schema)
    });
    Catalog::compile(files).unwrap()
}

fn text() -> Value {
    json!({"type": "string"})
}

fn changed(state: State) -> Vec<(String, State)> {
    vec![(VIEW.to_owned(), state)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_changes_nothing() {
    let world = world().await;
    let contracts = parcels(&[json!({"parcel": text(), "weight": {"type": "integer"}})]);
    assert_eq!(world.step(&contracts).await, changed(State::Missing));
    let row = "SELECT xmin::text || ' ' || oid::text FROM pg_class WHERE oid = 'events.parcel_sent'::regclass";
    let first = world.text(row).await;
    let plan = world.apply(&views::of(&contracts)).await;
    assert_eq!(plan.statements().count(), 0, "{plan:?}");
    assert_eq!(world.text(row).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_side_by_side_with_the_columns_of_the_newest() {
    let world = world().await;
    let first = json!({"parcel": text(), "weight": {"type": "integer"}});
    let second = json!({"parcel": text(), "weight": {"type": "integer"}, "city": text(), "price": {"type": "number", "x-eventflow": "amount"}});
    let old = parcels(std::slice::from_ref(&first));
    world.step(&old).await;
    let both = parcels(&[first, second]);
    let sent = json!({"parcel": "a", "weight": 3});
    world.event(&both, "1", "parcel.sent.v1", &sent).await;
    let sent = json!({"parcel": "b", "weight": 4, "city": "Ulm", "price": 4.25});
    world.event(&both, "2", "parcel.sent.v2", &sent).await;
    // The amount of the row comes before the fields, so the view is recreated.
    assert_eq!(world.step(&both).await, changed(State::Changed));
    let rows = world
        .query("SELECT contract, parcel, weight, city, price, amount FROM events.parcel_sent ORDER BY event_id")
        .await
        .unwrap();
    let expected = [
        json!({"contract": "parcel.sent.v1", "parcel": "a", "weight": 3, "city": null, "price": null, "amount": null}),
        json!({"contract": "parcel.sent.v2", "parcel": "b", "weight": 4, "city": "Ulm", "price": 4.25, "amount": 4.25}),
    ];
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_others_depend_on_is_replaced_or_left() {
    let world = world().await;
    let first = json!({"parcel": text(), "weight": {"type": "integer"}});
    let second = json!({"parcel": text(), "weight": {"type": "integer"}, "city": text()});
    world.step(&parcels(std::slice::from_ref(&first))).await;
    world
        .run("CREATE VIEW public.mine AS SELECT parcel FROM events.parcel_sent")
        .await;
    // A column more: PostgreSQL replaces it in place.
    let both = parcels(&[first, second]);
    assert_eq!(world.step(&both).await, changed(State::Changed));
    let sent = json!({"parcel": "a", "weight": 3, "city": "of an undeclared field"});
    world.event(&both, "1", "parcel.sent.v1", &sent).await;
    let sent = json!({"parcel": "b", "weight": 4});
    world.event(&both, "2", "parcel.sent.v2", &sent).await;
    let rows = world
        .query("SELECT parcel, weight, city FROM events.parcel_sent ORDER BY event_id")
        .await
        .unwrap();
    let expected = [
        json!({"parcel": "a", "weight": 3, "city": "of an undeclared field"}),
        json!({"parcel": "b", "weight": 4, "city": null}),
    ];
    assert_eq!(rows, expected);
    // Another type: it would have to be dropped, and is not.
    let other = parcels(&[json!({"parcel": text(), "weight": text(), "city": text()})]);
    let before = world.text("SELECT pg_get_viewdef('events.parcel_sent'::regclass)");
    let before = before.await;
    let refused = database::apply(&world.pool, &views::of(&other)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("view public.mine depends on view parcel_sent")
            && refused.contains("drop what depends on it"),
        "{refused}"
    );
    let after = world.text("SELECT pg_get_viewdef('events.parcel_sent'::regclass)");
    assert_eq!(after.await, before);
    world.run("DROP VIEW public.mine").await;
    assert_eq!(world.step(&other).await, changed(State::Changed));
    let kind = "SELECT pg_typeof(weight)::text FROM events.parcel_sent LIMIT 1";
    assert_eq!(world.text(kind).await.as_deref(), Some("text"));
    assert_eq!(world.step(&other).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_views_of_ours_go_and_nothing_else_is_touched() {
    let world = world().await;
    let contracts = parcels(&[json!({"parcel": text()})]);
    world.step(&contracts).await;
    world
        .run(
            "CREATE VIEW events.mine AS SELECT 1 AS one; CREATE TABLE events.kept ();
             COMMENT ON TABLE events.kept IS 'Events of contract x. Kept by eventflow admin views: 0000000000000000'",
        )
        .await;
    let none = Catalog::compile([]).unwrap();
    assert_eq!(world.step(&none).await, changed(State::Gone));
    let left = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'events'::regnamespace";
    assert_eq!(world.text(left).await.as_deref(), Some("kept mine"));
    // A table that has the name of a view is nobody's to drop.
    world.run("CREATE TABLE events.parcel_sent ()").await;
    let refused = database::apply(&world.pool, &views::of(&contracts)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("events.\"parcel_sent\" is there, and is none of our views"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rows_it_says_what_to_do_first() {
    let url = sandbox::harness::database().await;
    let pool = database::pool(&contracts::Secret::new(url)).unwrap();
    let refused = database::apply(&pool, &[]).await.unwrap_err().to_string();
    assert!(refused.contains("eventflow admin migrate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_do_it_once() {
    let world = world().await;
    let views: Vec<View> = views::of(&parcels(&[json!({"parcel": text()})]));
    let other = database::pool(&contracts::Secret::new(world.url.clone())).unwrap();
    let (one, two) = tokio::join!(
        database::apply(&world.pool, &views),
        database::apply(&other, &views)
    );
    let states = [one, two].map(|plan| plan.unwrap().steps[0].state);
    assert!(
        states.contains(&State::Missing) && states.contains(&State::InStep),
        "{states:?}"
    );
}
