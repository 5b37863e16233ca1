//! A contract that comes later: what was stored whole is typed from the raw topic, by a job that is killed half way, and nothing else is touched.

use crate::oncall::{OnCall, items, until};
use crate::post::{client, post_to};
use crate::world::{Role, SECRET, World, embedded};
use contracts::kafka::{headers, topics};
use runtime::admin::read_all;
use serde_json::{Value, json};
use std::path::Path;

/// Orders that the contract takes.
const ORDERS: usize = 40;

/// A vendor's event in its own words: cents, and a currency in lower case.
fn order(id: &str, total: &Value) -> String {
    json!({"id": id, "kind": "order.placed", "at": 1_767_323_045, "order": {"number": format!("n-{id}"), "total": total, "currency": "eur", "lines": [{"sku": "a", "count": 2}]}})
        .to_string()
}

fn sources() -> String {
    let one = |name: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"1\", from = \"env:SHOP\" }}]\n\
             [source.event]\nid = \"/id\"\ntype = \"/kind\"\ntime = {{ from = \"/at\", as = \"unix-seconds\" }}\nentity = \"/order/number\"\n\
             payload = \"/order\"\nunknown = \"store\"\n"
        )
    };
    format!("{}{}", one("shop"), one("mall"))
}

fn write_contract(directory: &Path) {
    let folder = directory.join("order.placed/v1");
    std::fs::create_dir_all(&folder).unwrap();
    let schema = json!({"type": "object", "required": ["number", "total", "currency"], "properties": {
        "number": {"type": "string", "x-eventflow": "entity"},
        "total": {"type": "integer", "x-eventflow": "amount-minor"},
        "currency": {"type": "string", "x-eventflow": {"role": "currency", "case": "lower"}},
    }});
    std::fs::write(folder.join("schema.json"), schema.to_string()).unwrap();
    std::fs::write(folder.join("schema-id"), "91\n").unwrap();
}

/// The roles that know contracts, with the ones there are now.
struct Deployed {
    _registry: Role,
    _validator: Role,
    recovery: Role,
}

