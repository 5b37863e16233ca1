//! A misbehaving payment provider.
//!
//! It plays the outsider: it knows how to sign and post, and nothing of Kafka. `POST /authorize` announces one payment as the original's
//! simulator did; [`stream`](mod@stream) announces many, with faults among them.

pub mod delivery;
pub mod event;
pub mod journal;
pub mod metrics;
pub mod stream;
pub mod vendor;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use delivery::{Deliverer, DeliveryArgs};
use event::{Fault, Payment, Rate, build};
use runtime::config::{ConfigError, ProcessArgs};
use runtime::health::Health;
use runtime::role::{Role, Service};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use stream::StreamSettings;
use tokio_util::sync::CancellationToken;

/// Settings of the simulator role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub delivery: DeliveryArgs,
    /// Address of POST /authorize, /health, /ready and /metrics
    #[arg(long, env = "SIMULATOR_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Share of events delivered twice (0 to 1)
    #[arg(long, env = "SIMULATOR_DUPLICATE_RATE", default_value_t = 0.05)]
    pub duplicate_rate: f64,
    /// Share of events (0 to 1) with one of four faults: missing_provider_auth_id, negative_amount, blank_order_id, currency_lowercase
    #[arg(long, env = "SIMULATOR_CORRUPTION_RATE", default_value_t = 0.01)]
    pub corruption_rate: f64,
    /// Further faults of the stream, as fault=share (0 to 1); repeatable. Dead-lettered: missing_provider_auth_id, negative_amount,
    /// blank_order_id, currency_lowercase, not_json, truncated_body, conflicting (same id, other content). Refused: bad_signature,
    /// stale_timestamp, future_timestamp. Accepted: duplicate, delayed, reordered, slow_body, burst
    #[arg(long = "fault", env = "SIMULATOR_FAULTS", value_delimiter = ',')]
    pub faults: Vec<Rate>,
    /// Post webhooks continuously (the stream), without POST /authorize
    #[arg(long, env = "SIMULATOR_AUTO_STREAM_ENABLED", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub auto_stream_enabled: bool,
    /// Payments per second of the stream
    #[arg(long, env = "SIMULATOR_AUTO_STREAM_RPS", default_value_t = 5.0)]
    pub auto_stream_rps: f64,
    /// Amount of every payment of the stream
    #[arg(long, env = "SIMULATOR_AUTO_STREAM_AMOUNT", default_value = "49.90")]
    pub auto_stream_amount: String,
    /// Currency of every payment of the stream
    #[arg(long, env = "SIMULATOR_AUTO_STREAM_CURRENCY", default_value = "USD")]
    pub auto_stream_currency: String,
    /// Prefix of the stream's payment ids
    #[arg(
        long,
        env = "SIMULATOR_AUTO_STREAM_PAYMENT_PREFIX",
        default_value = "pay_stream"
    )]
    pub auto_stream_payment_prefix: String,
    /// Prefix of the stream's order ids
    #[arg(
        long,
        env = "SIMULATOR_AUTO_STREAM_ORDER_PREFIX",
        default_value = "ord_stream"
    )]
    pub auto_stream_order_prefix: String,
    /// Seed of the random numbers; without it every run differs
    #[arg(long, env = "SIMULATOR_SEED")]
    pub seed: Option<u64>,
    /// File to which the stream adds what was sent and answered, as JSON lines: the journal for eventflow verify
    #[arg(long, env = "SIMULATOR_JOURNAL")]
    pub journal: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub process: ProcessArgs,
}

impl Role for Config {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        ("--listen", self.listen)
    }

    fn check(&self) -> Result<(), ConfigError> {
        Deliverer::new(&self.delivery)?;
        for (setting, share) in [
            ("--duplicate-rate", self.duplicate_rate),
            ("--corruption-rate", self.corruption_rate),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(ConfigError::new(setting, "must be between 0 and 1"));
            }
        }
        if self.faults().iter().map(|rate| rate.share).sum::<f64>() > 1.0 {
            return Err(ConfigError::new(
                "--fault",
                "the sum of all shares, with --duplicate-rate and --corruption-rate, must be at most 1",
            ));
        }
        if !(0.1..=1e6).contains(&self.auto_stream_rps) {
            return Err(ConfigError::new(
                "--auto-stream-rps",
                "must be between 0.1 and 1000000",
            ));
        }
        if contracts::event::money::Decimal::parse(&self.auto_stream_amount)
            .map_or(true, |amount| amount.unscaled <= 0)
        {
            return Err(ConfigError::new(
                "--auto-stream-amount",
                "must be a decimal number above 0",
            ));
        }
        Ok(())
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        metrics::describe();
        let deliverer = Deliverer::new(&self.delivery)?;
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        tracing::info!(
            event = "seeded",
            seed,
            auto_stream = self.auto_stream_enabled
        );
        let routes = app(Arc::new(Provider {
            deliverer: deliverer.clone(),
            config: self.clone(),
            // Not the stream's own sequence, or both would draw the same ids.
            rng: Mutex::new(fastrand::Rng::with_seed(!seed)),
        }));
        let settings = self.auto_stream_enabled.then(|| self.stream(seed));
        health.started();
        let work = async move {
            let streaming = settings.map(|settings| {
                let stop = shutdown.clone();
                tokio::spawn(async move {
                    stream::stream(&settings, &deliverer, stream::SharedTotals::default(), stop)
                        .await
                })
            });
            shutdown.cancelled().await;
            match streaming {
                Some(streaming) => streaming.await?.map(drop),
                None => Ok(()),
            }
        };
        Ok(Service::new(work).with_routes(routes))
    }
}

