//! Attacks on the program as it is released, beside those of [`crate::strangers`]: each costs the attacker little, and nobody else anything.

use crate::oncall::OnCall;
use crate::post::{authorized, client, post, post_to, signature};
use crate::recovery::broken;
use crate::world::{DEADLINE, SECRET, World, embedded};
use contracts::kafka::topics;
use runtime::admin::read_all;
use sandbox::harness::until;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most memory, in mebibytes, that recovery may take for a patch beside what it has.
const PATCH_MIB: usize = 64;

/// The status of the next answer; `None` once the connection is closed.
async fn status(connection: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    connection.read_exact(&mut body).await.unwrap();
    head.split(' ').nth(1).unwrap().parse().ok()
}

/// A signed webhook as bytes.
fn signed(event_id: &str) -> String {
    let body = authorized(event_id);
    let headers: String = signature(&body, SECRET)
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "POST /api/webhooks/payment-authorized HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_a_shared_connection_costs_the_next_vendor_nothing() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    let mut connection = TcpStream::connect(&world.edge).await.unwrap();
    let body = "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    let stranger = format!(
        "POST /api/webhooks/payment-authorized HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for round in ["one", "two"] {
        connection.write_all(stranger.as_bytes()).await.unwrap();
        assert_eq!(status(&mut connection).await, Some(400), "not signed");
        let vendor = signed(round);
        connection.write_all(vendor.as_bytes()).await.unwrap();
        assert_eq!(status(&mut connection).await, Some(200), "{round}");
    }
    // Both lengths, in a head that comes in two parts: refused, and the connection ends there.
    let head = "POST /api/webhooks/payment-authorized HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.flush().await.unwrap();
    let rest = format!(
        "transfer-encoding: chunked\r\n\r\n0\r\n\r\n{}",
        signed("three")
    );
    connection.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(status(&mut connection).await, Some(400));
    assert_eq!(status(&mut connection).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signed_event_at_two_urls_is_one_record() {
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world.environment.push(("SHOP", SECRET.to_owned()));
    let sources = world.sources(
        "[[source]]\nname = \"shop\"\nscheme = \"eventflow\"\nsecrets = [{ id = \"1\", from = \"env:SHOP\" }]\n\
         [[source]]\nname = \"bulk\"\nscheme = \"eventflow\"\nsecrets = [{ id = \"1\", from = \"env:SHOP\" }]\nbatches = true\n",
    );
    let producer = world.role("producer", &["--sources", sources.to_str().unwrap()]);
    producer.until_ready().await;
    let event: serde_json::Value = serde_json::from_str(&authorized("pretty")).unwrap();
    let pretty = serde_json::to_string_pretty(&event).unwrap();
    let mut answers = Vec::new();
    for path in ["shop", "shop/batch", "bulk", "bulk/batch"] {
        let url = format!("http://{}/api/webhooks/{path}", world.edge);
        let (status, answer) = post_to(&client(), &url, pretty.clone(), SECRET)
            .await
            .unwrap();
        answers.push((path, status, answer["code"].clone()));
    }
    assert_eq!(
        answers
            .iter()
            .map(|(_, status, _)| *status)
            .collect::<Vec<_>>()[..1],
        [200],
        "{answers:?}"
    );
    assert!(
        answers
            .iter()
            .filter(|(path, ..)| path.ends_with("batch"))
            .all(|(_, status, code)| (400..500).contains(status) && code.is_string()),
        "{answers:?}"
    );
    let admin = world.admin.clone();
    let raw = tokio::task::spawn_blocking(move || read_all(&admin, topics::RAW).unwrap());
    assert_eq!(
        raw.await.unwrap().len(),
        2,
        "once for each source: {answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_copies_is_refused_and_fills_no_memory() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &[]);
    let _validator = world.role("validator", &[]);
    let recovery = world.role("recovery", &[]);
    producer.until_ready().await;
    recovery.until_ready().await;
    let (status, answer) = post(&client(), &world.edge, broken("one"), SECRET)
        .await
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    let oncall = OnCall::of(&world).await;
    oncall.until_indexed(1).await;
    let before = recovery.peak_memory_kib() / 1024;
    // Forty copies of the payload into itself are a million million of it.
    let copies =
        (0..40).map(|n| json!({"op": "copy", "from": "/payload", "path": format!("/payload/{n}")}));
    let bomb = serde_json::Value::from_iter(copies).to_string();
    let refused = oncall
        .types(
            "anna",
            &["dlq", "edit", "--id", "1", "--patch", &bomb, "--yes"],
        )
        .await;
    assert!(
        refused.code == Some(2)
            && refused
                .err
                .contains("more than 1000000 bytes after the patch"),
        "{refused:?}"
    );
    let peak = recovery.peak_memory_kib() / 1024;
    assert!(peak <= before + PATCH_MIB, "{peak} MiB, {before} before");
    until("recovery still answers", DEADLINE, async || {
        recovery
            .ask("/ready")
            .await
            .is_some_and(|(status, _)| status == 200)
    })
    .await;
}