async fn deploy(world: &World, sources: &[&str]) -> Deployed {
    let deployed = Deployed {
        _registry: world.role("registry", &[]),
        _validator: world.role("validator", sources),
        recovery: world.role("recovery", sources),
    };
    deployed._validator.until_ready().await;
    deployed.recovery.until_ready().await;
    deployed
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stored_whole_are_typed_when_their_contract_comes_and_nothing_else_is_touched() {
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world.environment.push(("SHOP", SECRET.to_owned()));
    let contracts = tempfile::tempdir().unwrap();
    world.contracts = Some(contracts.path().display().to_string());
    let file = world.sources(&sources());
    let sources = ["--sources", file.to_str().unwrap()];
    let producer = world.role("producer", &sources);
    let stages = [world.role("persistence", &[]), world.role("analytics", &[])];
    let before = deploy(&world, &sources).await;
    for role in stages.iter().chain([&producer]) {
        role.until_ready().await;
    }
    let client = client();
    let send = async |source: &str, body: String| {
        let url = format!("http://{}/api/webhooks/{source}", world.edge);
        let (status, answer) = post_to(&client, &url, body, SECRET).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    };
    for number in 0..ORDERS {
        send("shop", order(&format!("o-{number}"), &json!(4990 + number))).await;
    }
    send("shop", order("bad-1", &json!("much"))).await;
    send("shop", order("bad-2", &json!(1.5))).await;
    send(
        "shop",
        order("note", &json!(1)).replace("order.placed", "order.noted"),
    )
    .await;
    send("mall", order("m-1", &json!(700))).await;
    let all = ORDERS + 4;
    let (fates, _) = world.account().await;
    assert_eq!(fates, [("stored".to_owned(), all)].into());
    let row: Value = serde_json::from_str(&world.row("o-7").await).unwrap();
    assert_eq!(
        (&row["contract"], &row["amount"]),
        (&json!("any.v1"), &Value::Null)
    );

    // The contract comes.
    drop(before);
    write_contract(contracts.path());
    let mut after = deploy(&world, &sources).await;
    let oncall = OnCall::of(&world).await;
    let plan = &[
        "revalidate",
        "plan",
        "--source",
        "shop",
        "--reason",
        "a contract",
    ];
    let tried = oncall.json(plan).await;
    assert_eq!(
        (
            &tried["would_retype"],
            &tried["would_be_unchanged"],
            &tried["would_fail_by_code"]
        ),
        (
            &json!(ORDERS),
            &json!(1),
            &json!({"wrong_type": 1, "amount_too_precise": 1})
        ),
        "{tried}"
    );
    let refused = tried["samples"].as_array().unwrap().iter();
    let refused = refused.filter(|sample| sample["code"] == "wrong_type");
    let refused: Vec<&Value> = refused.collect();
    assert_eq!(
        (&refused[0]["event_id"], &refused[0]["letter"]),
        (&json!("bad-1"), &Value::Null)
    );
    let job = tried["job"].as_str().unwrap().to_owned();
    assert_eq!(world.account().await.0["stored"], all, "nothing was sent");

    // Ten a second, and recovery is killed when some are sent and some are not.
    let start = [
        "revalidate",
        "apply",
        &job,
        "--rate",
        "10",
        "--yes",
        "--detach",
    ];
    let started = oncall.json(&start).await;
    assert_eq!(started["kind"], "revalidation", "{started}");
    until("some are typed", async || {
        oncall.items(&job).await.contains_key("retyped")
    })
    .await;
    after.recovery.stop();
    let some = oncall.items(&job).await;
    assert!(some.contains_key("pending"), "{some:?}");
    after.recovery = world.role("recovery", &sources);
    after.recovery.until_ready().await;
    assert_eq!(
        oncall.until_finished(&job).await,
        items([("retyped", i64::try_from(ORDERS).unwrap()), ("skipped", 3)])
    );
    let kafka = broker.kafka();
    let sent = tokio::task::spawn_blocking(move || {
        read_all(&kafka, &topics::retry(validator::GROUP)).unwrap()
    });
    assert_eq!(sent.await.unwrap().len(), ORDERS, "each once");

    // Typed to the cent, and whole; what the contract refuses, what has none and what is another source's are as they were.
    for number in [0, 7, ORDERS - 1] {
        let text = world.row(&format!("o-{number}")).await;
        let cents = format!(
            "\"amount\":{}.{:02}",
            49 + (90 + number) / 100,
            (90 + number) % 100
        );
        let cents = cents.trim_end_matches('0').to_owned();
        assert!(text.contains(&cents), "{cents}: {text}");
        let row: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&row["contract"], &row["currency"], &row["schema_id"]),
            (&json!("order.placed.v1"), &json!("EUR"), &json!(91))
        );
        assert_eq!(row["payload"]["lines"], json!([{"sku": "a", "count": 2}]));
    }
    for id in ["bad-1", "bad-2", "note", "m-1"] {
        let row: Value = serde_json::from_str(&world.row(id).await).unwrap();
        assert_eq!(
            (&row["contract"], &row["amount"]),
            (&json!("any.v1"), &Value::Null),
            "{id}"
        );
    }
    let (fates, _) = world.account().await;
    assert_eq!(fates, [("stored".to_owned(), all)].into());
    let audit = oncall.audit().await;
    assert_eq!(audit["stored"], json!(all), "{audit}");
    let trace = oncall.json(&["trace", "o-7"]).await;
    let steps = trace["stories"][0]["steps"].as_array().unwrap();
    let retyped: Vec<&Value> = steps
        .iter()
        .filter(|step| step["what"] == "retyped")
        .collect();
    assert_eq!(retyped.len(), 1, "{trace}");
    assert_eq!(
        retyped[0]["detail"],
        "from contract any.v1 to order.placed.v1, the same raw record"
    );

    // Once more: nothing is left to do, and nothing is done.
    let again = oncall.json(plan).await;
    assert_eq!(
        (&again["would_retype"], &again["would_fail"]),
        (&json!(0), &json!(2)),
        "{again}"
    );
    let again = again["job"].as_str().unwrap();
    let start = ["revalidate", "apply", again, "--yes", "--detach"];
    oncall.json(&start).await;
    assert_eq!(oncall.until_finished(again).await, items([("skipped", 3)]));
    let changed = "SELECT count(*) FROM persistence.retyped_events";
    assert_eq!(oncall.number(changed).await, i64::try_from(ORDERS).unwrap());
    let log = oncall.json(&["dlq", "audit-log", "--job", &job]).await;
    let actions: Vec<&str> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "replay.end",
            "replay.apply",
            "replay.dry_run",
            "revalidation.plan"
        ]
    );
    let kafka = broker.kafka();
    let made = tokio::task::spawn_blocking(move || read_all(&kafka, topics::VALIDATED).unwrap());
    let copies = made.await.unwrap();
    let copies = copies
        .iter()
        .filter(|record| record.header(headers::REVALIDATES).as_deref() == Some("any.v1"));
    assert_eq!(copies.count(), ORDERS);
}
