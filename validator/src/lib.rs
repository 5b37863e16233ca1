//! Checks raw records against their contracts: what passes is published as Avro, what breaks a rule is dead-lettered with its code.
//!
//! Where an event's id, type, time and payload are is its source's mapping, applied to the raw record alone.
//! `events.raw.v1` → [`contracts::event`] → `events.validated.v1`, same key, with `ef.raw` saying which raw record it was made from.
//! `events.retry.<group>.v1` is read beside it: a replay is checked like any record, and made from the raw record it says.
//! Schema ids come from the registry; while it or the broker is down the stage waits and nothing is dead-lettered.

pub mod metrics;

use bytes::BytesMut;
use contracts::Rejection;
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope, Mappings, Validated};
use contracts::kafka::headers;
use runtime::config::{Common, ConfigError, ProcessArgs, check_topic};
use runtime::connection::Connection;
use runtime::consumer::{
    self, DeliveryArgs, Forward, Handler, Outcome, Record, StageArgs, StageError, Start,
};
use runtime::health::Health;
use runtime::publisher::Publisher;
use runtime::registry::{Registry, RegistryArgs};
use runtime::reload::{FilesRead, Live, Reload};
use runtime::replay::RetryArgs;
use runtime::role::{Role, Service};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Default consumer group.
pub const GROUP: &str = "eventflow-validator";

/// Settings of the validator role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub stage: StageArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub delivery: DeliveryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub retry: RetryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    /// Directory of further event contracts, one folder per event type
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub contracts: Option<PathBuf>,
    /// TOML file of sources (vendors), the same as the producer's, for where their events' ids, types, times and payloads are; secrets are not
    /// read. Without it, the only source is the built-in payment-authorized
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    pub sources: Option<PathBuf>,
    /// Topic of raw records
    #[arg(long, env = "EVENTFLOW_TOPIC_RAW", default_value = contracts::kafka::topics::RAW)]
    pub topic_raw: String,
    /// Topic of validated events
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    /// Consumer group
    #[arg(long, env = "EVENTFLOW_VALIDATOR_GROUP", default_value = GROUP)]
    pub group: String,
}

impl Role for Config {
    fn name(&self) -> &'static str {
        "validator"
    }

    fn process(&self) -> &ProcessArgs {
        &self.common.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        self.common.ops.address()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        self.stage.check(&self.group)?;
        self.delivery.check()?;
        check_topic("--topic-raw", &self.topic_raw)?;
        check_topic("--topic-validated", &self.topic_validated)?;
        let others = [
            ("--topic-raw", &*self.topic_raw),
            ("--topic-validated", &self.topic_validated),
            ("--topic-dlq", &self.stage.dead_letters.topic_dlq),
        ];
        self.retry.check(&self.group, &others)?;
        Registry::new(&self.registry)?;
        runtime::files::load_mappings(self.sources.as_deref(), &mut FilesRead::default())?;
        runtime::files::load_contracts(self.contracts.as_deref()).map(drop)
    }

    fn connections(&self) -> Vec<Connection> {
        vec![
            Connection::kafka(&self.common.kafka),
            Connection::registry(&self.registry),
        ]
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        metrics::describe();
        let config = self.clone();
        Ok(Service::new(async move {
            consume(&config, health, shutdown).await
        }))
    }
}

