//! Logs and metrics of a process.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Latency buckets in seconds, from half a millisecond to five minutes.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

/// Starts logging to standard error: text for people or JSON for machines. `EVENTFLOW_LOG` filters by target and level
/// (default `info`). A second call does nothing, so tests may call it freely.
pub fn init(json: bool) {
    init_at(json, "info,librdkafka=off");
}

/// As [`init`], with another default filter.
///
/// # Panics
/// If the default is no filter.
pub fn init_at(json: bool, default: &str) {
    let parse = |text: &str| text.parse::<Targets>();
    let given = std::env::var("EVENTFLOW_LOG").unwrap_or_default();
    let wanted = Some(given.trim())
        .filter(|text| !text.is_empty())
        .map(parse);
    let filter = match &wanted {
        Some(Ok(filter)) => filter.clone(),
        Some(Err(_)) | None => parse(default).expect("the default is a filter"),
    };
    // It shows what it does not understand of a database's URL.
    let filter = filter.with_target("sqlx_postgres::options", LevelFilter::OFF);
    // Of each connection it closes; `/ready` and our own log say what is wrong with the database.
    let filter = filter.with_target("sqlx_core::pool", LevelFilter::OFF);
    // PostgreSQL's notes about what exists already, at every start.
    let filter = filter.with_target("sqlx::postgres::notice", LevelFilter::WARN);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init()
    } else {
        registry
            .with(
                fmt::layer()
                    .with_target(false)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    } else if let Some(Err(error)) = wanted {
        tracing::warn!(
            event = "log_filter_refused",
            %error,
            "EVENTFLOW_LOG is not a filter, so the default is used: write a level, or target=level, separated by commas"
        );
    }
}

/// The process's metrics recorder, installed on first use.
///
/// # Panics
/// Never in practice: the bucket list is constant and not empty.
pub fn metrics_handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
                .map(PrometheusBuilder::build_recorder)
                .unwrap_or_else(|_| PrometheusBuilder::new().build_recorder());
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!(
                    event = "metrics_recorder_taken",
                    "another metrics recorder is installed, so /metrics stays empty"
                );
            }
            crate::metrics::describe();
            handle
        })
        .clone()
}
