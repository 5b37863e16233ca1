//! Names and meanings of this role's metrics.

use contracts::webhook::signature::SignatureError;
use contracts::webhook::source::Source;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) use runtime::metrics::{REQUEST_SECONDS, REQUESTS, SECRET_MATCHED};
/// Events accepted, by `source`.
pub const EVENTS: &str = runtime::metrics::EVENTS_ACCEPTED;
/// Events handed to the Kafka client and not answered 200, by `source`.
pub const UNCONFIRMED: &str = "eventflow_producer_events_unconfirmed_total";
const UNPROVEN: &str = "eventflow_producer_unproven_events_total";
const ONBOARDING_UNTIL: &str = "eventflow_producer_onboarding_until_seconds";
const SECRET_EXPIRED: &str = "eventflow_producer_expired_secret_requests_total";
pub(crate) const HEADERS_LEFT_OUT: &str = "eventflow_producer_headers_left_out_total";
/// Refused requests, by `outcome`: in the topic, over the rate, or lost on the way there.
pub const REJECTIONS: &str = "eventflow_producer_rejections_total";
pub(crate) const ACK_SECONDS: &str = "eventflow_producer_acknowledgement_duration_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by source and code");
    describe_counter!(EVENTS, "Events accepted, by source");
    describe_counter!(
        UNCONFIRMED,
        "Events handed to the Kafka client and not answered 200 (no acknowledgement in time, or the client went away), by source; they may be in the topic"
    );
    describe_counter!(
        UNPROVEN,
        "Events accepted although their signature does not prove them (stale = \"quarantine\", mode = \"onboarding\"), by source and the code with which verification failed"
    );
    describe_gauge!(
        ONBOARDING_UNTIL,
        Unit::Seconds,
        "Until when a source is in onboarding, since the epoch; 0 when it is not, by source"
    );
    describe_gauge!(
        SECRET_MATCHED,
        Unit::Seconds,
        "When a secret last verified a request, since the epoch; 0: not since the process started, by source and secret id"
    );
    describe_counter!(
        SECRET_EXPIRED,
        "Requests signed with a secret past its not_after, refused or accepted as unproven, by source and secret id"
    );
    describe_counter!(
        HEADERS_LEFT_OUT,
        "Headers of authentic requests that are not in the raw record, because they did not fit beside the others, by source"
    );
    describe_counter!(
        REJECTIONS,
        "Refused requests, by what became of their record for eventflow rejections: published, left_out (over --rejections-per-second), dropped (no room, or no acknowledgement)"
    );
    // At zero: a series that begins with its first loss hides it from `increase`.
    for outcome in ["published", "left_out", "dropped"] {
        counter!(REJECTIONS, "outcome" => outcome).increment(0);
    }
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "From the request's headers to the answer, by source; unknown: those whose URL no source has"
    );
    describe_histogram!(
        ACK_SECONDS,
        Unit::Seconds,
        "From hand-over to the Kafka client to the last acknowledgement"
    );
}

/// Events accepted although their signature does not prove them: by `source`, and by the `code` with which verification failed.
pub(crate) fn unproven(source: &str, code: &'static str) -> Counter {
    counter!(UNPROVEN, "source" => source.to_owned(), "code" => code)
}

/// Until when a source is in onboarding.
pub(crate) fn onboarding_until(source: &str) -> Gauge {
    gauge!(ONBOARDING_UNTIL, "source" => source.to_owned())
}

/// From a request's headers to its answer.
fn request_seconds(source: &str) -> Histogram {
    histogram!(REQUEST_SECONDS, "source" => source.to_owned())
}

/// What every accepted request touches, looked up once: by its name and labels a metric costs more than the HMAC.
pub(crate) struct Meters {
    /// Of requests to URLs that no source has
    pub(crate) unknown_seconds: Histogram,
    pub(crate) ack_seconds: Histogram,
    /// Of /api/ingest
    pub(crate) ingest: SourceMeter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        // The recorder first: a handle created before it counts into the void.
        runtime::telemetry::metrics_handle();
        Self {
            unknown_seconds: request_seconds(contracts::webhook::refused::UNKNOWN_SOURCE),
            ack_seconds: histogram!(ACK_SECONDS),
            ingest: SourceMeter::named(crate::ingest::SOURCE, BTreeMap::new()),
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

/// What is counted of one source.
pub(crate) struct SourceMeter {
    requests: Counter,
    events: Counter,
    pub(crate) request_seconds: Histogram,
    /// By the secret's id
    pub(crate) secrets: BTreeMap<String, Arc<SecretMeter>>,
}

impl std::fmt::Debug for SourceMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceMeter")
    }
}

