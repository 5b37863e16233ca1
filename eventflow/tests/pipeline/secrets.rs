//! Every role with all its logs on, through traffic good and bad and three outages: no secret is anywhere but where it was given.

use crate::post::{authorized, client, post};
use crate::secure::until_reason;
use crate::world::{DEADLINE, SECRET, World, embedded};
use contracts::kafka::topics;
use runtime::admin::read_all;
use sandbox::harness::wait_for;

/// Given as environment; every one has this word in it.
const WORD: &str = "LEAKED";
/// The registry's two passwords as basic authentication sends them.
const ENCODED: [&str; 2] = [
    "cmVnaXN0cnktdXNlcjpMRUFLRUQtcmVnaXN0cnktcGFzc3dvcmQ=",
    "dXNlcjpMRUFLRUQtcmVnaXN0cnktdXJs",
];
const API_KEY: &str = "LEAKED-api-key";

/// Everything that was written anywhere, and by whom.
struct Outputs {
    secrets: Vec<String>,
    texts: Vec<(String, String)>,
}

impl Outputs {
    fn add(&mut self, who: impl Into<String>, text: impl Into<String>) {
        self.texts.push((who.into(), text.into()));
    }

    fn assert_clean(&self) {
        for (who, text) in &self.texts {
            for secret in &self.secrets {
                if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                    let shown: String = line.chars().take(2000).collect();
                    panic!("{who} shows {secret:?}: {shown}");
                }
            }
        }
    }
}

/// `POST /api/ingest` with this key; status and body.
async fn ingest(world: &World, key: &str) -> (u16, String) {
    let payload = r#"{"payment_id":"pay-ingest","order_id":"o","provider_auth_id":"a","amount":"1.50","currency":"EUR"}"#;
    let request = client()
        .post(format!("http://{}/api/ingest", world.edge))
        .header("x-api-key", key)
        .body(payload);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Posts until the answer is of this status: an outage takes a moment to be noticed, or to be over.
async fn until_status(world: &World, outputs: &mut Outputs, event_id: &str, wanted: u16) {
    wait_for(DEADLINE, async || {
        let (status, answer) = post(&client(), &world.edge, authorized(event_id), SECRET)
            .await
            .unwrap();
        outputs.add(format!("the answer {status}"), answer.to_string());
        if status == wanted {
            Ok(())
        } else {
            Err(format!("{status}, not {wanted}: {answer}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_any_answer_any_record_or_any_row() {
    let (broker, mut flags) = embedded();
    // The Kafka client's own debugging: its configuration, and what it does about security.
    flags.extend(
        [
            "ssl.key.password=LEAKED-key-password",
            "debug=conf,security",
        ]
        .map(|pair| format!("--kafka-config={pair}")),
    );
    // A connection that hangs is closed after six seconds, not sixty.
    flags.push("--kafka-config=socket.timeout.ms=6000".to_owned());
    let mut world = World::on(broker.kafka(), flags);
    world.registry_login = "user:LEAKED-registry-url@";
    world.environment = [
        ("EVENTFLOW_LOG", "trace"),
        ("EVENTFLOW_INGEST_API_KEY", API_KEY),
        ("EVENTFLOW_KAFKA_PASSWORD", "LEAKED-kafka-password"),
        ("EVENTFLOW_REGISTRY_USERNAME", "registry-user"),
        ("EVENTFLOW_REGISTRY_PASSWORD", "LEAKED-registry-password"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let url = world.postgres.url();
    let password = url
        .split_once("eventflow:")
        .unwrap()
        .1
        .split_once('@')
        .unwrap()
        .0
        .to_owned();
    let secrets = [WORD, SECRET, &password]
        .into_iter()
        .chain(ENCODED)
        .map(str::to_owned)
        .collect();
    let mut outputs = Outputs {
        secrets,
        texts: Vec::new(),
    };

    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    // Answers of every kind. The registry is not there yet.
    for (body, secret, expected) in [
        (authorized("e-1"), SECRET, 200),
        (authorized("e-1"), SECRET, 200),
        (authorized("e-1").replace("1.50", "2.50"), SECRET, 200),
        ("not json".to_owned(), SECRET, 200),
        (authorized("e-2"), "LEAKED-another-secret", 401),
    ] {
        let (status, answer) = post(&client(), &world.edge, body, secret).await.unwrap();
        assert_eq!(status, expected, "{answer}");
        outputs.add(format!("the answer {status}"), answer.to_string());
    }
    for (key, expected) in [(API_KEY, 200), ("LEAKED-wrong-key", 401)] {
        let (status, answer) = ingest(&world, key).await;
        assert_eq!(status, expected, "{answer}");
        outputs.add(format!("the answer {status} of /api/ingest"), answer);
    }
    let (validator, persistence) = (world.role("validator", &[]), world.role("persistence", &[]));
    outputs.add(
        "the validator's /ready without a registry",
        until_reason(&validator, "registry_unavailable").await,
    );
    let registry = world.role("registry", &[]);
    validator.until_ready().await;
    persistence.until_ready().await;
    // Without its database, then without the broker.
    world.postgres.stop_server().unwrap();
    until_status(&world, &mut outputs, "e-3", 200).await;
    outputs.add(
        "persistence's /ready without a database",
        until_reason(&persistence, "database_unavailable").await,
    );
    world.postgres.start_server().unwrap();
    broker.set_up(false);
    until_status(&world, &mut outputs, "e-4", 503).await;
    outputs.add(
        "the producer's /ready without a broker",
        producer.ask("/ready").await.unwrap().1,
    );
    broker.set_up(true);
    until_status(&world, &mut outputs, "e-5", 200).await;
    let (fates, ids) = world.account().await;
    assert!(
        fates.contains_key("dead_lettered conflict")
            && fates.contains_key("dead_lettered not_json"),
        "{fates:?}"
    );

    for id in ids {
        outputs.add(format!("the row of {id}"), world.row(&id).await);
    }
    for topic in [topics::RAW, topics::VALIDATED, topics::DLQ] {
        let records = read_all(&broker.kafka(), topic).unwrap();
        assert!(!records.is_empty(), "{topic}");
        for record in records {
            let text = |bytes: &Option<Vec<u8>>| {
                String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
            };
            outputs.add(format!("a key of {topic}"), text(&record.key));
            outputs.add(format!("a value of {topic}"), text(&record.value));
            for (name, value) in &record.headers {
                outputs.add(
                    format!("the header {name} of {topic}"),
                    format!("{name}: {}", text(value)),
                );
            }
        }
    }
    for (name, role) in [
        ("producer", producer),
        ("validator", validator),
        ("persistence", persistence),
        ("registry", registry),
    ] {
        for path in ["/health", "/ready", "/metrics"] {
            outputs.add(
                format!("{path} of the {name}"),
                role.ask(path).await.unwrap().1,
            );
        }
        let log = role.log.clone();
        assert_eq!(role.terminate(), Some(0), "{name}");
        let log = std::fs::read_to_string(log).unwrap();
        assert!(
            log.contains("DEBUG"),
            "{name} does not log everything: {log}"
        );
        outputs.add(format!("the log of the {name}"), log);
    }
    outputs.assert_clean();
}
