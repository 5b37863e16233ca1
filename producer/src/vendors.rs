//! What the edge knows of its sources: one value, recreated when their files change. A request ends with the one it began with.

use crate::metrics::{self as names, SecretMeter, SourceMeter};
use crate::quota::Quotas;
use crate::repeats::Repeats;
use crate::{Config, quota};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use contracts::webhook::source::{Source, Sources};
use runtime::config::ConfigError;
use runtime::reload::{FilesRead, Live, Reload};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// In `/ready`, the log and the metrics.
const WHAT: &str = "sources";

/// The sources, and what is remembered of each.
#[derive(Debug)]
pub(crate) struct Vendors {
    pub(crate) sources: Sources,
    pub(crate) quotas: Quotas,
    pub(crate) repeats: Repeats,
    meters: HashMap<String, SourceMeter>,
}

impl Vendors {
    /// Reads them for the first time; what is returned reads them again.
    ///
    /// # Errors
    /// Names the setting.
    pub(crate) fn watched(config: &Config) -> Result<Reload<Self>, ConfigError> {
        let config = config.clone();
        let mut budget_at_start = None;
        Reload::new(WHAT, move |before: Option<&Self>, files: &mut FilesRead| {
            let sources = config.load_sources(files)?;
            let budget = config.body_budget(&sources)?;
            if budget > *budget_at_start.get_or_insert(budget) {
                return Err(ConfigError::new(
                    "--sources",
                    "a body limit is larger than the memory for bodies that this process started with; restart it to take that",
                ));
            }
            Ok(Self::new(sources, &config, before))
        })
    }

    /// Quotas, repeats and counts of a source that was there before go on where they are.
    fn new(sources: Sources, config: &Config, before: Option<&Self>) -> Self {
        let meters = |source: &Source| {
            let before = before.and_then(|before| before.meters.get(&source.name));
            (source.name.clone(), SourceMeter::of(source, before))
        };
        let meters: HashMap<_, _> = sources.iter().map(meters).collect();
        if let Some(before) = before {
            retire(before, &meters);
        }
        for source in sources.iter() {
            if let Some(unsigned) = source.may_be_unsigned() {
                tracing::info!(
                    event = "source_signs_not_all",
                    source = source.name,
                    unsigned
                );
            }
            if let Some(until) = source.trust.onboarding_until {
                tracing::warn!(
                    event = "source_in_onboarding",
                    source = source.name,
                    until,
                    "it accepts what anybody posts, as dead letters"
                );
            }
        }
        let limits = quota::Limits {
            failures_per_second: config.failures_per_second,
            batch_max_events: config.batch_max_events,
        };
        Self {
            quotas: Quotas::new(&sources, limits, before.map(|before| &before.quotas)),
            repeats: Repeats::new(&sources, before.map(|before| &before.repeats)),
            sources,
            meters,
        }
    }

    /// What is counted of a source. Every source has one.
    pub(crate) fn meter(&self, source: &Source) -> &SourceMeter {
        &self.meters[&source.name]
    }

    /// What the operations endpoint `/sources` says: no secret, and of each when it last matched.
    fn shown(&self) -> Value {
        let of_secret = |(id, secret): (&String, &Arc<SecretMeter>)| {
            json!({
                "id": id,
                "last_matched_at": secret.last_matched_at(),
                "last_used_expired_at": secret.last_expired_at(),
            })
        };
        let of_source = |source: &Source| {
            let meter = self.meter(source);
            json!({
                "name": source.name,
                "scheme": source.scheme_name,
                "stale": if source.trust.quarantines_stale { "quarantine" } else { "refuse" },
                "onboarding_until": source.trust.onboarding_until,
                "secrets": meter.secrets.iter().map(of_secret).collect::<Vec<_>>(),
            })
        };
        json!({"sources": self.sources.iter().map(of_source).collect::<Vec<_>>()})
    }
}

/// What is gone is zero: a series that keeps its last value would say that it is still there.
fn retire(before: &Vendors, now: &HashMap<String, SourceMeter>) {
    for (name, meter) in &before.meters {
        let kept = now.get(name);
        if kept.is_none() {
            names::onboarding_until(name).set(0.0);
        }
        for (id, secret) in &meter.secrets {
            if kept.is_none_or(|kept| !kept.secrets.contains_key(id)) {
                secret.retire();
            }
        }
    }
}

/// For the operations port, which is private.
pub(crate) fn routes(vendors: Live<Vendors>) -> Router {
    let show = async |State(vendors): State<Live<Vendors>>| Json(vendors.get().shown());
    Router::new()
        .route("/sources", get(show))
        .with_state(vendors)
}
