//! What is accepted without proof, where a source says so: marked, within a quota of its own, and nothing else of the source suffers.

use crate::world::{EVENT, SECRET, World, now, request, sign, world};
use contracts::Secret;
use contracts::kafka::headers as h;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use runtime::admin::{OwnedRecord, read_all};
use serde_json::Value;
use std::io::Write;

const HOUR: i64 = 3600;
const FOREVER: &str = "mode = \"onboarding\"\nonboarding_until = 2100-01-01T00:00:00Z";

/// Sources of the original's scheme, or the one that is named, each with more lines.
async fn sources(all: &[(&str, &str, &str)]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let file = folder.path().join("sources.toml");
    let mut text = std::fs::File::create(&file).unwrap();
    for (name, scheme, more) in all {
        writeln!(
            text,
            "[[source]]\nname = \"{name}\"\nscheme = \"{scheme}\"\nsecrets = [{{ id = \"k\", from = \"file:{}\" }}]\n{more}",
            secret.display()
        )
        .unwrap();
    }
    world(&["--sources", file.to_str().unwrap()], 100_000).await
}

/// The code of the answer, `accepted` for a 200.
async fn post(world: &World, source: &str, body: &str, signed: &[(String, String)]) -> String {
    let path = format!("/api/webhooks/{source}");
    let (status, answer, _) = world
        .ask(request(&path, body.as_bytes(), signed, &[]))
        .await;
    let word = if status == 200 { "status" } else { "code" };
    answer[word].as_str().unwrap().to_owned()
}

/// What the record of a body says: `ef.unproven`, `ef.signature_error` and `ef.secret_id`.
fn said(records: &[OwnedRecord], body: &str) -> [Option<String>; 3] {
    let mut of_body = records
        .iter()
        .filter(|record| record.value.as_deref() == Some(body.as_bytes()));
    let record = of_body.next().unwrap();
    assert!(of_body.next().is_none(), "{body} twice");
    [h::UNPROVEN, h::SIGNATURE_ERROR, h::SECRET_ID].map(|name| {
        let (_, value) = record.headers.iter().find(|(found, _)| found == name)?;
        Some(String::from_utf8(value.clone()?).unwrap())
    })
}