impl Config {
    fn stream(&self, seed: u64) -> StreamSettings {
        StreamSettings {
            rate: self.auto_stream_rps,
            seed,
            faults: self.faults(),
            concurrency: 256,
            amount: Some(self.auto_stream_amount.clone()),
            currency: Some(self.auto_stream_currency.clone()),
            payment_prefix: self.auto_stream_payment_prefix.clone(),
            order_prefix: self.auto_stream_order_prefix.clone(),
            journal: self.journal.clone(),
        }
    }

    fn faults(&self) -> Vec<Rate> {
        let mut faults = self.faults.clone();
        faults.push(Rate {
            fault: Fault::Duplicate,
            share: self.duplicate_rate,
        });
        faults.extend(Fault::CORRUPTIONS.map(|fault| Rate {
            fault,
            share: self.corruption_rate / 4.0,
        }));
        faults
    }
}

#[derive(Debug)]
struct Provider {
    deliverer: Deliverer,
    config: Config,
    rng: Mutex<fastrand::Rng>,
}

fn app(provider: Arc<Provider>) -> Router {
    Router::new()
        .route("/authorize", post(authorize))
        .route(
            "/",
            get(|| async { "EventFlow payment provider simulator: POST /authorize" }),
        )
        .with_state(provider)
}

/// The original's request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorizeRequest {
    payment_id: String,
    order_id: String,
    amount: Box<RawValue>,
    currency: String,
    #[serde(default)]
    force_duplicate: bool,
    #[serde(default)]
    force_corruption: bool,
}

impl AuthorizeRequest {
    fn payment(&self) -> Result<Payment, &'static str> {
        let amount = self.amount.get().trim_matches('"');
        if self.payment_id.is_empty() || self.order_id.is_empty() {
            return Err("payment_id and order_id must not be empty");
        }
        if contracts::event::money::Decimal::parse(amount)
            .map_or(true, |amount| amount.unscaled <= 0)
        {
            return Err("amount must be a decimal number above 0");
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return Err("currency must be three uppercase letters");
        }
        Ok(Payment {
            payment_id: self.payment_id.clone(),
            order_id: self.order_id.clone(),
            amount: amount.to_owned(),
            currency: self.currency.clone(),
        })
    }
}

async fn authorize(State(provider): State<Arc<Provider>>, body: axum::body::Bytes) -> Response {
    let unprocessable = |detail: String| {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            Json(serde_json::json!({"detail": detail})),
        )
            .into_response()
    };
    let request: AuthorizeRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return unprocessable(error.to_string()),
    };
    let payment = match request.payment() {
        Ok(payment) => payment,
        Err(problem) => return unprocessable(problem.to_owned()),
    };
    let (event, corruption, duplicate, mut rng) = {
        let mut rng = provider.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let corrupt = request.force_corruption || rng.f64() < provider.config.corruption_rate;
        let corruption = if corrupt {
            rng.choice(Fault::CORRUPTIONS)
        } else {
            None
        };
        let event = build(&payment, corruption, runtime::clock::now_micros(), &mut rng);
        let duplicate = request.force_duplicate || rng.f64() < provider.config.duplicate_rate;
        let own = fastrand::Rng::with_seed(rng.u64(..));
        (event, corruption, duplicate, own)
    };
    for fault in corruption
        .into_iter()
        .chain(duplicate.then_some(Fault::Duplicate))
    {
        metrics::count_fault(fault);
    }
    let view = |delivered: &delivery::Delivered| serde_json::json!({"ok": delivered.ok, "attempts": delivered.attempts, "status_code": delivered.statuses.last(), "message": delivered.message});
    let primary = provider.deliverer.deliver(&event, None, &mut rng).await;
    if !primary.ok {
        ::metrics::counter!(metrics::AUTHORIZE_REQUESTS, "result" => "failed").increment(1);
        let detail = serde_json::json!({"detail": {
            "status": "delivery_failed", "event_id": event.id, "attempts": primary.attempts, "webhook_url": provider.config.delivery.webhook_url,
            "last_status_code": primary.statuses.last(), "last_error": primary.message,
        }});
        return (StatusCode::BAD_GATEWAY, Json(detail)).into_response();
    }
    let second = if duplicate {
        Some(provider.deliverer.deliver(&event, None, &mut rng).await)
    } else {
        None
    };
    ::metrics::counter!(metrics::AUTHORIZE_REQUESTS, "result" => "accepted").increment(1);
    Json(serde_json::json!({
        "status": "accepted", "event_id": event.id, "corrupted": corruption.is_some(), "corruption_mode": corruption.map(Fault::name),
        "primary_delivery": view(&primary), "duplicate_sent": duplicate, "duplicate_delivery": second.as_ref().map(view),
    }))
    .into_response()
}
