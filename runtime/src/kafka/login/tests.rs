//! Every kind of client logs in with a token, on a real Apache Kafka over TLS. The token is not Amazon's, which only Amazon can check, but
//! an unsigned one that this broker takes; who asks for it, when, and how it travels is the same.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::admin;
use crate::health::Health;
use crate::kafka::{KafkaArgs, Security};
use crate::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::harness::RealKafka;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

const TOPIC: &str = "tokens";
const DEADLINE: Duration = Duration::from_secs(30);
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// RFC 7519, section 6: a token without a signature, for a minute.
pub(super) fn token_of() -> anyhow::Result<(String, i64)> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(serde_json::json!({"alg": "none"}));
    let claims = part(serde_json::json!({"sub": "admin", "iat": now, "exp": now + 60}));
    Ok((
        format!("{header}.{claims}."),
        i64::try_from(now + 60)? * 1000,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_logs_in_with_a_token() {
    let Some(real) = RealKafka::start("every_client_logs_in_with_a_token", true) else {
        return;
    };
    // Its own arguments are of the library that is built without its tests: another type.
    let (plain, mut kafka) = (
        KafkaArgs::plaintext(real.get("BOOTSTRAP")),
        KafkaArgs::plaintext(real.get("SASL_BOOTSTRAP")),
    );
    kafka.kafka_security = Security::AwsMskIam;
    // The text itself, as a task gets it that has no files.
    kafka.kafka_ca = Some(std::fs::read_to_string(real.get("CA")).unwrap());
    admin::create_topics(&plain, &[(TOPIC, 1)]).await.unwrap();
    assert!(
        !admin::cluster_id(&kafka, DEADLINE)
            .await
            .unwrap()
            .is_empty()
    );
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let record = OutRecord {
        topic: TOPIC,
        key: None,
        value: Some(b"a"),
        headers: RecordHeaders::new(0),
    };
    publisher.publish(record, DEADLINE).await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        assert_eq!(admin::ends(&kafka, TOPIC).unwrap(), [(0, 1)]);
        assert_eq!(
            admin::committed(&kafka, "nobody-yet", TOPIC).unwrap(),
            [(0, None)]
        );
        let inspector = admin::Inspector::new(&kafka, DEADLINE).unwrap();
        assert_eq!(inspector.ends(TOPIC).unwrap(), [(0, 1)].into());
        admin::read_all(&kafka, TOPIC).unwrap()
    });
    assert_eq!(read.await.unwrap().len(), 1);
    assert!(
        ASKED.load(Ordering::Relaxed) >= 6,
        "each client asked for a token of its own"
    );
}