fn event(id: &str) -> String {
    EVENT.replace("e-1", id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_webhook_is_accepted_and_marked_where_its_source_quarantines_it() {
    let world = sources(&[
        ("strict", "eventflow", ""),
        ("late", "eventflow", "stale = \"quarantine\""),
    ])
    .await;
    let (old, fresh) = (event("old"), event("fresh"));
    let at = |body: &str, at: i64| sign(body.as_bytes(), SECRET, at);
    let too_old = at(&old, now() - 2 * HOUR);
    assert_eq!(
        post(&world, "strict", &old, &too_old).await,
        "timestamp_too_old"
    );
    assert_eq!(post(&world, "late", &old, &too_old).await, "accepted");
    assert_eq!(
        post(&world, "late", &fresh, &at(&fresh, now())).await,
        "accepted"
    );
    let early = at(&old, now() + 2 * HOUR);
    assert_eq!(
        post(&world, "late", &old, &early).await,
        "timestamp_in_future"
    );
    let forged = sign(old.as_bytes(), "another secret", now() - 2 * HOUR);
    assert_eq!(
        post(&world, "late", &old, &forged).await,
        "signature_mismatch"
    );
    assert_eq!(
        post(&world, "late", &old, &[]).await,
        "missing_signature_header"
    );
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    assert_eq!(records.len(), 2, "{records:?}");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        said(&records, &old),
        [text("stale"), text("timestamp_too_old"), None]
    );
    assert_eq!(said(&records, &fresh), [None, None, text("k")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_onboarding_whoever_posts_is_accepted_and_marked_until_it_ends() {
    let over = FOREVER.replace("2100", "2000");
    let world = sources(&[("new", "eventflow", FOREVER), ("over", "eventflow", &over)]).await;
    let at = |body: &str, secret: &str, at: i64| sign(body.as_bytes(), secret, at);
    let [signed, unsigned, forged, late, early] =
        ["signed", "unsigned", "forged", "late", "early"].map(event);
    let malformed = [
        ("x-provider-timestamp".to_owned(), now().to_string()),
        ("x-provider-signature".to_owned(), "x".to_owned()),
    ];
    let cases = [
        (&signed, at(&signed, SECRET, now()), [None, None, Some("k")]),
        (
            &unsigned,
            Vec::new(),
            [Some("unverified"), Some("missing_signature_header"), None],
        ),
        (
            &forged,
            at(&forged, "another secret", now()),
            [Some("unverified"), Some("signature_mismatch"), None],
        ),
        (
            &late,
            at(&late, SECRET, now() - 2 * HOUR),
            [Some("stale"), Some("timestamp_too_old"), None],
        ),
        (
            &early,
            at(&early, SECRET, now() + 2 * HOUR),
            [Some("unverified"), Some("timestamp_in_future"), None],
        ),
    ];
    for (body, headers, _) in &cases {
        assert_eq!(
            post(&world, "new", body, headers).await,
            "accepted",
            "{body}"
        );
    }
    assert_eq!(
        post(&world, "new", &event("malformed"), &malformed).await,
        "accepted"
    );
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    assert_eq!(records.len(), 6);
    for (body, _, expected) in cases {
        assert_eq!(
            said(&records, body),
            expected.map(|word| word.map(str::to_owned)),
            "{body}"
        );
    }
    // What is wrong in its shape is no question of who sent it.
    assert_eq!(post(&world, "new", "", &[]).await, "empty_body");
    let large = "x".repeat(300_000);
    assert_eq!(post(&world, "new", &large, &[]).await, "body_too_large");
    assert_eq!(
        post(&world, "over", &unsigned, &[]).await,
        "missing_signature_header"
    );
    assert_eq!(
        post(
            &world,
            "over",
            &forged,
            &at(&forged, "another secret", now())
        )
        .await,
        "signature_mismatch"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_use_up_a_small_quota_of_their_own_and_nothing_of_the_vendors() {
    let few = format!("{FOREVER}\nunproven_per_second = 1\nbody_limit_bytes = 8192");
    let many = format!("{FOREVER}\nunproven_per_second = 1000");
    let world = sources(&[("few", "eventflow", &few), ("hub", "github", &many)]).await;
    // Two units are there: one for each 4 KiB of the largest body.
    let large = format!("{{\"event_id\":\"{}\"}}", "x".repeat(6000));
    assert_eq!(post(&world, "few", &large, &[]).await, "accepted");
    let path = "/api/webhooks/few";
    let (status, answer, retry_after) = world.ask(request(path, large.as_bytes(), &[], &[])).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (429, Some("over_unproven_quota"))
    );
    assert!(retry_after.unwrap().parse::<u64>().unwrap() >= 1);
    for number in 0..20 {
        let body = event(&number.to_string());
        let signed = sign(body.as_bytes(), SECRET, now());
        assert_eq!(post(&world, "few", &body, &signed).await, "accepted");
    }
    // Nor the repeats of a body, where the scheme signs no time: sixteen are accepted.
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(SECRET),
        not_after: None,
    };
    let hub = Verifier::new(Scheme::preset("github").unwrap(), vec![key], None).unwrap();
    let signed = hub.sign(Some("d-1"), now(), EVENT.as_bytes(), 0);
    for _ in 0..17 {
        assert_eq!(post(&world, "hub", EVENT, &[]).await, "accepted");
    }
    assert_eq!(post(&world, "hub", EVENT, &signed).await, "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_an_unverified_batch_are_marked_one_by_one_and_counted_one_by_one() {
    let batches =
        format!("{FOREVER}\nunproven_per_second = 1\nbatches = true\nbatch_limit_bytes = 8192");
    let world = sources(&[("lots", "eventflow", &batches)]).await;
    let path = "/api/webhooks/lots/batch";
    let body = format!("[{},{}]", event("one"), event("two"));
    let (status, answer, _) = world.ask(request(path, body.as_bytes(), &[], &[])).await;
    assert_eq!((status, &answer["accepted"]), (200, &Value::from(2)));
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    for id in ["one", "two"] {
        let [unproven, ..] = said(&records, &event(id));
        assert_eq!(unproven.as_deref(), Some("unverified"));
    }
    let body = format!("[{}]", vec!["{}"; 1000].join(","));
    let (status, answer, _) = world.ask(request(path, body.as_bytes(), &[], &[])).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (429, Some("over_unproven_quota")),
        "a thousand at once are there for the largest batch, and three are used up"
    );
}
