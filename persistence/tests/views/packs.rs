//! The views of the built-in contracts and of the packs: what was sent is read back, exactly; what the packs' pages ask is answered.

use crate::world::{World, world};
use contracts::event::{Catalog, Envelope, Mappings};
use contracts::pack::{self, Pack};
use persistence::views;
use serde_json::{Value, json};

fn packs() -> Vec<Pack> {
    let names = pack::names().into_iter();
    names.map(|name| pack::named(name).unwrap()).collect()
}

fn catalog(packs: &[Pack]) -> Catalog {
    let files = packs.iter().flat_map(|pack| pack.contracts.clone());
    Catalog::compile(Catalog::builtin_files().into_iter().chain(files)).unwrap()
}

/// Stores what the sources of a pack send, a request of each.
async fn send(world: &World, contracts: &Catalog, pack: &Pack) {
    let mappings = Mappings::from_toml(pack.sources_toml).unwrap();
    for request in &pack.requests {
        let id = format!("msg_{}", request.name);
        let mut headers = vec![
            ("ef.source", Some(request.source)),
            ("ef.received_at", Some("1767323045000000")),
            ("webhook-id", Some(&*id)),
        ];
        headers.extend(request.headers.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name, Some(value))
        }));
        let envelope = mappings.find(headers.as_slice(), request.body.as_bytes());
        world
            .store(contracts, request.source, envelope.unwrap())
            .await;
    }
}

/// Stores the other valid examples of a pack, one of each contract.
async fn send_examples(world: &World, contracts: &Catalog, pack: &Pack) {
    for (path, content) in pack.files() {
        let steps: Vec<&str> = path.split('/').collect();
        if let ["events", contract, version, "examples", "valid", file] = steps.as_slice()
            && *file != "plain.json"
        {
            let payload = std::str::from_utf8(content).unwrap();
            let body = format!(
                r#"{{"event_id":"{path}","event_type":"{contract}.{version}","timestamp":"2026-05-02T00:00:00Z","payload":{payload}}}"#
            );
            let envelope = Envelope::own(body.as_bytes()).unwrap();
            world.store(contracts, "examples", envelope).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_read_back_exactly_and_typed() {
    let (world, packs) = (world().await, packs());
    let contracts = catalog(&packs);
    for pack in &packs {
        send(&world, &contracts, pack).await;
    }
    let payment = json!({"payment_id": "p1", "order_id": "o1", "amount": "123456789012345678.90", "currency": "EUR", "provider_auth_id": "a"});
    world
        .event(&contracts, "e1", "payment.authorized.v1", &payment)
        .await;
    let untyped = json!({"order_id": "o1", "amount": 1});
    world.event(&contracts, "e2", "any.v1", &untyped).await;
    let views = views::of(&contracts);
    world.apply(&views).await;
    let mut typed = 0;
    for view in &views {
        let all = format!("SELECT * FROM events.{}", view.name);
        let rows = world.query(&all).await.unwrap();
        let sent = usize::from(!view.contract.starts_with("payment.refunded"));
        assert_eq!(rows.len(), sent, "{}", view.name);
        typed += rows.len();
        for row in rows {
            // What the payload has is in the columns, and none of it is lost for its type.
            let payload = row["payload"].as_object().unwrap();
            for field in contracts.contract(&view.contract).unwrap().fields() {
                let there = payload
                    .get(field.name)
                    .is_some_and(|value| !value.is_null());
                assert_eq!(
                    !row[field.name].is_null(),
                    there,
                    "{} {}",
                    view.name,
                    field.name
                );
            }
        }
    }
    let requests: usize = packs.iter().map(|pack| pack.requests.len()).sum();
    assert_eq!(typed, requests + 1, "what is of any.v1 is in no view");
    let asked = [
        (
            "amount::text FROM events.payment_authorized",
            "123456789012345678.9",
        ),
        ("amount::text FROM events.stripe_charge_refunded", "49.9"),
        ("total_price::text FROM events.shopify_orders_paid", "119.9"),
        (
            "id::text FROM events.shopify_orders_paid",
            "820982911946154508",
        ),
        (
            "pg_typeof(id)::text FROM events.shopify_orders_paid",
            "bigint",
        ),
        (
            "(created_at at time zone 'UTC')::text FROM events.shopify_orders_paid",
            "2026-05-01 18:03:00",
        ),
        ("change::text FROM events.film_budget_changed", "-40000"),
        (
            "overtime_hours::text FROM events.film_shoot_wrapped",
            "11.5",
        ),
        (
            "wrapped_on::text FROM events.film_shoot_wrapped",
            "2026-04-24",
        ),
        (
            "pg_typeof(wrapped_on)::text FROM events.film_shoot_wrapped",
            "date",
        ),
        ("completed::text FROM events.film_shoot_wrapped", "false"),
        ("entity_key FROM events.film_talent_booked", "bkg_5501"),
        ("event_type FROM events.film_talent_booked", "talent.booked"),
        (
            "contract FROM events.film_talent_booked",
            "film.talent.booked.v1",
        ),
        // The fee is the event's amount; the contract has no field of that name.
        ("amount::text FROM events.film_talent_booked", "7500"),
        ("\"union\" FROM events.film_talent_booked", "BFFS"),
        (
            "talent ->> 'name' FROM events.film_talent_booked",
            "Ada Example",
        ),
    ];
    for (query, value) in asked {
        let found = world.text(&format!("SELECT {query}")).await;
        assert_eq!(found.as_deref(), Some(value), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_of_the_packs_pages_answer_as_typed() {
    let (world, packs) = (world().await, packs());
    let contracts = catalog(&packs);
    for pack in &packs {
        send(&world, &contracts, pack).await;
        send_examples(&world, &contracts, pack).await;
    }
    world.apply(&views::of(&contracts)).await;
    for pack in &packs {
        let queries: Vec<&str> = pack.readme.split("```sql\n").skip(1).collect();
        assert!(queries.len() >= 5, "{}", pack.name);
        for query in queries {
            let (query, _) = query.split_once("```").unwrap();
            let query = query.trim().trim_end_matches(';');
            let rows: Vec<Value> = world
                .query(query)
                .await
                .unwrap_or_else(|error| panic!("{query}\n{error}"));
            assert!(!rows.is_empty(), "{query}");
        }
    }
}