impl SourceMeter {
    /// Of a secret that was there before it is still known when it matched.
    pub(crate) fn of(source: &Source, before: Option<&Self>) -> Self {
        runtime::telemetry::metrics_handle();
        let of_secret = |id: &str| {
            let before = before.and_then(|before| before.secrets.get(id));
            let meter =
                before.map_or_else(|| Arc::new(SecretMeter::new(&source.name, id)), Arc::clone);
            (id.to_owned(), meter)
        };
        #[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
        let until = source.trust.onboarding_until.unwrap_or_default() as f64;
        onboarding_until(&source.name).set(until);
        // At zero: a series that begins with its first event hides it from `increase`.
        let expired = SignatureError::SecretExpired.code();
        counter!(REQUESTS, "source" => source.name.clone(), "code" => expired).increment(0);
        unproven(&source.name, expired).increment(0);
        Self::named(
            &source.name,
            source.verifier.secret_ids().map(of_secret).collect(),
        )
    }

    fn named(name: &str, secrets: BTreeMap<String, Arc<SecretMeter>>) -> Self {
        // At zero: a series that begins with its first event hides it from `increase`.
        counter!(UNCONFIRMED, "source" => name.to_owned()).increment(0);
        counter!(HEADERS_LEFT_OUT, "source" => name.to_owned()).increment(0);
        Self {
            requests: counter!(REQUESTS, "source" => name.to_owned(), "code" => "accepted"),
            events: counter!(EVENTS, "source" => name.to_owned()),
            request_seconds: request_seconds(name),
            secrets,
        }
    }

    /// One accepted request with this many events.
    pub(crate) fn accepted(&self, events: u64) {
        self.requests.increment(1);
        self.events.increment(events);
    }

    /// A request was verified by this secret.
    pub(crate) fn matched(&self, secret: &str, now: i64) {
        if let Some(secret) = self.secrets.get(secret) {
            secret.matched(now);
        }
    }

    /// A request was signed with this secret, which has expired.
    pub(crate) fn matched_expired(&self, secret: &str, now: i64) {
        if let Some(secret) = self.secrets.get(secret) {
            secret.last_expired.fetch_max(now, Ordering::Relaxed);
            secret.expired.increment(1);
        }
    }
}

/// When a secret last verified a request, and when it was used although it has expired.
pub(crate) struct SecretMeter {
    /// Unix seconds; 0: not since the process started
    last: AtomicI64,
    gauge: Gauge,
    /// As `last`
    last_expired: AtomicI64,
    expired: Counter,
}

impl SecretMeter {
    fn new(source: &str, id: &str) -> Self {
        let gauge =
            gauge!(SECRET_MATCHED, "source" => source.to_owned(), "secret" => id.to_owned());
        gauge.set(0.0);
        let expired =
            counter!(SECRET_EXPIRED, "source" => source.to_owned(), "secret" => id.to_owned());
        // At zero: a series that begins with its first request hides it from `increase`.
        expired.increment(0);
        Self {
            last: AtomicI64::new(0),
            gauge,
            last_expired: AtomicI64::new(0),
            expired,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
    fn matched(&self, now: i64) {
        // Once a second: under load all requests would write to one place.
        if self.last.load(Ordering::Relaxed) < now {
            self.last.store(now, Ordering::Relaxed);
            self.gauge.set(now as f64);
        }
    }

    /// Unix seconds, when it has matched since the process started.
    pub(crate) fn last_matched_at(&self) -> Option<i64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Unix seconds, when it was used past its `not_after` since the process started.
    pub(crate) fn last_expired_at(&self) -> Option<i64> {
        Some(self.last_expired.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// It is no longer configured.
    pub(crate) fn retire(&self) {
        self.gauge.set(0.0);
    }
}
