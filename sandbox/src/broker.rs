//! The embedded broker: librdkafka's mock cluster, for demonstrations and hermetic tests.
//!
//! It keeps at most 5 MiB a partition (older records are dropped), has no real transactions and forgets all when it stops.
//! Claims are proven on Apache Kafka; here faults are injected. It lives on a thread of its own, because its handle cannot move.

use contracts::pipeline::Pipeline;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use runtime::kafka::KafkaArgs;
use std::sync::mpsc;
use std::time::Duration;

type Command =
    Box<dyn FnOnce(&MockCluster<'static, rdkafka::producer::DefaultProducerContext>) + Send>;

/// An in-process broker on a free loopback port. Stops when dropped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    commands: mpsc::Sender<Command>,
    bootstrap: String,
}

/// Requests a broker can fail.
#[derive(Debug, Clone, Copy)]
pub enum BrokerRequest {
    /// Publishing
    Produce,
    /// Committing offsets
    OffsetCommit,
    /// Reading
    Fetch,
    /// Staying in a group
    Heartbeat,
    /// Getting an idempotent producer's id
    InitProducerId,
}

impl BrokerRequest {
    const ALL: [Self; 5] = [
        Self::Produce,
        Self::OffsetCommit,
        Self::Fetch,
        Self::Heartbeat,
        Self::InitProducerId,
    ];

    fn key(self) -> RDKafkaApiKey {
        match self {
            Self::Produce => RDKafkaApiKey::Produce,
            Self::OffsetCommit => RDKafkaApiKey::OffsetCommit,
            Self::Fetch => RDKafkaApiKey::Fetch,
            Self::Heartbeat => RDKafkaApiKey::Heartbeat,
            Self::InitProducerId => RDKafkaApiKey::InitProducerId,
        }
    }
}

/// Errors it can answer.
#[derive(Debug, Clone, Copy)]
pub enum BrokerFault {
    /// Retriable: too few replicas
    NotEnoughReplicas,
    /// Retriable: the request timed out
    RequestTimedOut,
    /// Permanent: no right to the topic
    TopicAuthorizationFailed,
    /// Permanent: the record is too large
    RecordTooLarge,
    /// Permanent: no right to produce idempotently
    ClusterAuthorizationFailed,
    /// Fatal: another member has this group instance id
    FencedInstanceId,
}

impl EmbeddedBroker {
    /// Starts a broker with the topics of the built-in pipeline.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_pipeline() -> anyhow::Result<Self> {
        Self::start(&Pipeline::built_in().partitions())
    }

    /// Starts a broker with these topics (name, partitions).
    ///
    /// # Errors
    /// When librdkafka cannot start it.
    pub fn start(topics: &[(&str, i32)]) -> anyhow::Result<Self> {
        let (commands, inbox) = mpsc::channel::<Command>();
        let (started, bootstrap) = mpsc::channel();
        let topics: Vec<(String, i32)> = topics
            .iter()
            .map(|(name, partitions)| ((*name).to_owned(), *partitions))
            .collect();
        std::thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || {
                let cluster = MockCluster::new(1).and_then(|cluster| {
                    topics.iter().try_for_each(|(name, partitions)| {
                        cluster.create_topic(name, *partitions, 1)
                    })?;
                    Ok(cluster)
                });
                match cluster {
                    Ok(cluster) => {
                        if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                            inbox.iter().for_each(|command| command(&cluster));
                        }
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            })?;
        let bootstrap = bootstrap.recv_timeout(Duration::from_secs(10))??;
        Ok(Self {
            commands,
            bootstrap,
        })
    }

    /// How to connect. The mock delays empty fetches, and every rebalance takes a session timeout: both are set low.
    #[must_use]
    pub fn kafka(&self) -> KafkaArgs {
        let mut kafka = KafkaArgs::plaintext(&self.bootstrap);
        kafka.kafka_config = vec![
            "session.timeout.ms=6000".to_owned(),
            "fetch.wait.max.ms=5".to_owned(),
        ];
        kafka
    }

    /// The next requests of that kind, one each, are answered with these errors.
    pub fn fail(&self, request: BrokerRequest, faults: Vec<BrokerFault>) {
        self.send(move |cluster| {
            let errors: Vec<_> = faults
                .iter()
                .map(|fault| match fault {
                    BrokerFault::NotEnoughReplicas => {
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS
                    }
                    BrokerFault::RequestTimedOut => {
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT
                    }
                    BrokerFault::TopicAuthorizationFailed => {
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
                    }
                    BrokerFault::RecordTooLarge => {
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
                    }
                    BrokerFault::ClusterAuthorizationFailed => {
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
                    }
                    BrokerFault::FencedInstanceId => {
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
                    }
                })
                .collect();
            cluster.request_errors(request.key(), &errors);
        });
    }

    /// Takes back the errors not yet answered.
    pub fn stop_failing(&self) {
        self.send(|cluster| {
            for request in BrokerRequest::ALL {
                cluster.clear_request_errors(request.key());
            }
        });
    }

    /// Cuts (or restores) every connection to the broker.
    pub fn set_up(&self, up: bool) {
        self.send(move |cluster| {
            let done = if up {
                cluster.broker_up(1)
            } else {
                cluster.broker_down(1)
            };
            if let Err(error) = done {
                tracing::error!(event = "embedded_broker_refused", %error);
            }
        });
    }

    /// Delays every answer, to make the broker silent.
    pub fn set_round_trip(&self, delay: Duration) {
        self.send(move |cluster| {
            if let Err(error) = cluster.broker_round_trip_time(1, delay) {
                tracing::error!(event = "embedded_broker_refused", %error);
            }
        });
    }

    /// Returns once it is done: the next request meets the broker as it was told to be.
    fn send(
        &self,
        command: impl FnOnce(&MockCluster<'static, rdkafka::producer::DefaultProducerContext>)
        + Send
        + 'static,
    ) {
        let (carried_out, done) = mpsc::channel();
        let command: Command = Box::new(move |cluster| {
            command(cluster);
            if carried_out.send(()).is_err() {
                tracing::error!(event = "embedded_broker_late");
            }
        });
        let sent = self.commands.send(command).is_ok();
        if !sent || done.recv_timeout(Duration::from_secs(10)).is_err() {
            tracing::error!(event = "embedded_broker_gone");
        }
    }
}
