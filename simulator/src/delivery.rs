//! Delivering one event: sign, post, and retry on anything but a 2xx, as providers do.

use crate::event::{Event, Fault};
use crate::journal::{Items, Journal, Sent, expected};
use crate::metrics;
use bytes::Bytes;
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use runtime::config::ConfigError;
use std::time::{Duration, Instant};

/// Where webhooks are posted, and how deliveries are retried.
#[derive(Debug, Clone, clap::Args)]
pub struct DeliveryArgs {
    /// URL webhooks are posted to
    #[arg(
        long,
        env = "EVENTFLOW_WEBHOOK_URL",
        hide_env_values = true,
        default_value = "http://localhost:8000/api/webhooks/payment-authorized"
    )]
    pub webhook_url: String,
    /// Secret webhooks are signed with
    #[arg(
        long,
        env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET",
        hide_env_values = true,
        hide_default_value = true,
        default_value = "eventflow-local-secret"
    )]
    pub webhook_signing_secret: Secret,
    /// Time limit of an attempt, in seconds
    #[arg(long, env = "SIMULATOR_WEBHOOK_TIMEOUT_SECONDS", default_value_t = 3.0)]
    pub webhook_timeout_seconds: f64,
    /// Maximum attempts to deliver a webhook
    #[arg(long, env = "SIMULATOR_MAX_ATTEMPTS", default_value_t = 4)]
    pub max_attempts: u32,
    /// Seconds between the first and the second attempt; doubles with each further one
    #[arg(long, env = "SIMULATOR_BACKOFF_BASE_SECONDS", default_value_t = 0.5)]
    pub backoff_base_seconds: f64,
    /// Maximum seconds between two attempts, before jitter
    #[arg(long, env = "SIMULATOR_BACKOFF_MAX_SECONDS", default_value_t = 5.0)]
    pub backoff_max_seconds: f64,
    /// Maximum random seconds added to each wait (jitter)
    #[arg(long, env = "SIMULATOR_BACKOFF_JITTER_SECONDS", default_value_t = 0.25)]
    pub backoff_jitter_seconds: f64,
}

/// The outcome of a delivery.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Delivered {
    /// A 2xx came back
    pub ok: bool,
    /// Attempts made
    pub attempts: u32,
    /// Status of each attempt; none where no answer came
    pub statuses: Vec<Option<u16>>,
    /// Last answer's body, or the last error
    pub message: String,
    /// The problem document's code of the last answer
    pub code: Option<String>,
    /// The wait before each attempt but the first
    pub waits: Vec<Duration>,
}

/// Posts signed webhooks.
#[derive(Debug, Clone)]
pub struct Deliverer {
    client: reqwest::Client,
    args: DeliveryArgs,
    verifier: std::sync::Arc<Verifier>,
    impostor: std::sync::Arc<Verifier>,
    source: String,
    journal: Option<std::sync::Arc<Journal>>,
}

/// The source a webhook URL names: the last part of its path.
#[must_use]
pub fn source_of(url: &reqwest::Url) -> String {
    url.path()
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Signs as the built-in source expects.
///
/// # Errors
/// The secret cannot be a key.
pub fn signer(secret: Secret) -> Result<Verifier, ConfigError> {
    let bad = |problem: String| ConfigError::new("--webhook-signing-secret", problem);
    let scheme =
        Scheme::preset("eventflow").ok_or_else(|| bad("the scheme is missing".to_owned()))?;
    Verifier::new(
        scheme,
        vec![Key {
            id: "simulator".to_owned(),
            secret,
            not_after: None,
        }],
        None,
    )
    .map_err(|error| bad(error.to_string()))
}

/// A client that posts as vendors do; `timeout` bounds an attempt.
pub(crate) fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    runtime::http_client::builder()
        .timeout(timeout)
        .no_proxy()
        // A redirected POST becomes a GET, and its 200 would pass for an acceptance.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// What an answer says.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) message: String,
    /// The problem document's code
    pub(crate) code: Option<String>,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response, now: i64) -> Self {
        let header = response.headers().get("retry-after");
        let header = header.and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| parse_retry_after(value, now));
        let status = response.status().as_u16();
        let message = response.text().await.unwrap_or_default();
        let body = serde_json::from_str::<serde_json::Value>(&message).ok();
        let code = body.and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
        Self {
            status,
            retry_after,
            message,
            code,
        }
    }
}

/// Counts an attempt, by what came back.
pub(crate) fn note_attempt(status: Option<u16>, started: Instant) {
    ::metrics::histogram!(metrics::WEBHOOK_LATENCY).record(started.elapsed());
    let (result, class) = class_of(status);
    ::metrics::counter!(metrics::WEBHOOK_ATTEMPTS, "result" => result, "status_class" => class)
        .increment(1);
}

