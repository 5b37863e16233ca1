//! A vendor signs wrongly: its request is refused, written, indexed, and explained to whoever asks, by processes as in production.

use crate::oncall::{OnCall, until};
use crate::post::{authorized, client, signature};
use crate::world::{SECRET, World, embedded};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_found_and_its_mistake_named() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "[[source]]\nname = \"acme\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"one\", from = \"file:{}\" }}]\n\
         capture_rejected = {{ bytes = 65536, hours = 24 }}\n",
        secret.display()
    );
    let sources = world.sources(&text);
    let sources = ["--sources", sources.to_str().unwrap()];
    let producer = world.role("producer", &sources);
    let recovery = world.role("recovery", &sources);
    producer.until_ready().await;
    let body = authorized("e-1");
    let mut request = client()
        .post(format!("http://{}/api/webhooks/acme", world.edge))
        .header("authorization", "Bearer s3cr3t");
    for (name, value) in signature(&body, SECRET) {
        request = request.header(name, value);
    }
    let answer = request.body(format!("{body}\n")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);

    let oncall = OnCall::of(&world).await;
    oncall
        .until_number("SELECT count(*) FROM recovery.rejections", 1)
        .await;
    recovery.until_ready().await;
    let groups = oncall.json(&["rejections", "groups"]).await;
    let group = &groups["groups"][0];
    assert_eq!(
        (&group["source"], &group["code"]),
        (&"acme".into(), &"signature_mismatch".into())
    );
    let id = group["sample"].to_string();
    let explained = oncall.json(&["rejections", "explain", &id]).await;
    assert_eq!(explained["mistake"], "body_line_ends", "{explained}");
    assert_eq!(explained["certain"], true);
    let shown = oncall.types("anna", &["rejections", "show", &id]).await;
    let shown = format!("{shown:?}");
    assert!(
        shown.contains("e-1") && !shown.contains("s3cr3t"),
        "{shown}"
    );
    assert!(!shown.contains(SECRET), "{shown}");
    until("nothing of it is in the audit", async || {
        oncall.audit().await["records"] == 0
    })
    .await;
}
