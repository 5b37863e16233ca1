//! A vendor is switched on: what its source cannot verify yet is accepted, waits for a person's word, and becomes a row by it, and by it alone.

use crate::oncall::{OnCall, items, until};
use crate::post::{authorized, client};
use crate::world::{World, embedded};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};

const SECRET: &str = "the secret of the vendor";

/// Posts an event, signed so; its status.
async fn post(world: &World, source: &str, event_id: &str, secret: &str, seconds_ago: i64) -> u16 {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    let verifier = Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let at = i64::try_from(now.unwrap().as_secs()).unwrap() - seconds_ago;
    let body = authorized(event_id);
    let mut request = client().post(format!("http://{}/api/webhooks/{source}", world.edge));
    for (name, value) in verifier.sign(None, at, body.as_bytes(), 0) {
        request = request.header(name, value);
    }
    request.body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_webhook_becomes_a_row_by_the_word_of_a_person_and_a_stale_one_by_a_replay() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, "not the vendor's").unwrap();
    let source = |name: &str, more: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"k\", from = \"file:{}\" }}]\n{more}\n",
            secret.display()
        )
    };
    let onboarding = "mode = \"onboarding\"\nonboarding_until = 2100-01-01T00:00:00Z";
    let both = [
        source("new", onboarding),
        source("late", "stale = \"quarantine\""),
    ];
    let sources = world.sources(&both.concat());
    let sources = ["--sources", sources.to_str().unwrap()];
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &sources);
    let recovery = world.role(
        "recovery",
        &[&sources[..], &["--require-approval"]].concat(),
    );
    // The breaker is on: what came without proof does not open it.
    let roles = [
        world.role("validator", &sources),
        world.role("persistence", &[]),
    ];
    for role in roles.iter().chain([&producer, &recovery]) {
        role.until_ready().await;
    }
    for event in ["vendor-1", "vendor-2"] {
        assert_eq!(
            post(&world, "new", event, SECRET, 0).await,
            200,
            "not verified yet"
        );
    }
    assert_eq!(post(&world, "new", "stranger", "a guess", 0).await, 200);
    // The right secret is put in place, and from then on what the vendor signs is verified.
    std::fs::write(&secret, SECRET).unwrap();
    until("the secret is known", async || {
        let refused = post(&world, "late", "probe", "not the vendor's", 0).await == 401;
        refused && post(&world, "late", "fresh", SECRET, 0).await == 200
    })
    .await;
    assert_eq!(post(&world, "new", "vendor-3", SECRET, 0).await, 200);
    assert_eq!(post(&world, "late", "retried", SECRET, 7200).await, 200);
    assert_eq!(post(&world, "late", "forged", "a guess", 7200).await, 401);
    let oncall = OnCall::of(&world).await;
    oncall
        .until_number(
            "SELECT count(*) FROM recovery.dead_letters WHERE state = 'open'",
            4,
        )
        .await;
    oncall
        .until_number(
            "SELECT count(*) FROM recovery.dead_letters WHERE unproven = 'unverified'",
            3,
        )
        .await;
    let stored = "SELECT count(*) FROM persistence.events WHERE event_id NOT IN ('fresh', 'probe')";
    oncall.until_number(stored, 1).await;
    // Nobody can replay what nobody vouches for.
    let id = async |event: &str| {
        let found = oncall.json(&["dlq", "ls", "--event-id", event]).await;
        found["letters"][0]["id"].as_i64().unwrap().to_string()
    };
    let (first, second, stranger, retried) = (
        id("vendor-1").await,
        id("vendor-2").await,
        id("stranger").await,
        id("retried").await,
    );
    let refused = oncall
        .types(
            "anna",
            &["replay", "plan", "--code", "unverified", "--code", "stale"],
        )
        .await;
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.err.contains("eventflow dlq genuine"),
        "{}",
        refused.err
    );
    // Today's secret verifies the vendor's, and not the stranger's.
    let verified = async |event: &str| {
        let trace = oncall.json(&["trace", event]).await;
        trace["stories"][0]["verified_again"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(
        verified("vendor-1")
            .await
            .starts_with("verified by secret k")
    );
    assert!(
        verified("stranger")
            .await
            .starts_with("NOT verified, as at the edge")
    );
    let said = oncall
        .types(
            "anna",
            &[
                "dlq",
                "genuine",
                &first,
                &second,
                "--reason",
                "they verify today",
            ],
        )
        .await;
    assert_eq!(said.out, "called genuine: 2 dead letters\n", "{}", said.err);
    let planned = oncall
        .json(&[
            "replay", "plan", "--id", &first, "--id", &second, "--id", &retried,
        ])
        .await;
    let job = planned["id"].as_str().unwrap();
    // A second person must agree, as for edited values.
    let applied = oncall
        .types("anna", &["replay", "apply", job, "--yes"])
        .await;
    assert!(applied.err.contains("needs_approval"), "{}", applied.err);
    let approved = oncall.types("anna", &["replay", "approve", job]).await;
    assert_ne!(approved.code, Some(0));
    assert_eq!(
        oncall
            .types("boris", &["replay", "approve", job])
            .await
            .code,
        Some(0)
    );
    let applied = oncall
        .types("anna", &["replay", "apply", job, "--yes"])
        .await;
    assert_eq!(applied.code, Some(0), "{}", applied.err);
    oncall.until_number(stored, 4).await;
    let discard = [
        "dlq",
        "discard",
        &stranger,
        "--reason",
        "not in the vendor's log",
    ];
    assert_eq!(oncall.types("boris", &discard).await.code, Some(0));
    until("every fate is known", async || {
        let audit = oncall.json(&["audit", "--now"]).await;
        let discarded = audit["dead_lettered"]["discarded"].as_i64();
        (
            audit["gaps"].as_i64(),
            audit["in_flight"].as_i64(),
            discarded,
        ) == (Some(0), Some(0), Some(1))
    })
    .await;
    let job = oncall.json(&["replay", "status", job]).await;
    let found = job["by_state"].as_object().unwrap();
    let found = found
        .iter()
        .map(|(state, count)| (state.clone(), count.as_i64().unwrap()));
    assert_eq!(
        found.collect::<crate::oncall::Items>(),
        items([("stored", 3)])
    );
    // The running edge says what it accepts, and which secret matched.
    let (_, sources) = producer.ask("/sources").await.unwrap();
    let sources: serde_json::Value = serde_json::from_str(&sources).unwrap();
    let secret = &sources["sources"][1]["secrets"][0];
    assert!(
        secret["last_matched_at"].as_i64().unwrap() > 1_700_000_000,
        "{sources}"
    );
    assert!(!sources.to_string().contains(SECRET));
}