fn class_of(status: Option<u16>) -> (&'static str, &'static str) {
    match status {
        Some(200..=299) => ("success", "2xx"),
        Some(400..=499) => ("http_error", "4xx"),
        Some(500..=599) => ("http_error", "5xx"),
        Some(_) => ("http_error", "other"),
        None => ("network_error", "n/a"),
    }
}

impl Deliverer {
    /// Connections are kept and shared by clones.
    ///
    /// # Errors
    /// Names the setting.
    pub fn new(args: &DeliveryArgs) -> Result<Self, ConfigError> {
        let url = reqwest::Url::parse(&args.webhook_url)
            .map_err(|error| ConfigError::new("--webhook-url", error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ConfigError::new(
                "--webhook-url",
                "must begin with http:// or https://",
            ));
        }
        for (setting, seconds) in [
            ("--backoff-base-seconds", args.backoff_base_seconds),
            ("--backoff-max-seconds", args.backoff_max_seconds),
            ("--backoff-jitter-seconds", args.backoff_jitter_seconds),
        ] {
            if !(0.0..=3600.0).contains(&seconds) {
                return Err(ConfigError::new(setting, "must be between 0 and 3600"));
            }
        }
        if !(args.webhook_timeout_seconds > 0.0 && args.webhook_timeout_seconds < 3600.0) {
            return Err(ConfigError::new(
                "--webhook-timeout-seconds",
                "must be above 0 and below 3600",
            ));
        }
        let client = client(Duration::from_secs_f64(args.webhook_timeout_seconds))
            .map_err(|error| ConfigError::new("--webhook-url", error.to_string()))?;
        let verifier = signer(args.webhook_signing_secret.clone())?.into();
        let impostor = signer(Secret::new("not the provider's secret"))?.into();
        Ok(Self {
            client,
            args: args.clone(),
            verifier,
            impostor,
            source: source_of(&url),
            journal: None,
        })
    }

    /// The same, with every attempt in a journal.
    #[must_use]
    pub fn with_journal(self, journal: std::sync::Arc<Journal>) -> Self {
        Self {
            journal: Some(journal),
            ..self
        }
    }

    /// The source the webhook URL names.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Delivers an event, with the fault it carries, until a 2xx, a refusal that will not change, or the last attempt. Attempts, their
    /// timeout and the longest wait bound the time it takes.
    pub async fn deliver(
        &self,
        event: &Event,
        fault: Option<Fault>,
        rng: &mut fastrand::Rng,
    ) -> Delivered {
        let mut delivered = Delivered {
            ok: false,
            attempts: 0,
            statuses: Vec::new(),
            message: String::new(),
            code: None,
            waits: Vec::new(),
        };
        while delivered.attempts < self.args.max_attempts.max(1) {
            delivered.attempts += 1;
            let started = Instant::now();
            let (status, retry_after) = self.attempt(event, fault, &mut delivered).await;
            note_attempt(status, started);
            delivered.statuses.push(status);
            let (result, class) = class_of(status);
            delivered.ok = result == "success";
            // A refusal of what we sent on purpose will not change; everything else a provider retries.
            let hopeless =
                class == "4xx" && fault.is_some() && status != Some(429) && status != Some(408);
            if delivered.ok || hopeless || delivered.attempts >= self.args.max_attempts {
                break;
            }
            ::metrics::counter!(metrics::WEBHOOK_RETRIES).increment(1);
            let wait = self.backoff(delivered.attempts, retry_after, rng);
            delivered.waits.push(wait);
            tokio::time::sleep(wait).await;
        }
        delivered
    }

    /// The wait before the next attempt: doubling, bounded, with jitter, and never less than the receiver's Retry-After (up to a minute).
    fn backoff(
        &self,
        attempts: u32,
        retry_after: Option<Duration>,
        rng: &mut fastrand::Rng,
    ) -> Duration {
        let doubled = self.args.backoff_base_seconds
            * f64::from(2_u32.saturating_pow(attempts.saturating_sub(1).min(20)));
        let seconds = doubled.min(self.args.backoff_max_seconds)
            + rng.f64() * self.args.backoff_jitter_seconds;
        Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
            .max(retry_after.unwrap_or_default().min(Duration::from_secs(60)))
    }

