//! SCRAM over TLS and mTLS on a real Apache Kafka: the same pipeline, and what a wrong password or a missing right looks like.

use crate::world::{DEADLINE, RealKafka, Role, SECRET, World};
use load::{LoadArgs, run};
use sandbox::harness::wait_for;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(crate) async fn load(world: &World, requests: u64) -> load::LoadReport {
    load_into(world, requests, None).await
}

/// The same, in a journal.
pub(crate) async fn load_into(
    world: &World,
    requests: u64,
    journal: Option<PathBuf>,
) -> load::LoadReport {
    let args = LoadArgs {
        url: format!("http://{}/api/webhooks/payment-authorized", world.edge),
        secret: contracts::Secret::new(SECRET),
        played: simulator::vendor::Played::default(),
        rate: 500.0,
        max: false,
        batch: 1,
        duration: Duration::from_secs(60),
        requests: Some(requests),
        connections: 8,
        journal,
        json: false,
    };
    run(&args, CancellationToken::new()).await.unwrap()
}

pub(crate) async fn until_reason(role: &Role, wanted: &str) -> String {
    wait_for(DEADLINE, async || match role.ask("/ready").await {
        Some((503, text)) if text.contains(wanted) => Ok(text),
        answer => Err(format!("/ready says {wanted}: {answer:?}\n{}", role.log())),
    })
    .await
}

async fn pipeline(kafka: &RealKafka, good: Vec<String>, bad: &[(Vec<String>, &str)]) {
    let world = World::new(kafka.plain(), good).await;
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    assert_eq!(load(&world, 300).await.events_accepted, 300);
    for (flags, says) in bad {
        let validator = world.role_with("validator", &[], flags);
        until_reason(&validator, says).await;
        assert!(
            !validator.log().contains("-secret"),
            "no password in the log"
        );
        drop(validator);
    }
    let (validator, persistence) = (world.role("validator", &[]), world.role("persistence", &[]));
    validator.until_ready().await;
    persistence.until_ready().await;
    let (counts, _) = world.account().await;
    assert_eq!(
        counts,
        [("stored".to_owned(), 300)].into(),
        "nothing was lost meanwhile"
    );
    // And an edge that may not write answers 503, never 200.
    assert_eq!(producer.terminate(), Some(0));
    let (flags, says) = &bad[bad.len() - 1];
    let refused = world.role_with("producer", &[], flags);
    until_reason(&refused, says).await;
    assert_eq!(load(&world, 5).await.events_accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_over_tls() {
    let Some(kafka) = RealKafka::start("scram_over_tls", true) else {
        return;
    };
    let flags = |user: &str, password: &str| {
        vec![
            format!("--kafka-brokers={}", kafka.get("SASL_BOOTSTRAP")),
            "--kafka-security=sasl-tls".to_owned(),
            format!("--kafka-ca={}", kafka.get("CA")),
            format!("--kafka-username={user}"),
            format!("--kafka-password={password}"),
        ]
    };
    let wrong = (flags("admin", "wrong-secret"), "Authentication");
    let powerless = (flags("nobody", "nobody-secret"), "AuthorizationFailed");
    pipeline(&kafka, flags("admin", "admin-secret"), &[wrong, powerless]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls() {
    let Some(kafka) = RealKafka::start("mutual_tls", true) else {
        return;
    };
    let flags = |name: &str| {
        let file = |ending: &str| {
            kafka
                .directory
                .path()
                .join(format!("{name}.{ending}"))
                .display()
                .to_string()
        };
        vec![
            format!("--kafka-brokers={}", kafka.get("MTLS_BOOTSTRAP")),
            "--kafka-security=tls".to_owned(),
            format!("--kafka-ca={}", kafka.get("CA")),
            format!("--kafka-certificate={}", file("crt")),
            format!("--kafka-key={}", file("key")),
        ]
    };
    let powerless = (flags("nobody"), "AuthorizationFailed");
    pipeline(&kafka, flags("admin"), &[powerless]).await;
}
