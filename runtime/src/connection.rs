//! What a role reaches over the network, tried once by `--check --connect`.

use crate::http_client;
use crate::kafka::KafkaArgs;
use crate::registry::RegistryArgs;
use std::pin::Pin;
use std::time::Duration;

/// Longest an attempt may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// Something a role must reach to do its job.
pub struct Connection {
    /// What it is
    pub name: &'static str,
    /// Where it is, without a secret
    pub place: String,
    attempt: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// `attempt` answers what is wrong and the next step. It has a deadline.
    pub fn new(
        name: &'static str,
        place: String,
        attempt: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Self {
        Self {
            name,
            place,
            attempt: Box::pin(attempt),
        }
    }

    /// Kafka: a broker must answer.
    #[must_use]
    pub fn kafka(kafka: &KafkaArgs) -> Self {
        let kafka = kafka.clone();
        Self::new("Kafka", kafka.kafka_brokers.clone(), async move {
            let answer = crate::admin::cluster_id(&kafka, DEADLINE).await;
            answer.map(drop).map_err(|error| format!("{error:#}"))
        })
    }

    /// The schema registry: it must list its subjects.
    #[must_use]
    pub fn registry(registry: &RegistryArgs) -> Self {
        let url = registry.registry_url.trim_end_matches('/');
        // The URL may hold a password.
        let place = url.parse::<axum::http::Uri>().ok();
        let place = place.as_ref().and_then(|url| {
            let port = url
                .port()
                .map_or_else(String::new, |port| format!(":{port}"));
            Some([url.host()?, &port].concat())
        });
        let place = place.unwrap_or_default();
        let (registry, url) = (registry.clone(), format!("{url}/subjects"));
        Self::new("schema registry", place, async move {
            const STEP: &str =
                "check --registry-url, its user and password, and that the registry is running";
            let client = http_client::builder().timeout(DEADLINE).build();
            let client = client.map_err(|error| error.to_string())?;
            let mut request = client.get(url);
            if let Some(user) = &registry.registry_username {
                let password = registry.registry_password.as_ref();
                let password = password.map(|secret| String::from_utf8_lossy(secret.expose()));
                request = request.basic_auth(user, password);
            }
            let answer = request.send().await.map_err(|error| {
                let error = anyhow::Error::from(error.without_url());
                format!("{error:#}; {STEP}")
            })?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("answers {status}; {STEP}")),
            }
        })
    }

    /// # Errors
    /// What is wrong, and the next step.
    pub async fn attempt(self) -> Result<(), String> {
        self.attempt.await
    }
}