    async fn attempt(
        &self,
        event: &Event,
        fault: Option<Fault>,
        delivered: &mut Delivered,
    ) -> (Option<u16>, Option<Duration>) {
        let now = unix_seconds();
        let (signer, at) = match fault {
            Some(Fault::BadSignature) => (&self.impostor, now),
            Some(Fault::StaleTimestamp) => (&self.verifier, now - 600),
            Some(Fault::FutureTimestamp) => (&self.verifier, now + 600),
            _ => (&self.verifier, now),
        };
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(signer.sign(Some(&event.id), at, &event.body, 0));
        let mut request = self.client.post(&self.args.webhook_url);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let noted = self.journal.as_ref().map(|journal| {
            let sent = Sent {
                source: &self.source,
                url: &self.args.webhook_url,
                body: &event.body,
                headers: &headers,
                items: Items::Body,
                expect: &expected(fault),
                events: &[(&event.id, crate::event::EVENT_TYPE)],
            };
            (journal, journal.sent(&sent))
        });
        let body = event.body.clone();
        request = if fault == Some(Fault::SlowBody) {
            request.body(trickle(&body))
        } else {
            request.body(body)
        };
        let (status, retry_after) = match request.send().await {
            Err(error) => {
                delivered.message = error.to_string();
                delivered.code = None;
                (None, None)
            }
            Ok(response) => {
                let answer = Answer::read(response, now).await;
                delivered.message = answer.message;
                delivered.code = answer.code;
                (Some(answer.status), answer.retry_after)
            }
        };
        if let Some((journal, n)) = noted {
            journal.answered(n, status, delivered.code.as_deref());
        }
        (status, retry_after)
    }
}

/// A body in four parts with pauses between.
fn trickle(body: &[u8]) -> reqwest::Body {
    let parts: Vec<Bytes> = body
        .chunks(body.len().div_ceil(4).max(1))
        .map(Bytes::copy_from_slice)
        .collect();
    let parts = futures_util::stream::unfold(parts.into_iter(), |mut parts| async move {
        let part = parts.next()?;
        tokio::time::sleep(Duration::from_millis(40)).await;
        Some((Ok::<_, std::io::Error>(part), parts))
    });
    reqwest::Body::wrap_stream(parts)
}

/// `Retry-After` as seconds or as an HTTP date. Source: RFC 9110, section 10.2.3.
fn parse_retry_after(value: &str, now: i64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = time::PrimitiveDateTime::parse(value.trim(), format)
        .ok()?
        .assume_utc()
        .unix_timestamp();
    Some(Duration::from_secs(u64::try_from(at - now).unwrap_or(0)))
}

/// Seconds since the epoch.
pub(crate) fn unix_seconds() -> i64 {
    unix_micros() / 1_000_000
}

/// Microseconds since the epoch.
pub(crate) fn unix_micros() -> i64 {
    runtime::clock::now_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_honoured_in_both_forms() {
        assert_eq!(parse_retry_after("7", 0), Some(Duration::from_secs(7)));
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770),
            Some(Duration::from_secs(7))
        );
        assert_eq!(parse_retry_after("soon", 0), None);
        let args = DeliveryArgs {
            webhook_url: "http://127.0.0.1:1/x".to_owned(),
            webhook_signing_secret: Secret::new("s"),
            webhook_timeout_seconds: 1.0,
            max_attempts: 4,
            backoff_base_seconds: 0.5,
            backoff_max_seconds: 5.0,
            backoff_jitter_seconds: 0.25,
        };
        let deliverer = Deliverer::new(&args).unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        for (attempt, least) in [(1, 0.5), (2, 1.0), (3, 2.0), (9, 5.0), (99, 5.0)] {
            let wait = deliverer.backoff(attempt, None, &mut rng).as_secs_f64();
            assert!((least..=least + 0.25).contains(&wait), "{attempt} {wait}");
        }
        assert!(
            deliverer.backoff(1, Some(Duration::from_secs(9)), &mut rng) >= Duration::from_secs(9)
        );
        assert!(
            deliverer.backoff(1, Some(Duration::from_secs(99_999)), &mut rng)
                <= Duration::from_secs(60)
        );
        assert!(
            Deliverer::new(&DeliveryArgs {
                webhook_url: "ftp://x/y".to_owned(),
                ..args.clone()
            })
            .is_err()
        );
        for seconds in [f64::NAN, -1.0, f64::INFINITY] {
            assert!(
                Deliverer::new(&DeliveryArgs {
                    backoff_base_seconds: seconds,
                    ..args.clone()
                })
                .is_err(),
                "{seconds}"
            );
            assert!(
                Deliverer::new(&DeliveryArgs {
                    webhook_timeout_seconds: seconds,
                    ..args.clone()
                })
                .is_err(),
                "{seconds}"
            );
        }
    }
}