/// The stage without its operations endpoints.
///
/// # Errors
/// Bad configuration or a fatal client error.
pub async fn consume(
    config: &Config,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kafka = &config.common.kafka;
    let contracts = runtime::files::load_contracts(config.contracts.as_deref())?;
    let file = config.sources.clone();
    let mappings = Reload::new("sources", move |_, files| {
        runtime::files::load_mappings(file.as_deref(), files)
    })?;
    if config.delivery.is_exactly_once() {
        runtime::admin::require_transactions(kafka, "--delivery", &health, &shutdown).await?;
    }
    let publisher = config.delivery.publisher("validator", &config.group);
    let publisher = Publisher::new(kafka, &publisher, &health)?;
    publisher
        .warm_up(
            &[
                &config.topic_validated,
                &config.stage.dead_letters.topic_dlq,
            ],
            Duration::from_secs(5),
        )
        .await;
    tokio::spawn(
        publisher
            .clone()
            .watch(config.topic_validated.clone(), shutdown.clone()),
    );
    let rules = contracts.digest();
    let handler = Validator::new(
        mappings.live(),
        contracts,
        Registry::new(&config.registry)?,
        &config.topic_validated,
        tokio::runtime::Handle::current(),
    );
    let retry = config.retry.of(&config.group);
    let settings = config.stage.settings(
        kafka,
        &config.group,
        vec![config.topic_raw.clone()],
        Some(retry),
        &rules,
    );
    let settings = config.delivery.apply(consumer::ConsumerSettings {
        raw_topic: Some(config.topic_raw.clone()),
        piece_records: PIECE_RECORDS,
        ..settings
    });
    tokio::spawn(mappings.run(health.clone(), shutdown.clone()));
    consumer::run(settings, handler, Some(publisher.clone()), health, shutdown).await?;
    publisher.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Large enough to amortise a piece, small enough that the first records are on their way early.
const PIECE_RECORDS: usize = 500;

/// The validating stage.
#[derive(Debug)]
pub struct Validator {
    mappings: Live<Mappings>,
    contracts: Catalog,
    registry: Registry,
    topic: Arc<str>,
    runtime: tokio::runtime::Handle,
    /// Schema ids by the index of their contract, as the registry gave them.
    schema_ids: Vec<i32>,
    /// Where values are built; each record takes its part of it without an allocation of its own.
    buffer: BytesMut,
    scratch: Vec<u8>,
}

impl Validator {
    /// Publishes to `topic`. Nothing is asked of the registry before partitions are assigned.
    #[must_use]
    pub fn new(
        mappings: Live<Mappings>,
        contracts: Catalog,
        registry: Registry,
        topic: &str,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            mappings,
            contracts,
            registry,
            topic: topic.into(),
            runtime,
            schema_ids: Vec::new(),
            buffer: BytesMut::new(),
            scratch: Vec::new(),
        }
    }

    /// Learns the ids of all contracts, once.
    fn register(&mut self) -> Result<(), StageError> {
        for contract in self.contracts.iter().skip(self.schema_ids.len()) {
            let registering =
                self.registry
                    .register(&self.topic, &contract.record_name, &contract.record_avsc);
            let id = self
                .runtime
                .block_on(registering)
                .map_err(|error| StageError::wait(error.code(), error))?;
            tracing::info!(
                event = "schema_registered",
                contract = contract.label,
                schema_id = id
            );
            self.schema_ids.push(id);
        }
        Ok(())
    }
}

/// What a sound record is.
enum Event<'a> {
    Valid(Validated<'a>),
    /// It is not wanted, by this rule
    Filtered(Envelope<'a>, &'a str),
}

/// The JSON of a raw record, unless it is refused whatever is in it.
fn open<'r>(mappings: &Mappings, record: &Record<'r>) -> Result<Cow<'r, [u8]>, Rejection> {
    match record.refused().or_else(|| record.unproven()) {
        Some(rejection) => Err(rejection),
        None => mappings.open(&record, record.value()),
    }
}

fn validate<'a>(
    mappings: &'a Mappings,
    contracts: &'a Catalog,
    record: &Record<'a>,
    json: &'a [u8],
) -> Result<Event<'a>, Rejection> {
    let envelope = mappings.find(record, json)?;
    match envelope.filtered {
        Some(rule) => Ok(Event::Filtered(envelope, rule)),
        None => contracts.validate(envelope).map(Event::Valid),
    }
}

impl Handler for Validator {
    fn stage(&self) -> &'static str {
        "validator"
    }

    /// Without the registry nothing can be validated: no record is taken before it has answered.
    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, StageError> {
        self.register()?;
        Ok(vec![Start::Committed; partitions.len()])
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let started = Instant::now();
        let mappings = self.mappings.get();
        let mut outcomes = Vec::with_capacity(batch.len());
        for record in batch {
            let opened = open(&mappings, record);
            let validated = opened
                .as_ref()
                .map_err(Rejection::clone)
                .and_then(|json| validate(&mappings, &self.contracts, record, json));
            outcomes.push(match validated {
                Err(rejection) => Outcome::Reject(rejection),
                Ok(Event::Filtered(envelope, rule)) => Outcome::Forward(vec![Forward {
                    topic: Arc::clone(&self.topic),
                    value: None,
                    headers: vec![
                        (headers::FILTERED, rule.to_owned()),
                        (headers::FILTERED_ID, envelope.id.into_owned()),
                        (headers::FILTERED_TYPE, envelope.event_type.into_owned()),
                    ],
                }]),
                Ok(Event::Valid(event)) => {
                    let contract = event.contract();
                    self.scratch.clear();
                    // Every contract was registered before the first record was taken.
                    let id = self.schema_ids.get(contract.index).copied();
                    framing::frame(id.unwrap_or_default(), &mut self.scratch);
                    event.encode(&mut self.scratch);
                    self.buffer.extend_from_slice(&self.scratch);
                    let mut forward = Forward::new(&self.topic, self.buffer.split().freeze());
                    forward
                        .headers
                        .push((headers::CONTRACT, contract.label.clone()));
                    Outcome::Forward(vec![forward])
                }
            });
        }
        ::metrics::histogram!(metrics::BATCH_SECONDS).record(started.elapsed());
        Ok(outcomes)
    }
}
