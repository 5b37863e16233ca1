//! The broker, the registry, and the flags every role needs to find them.

use crate::process::{Process, free_address};
use contracts::kafka::topics;
use runtime::kafka::KafkaArgs;
use std::time::{Duration, Instant};

/// The secret requests are signed with here.
const SECRET: &str = "bench-secret";

/// What the roles live in.
pub(crate) struct World {
    pub(crate) broker: Process,
    pub(crate) kafka: KafkaArgs,
    registry: Process,
}

impl World {
    pub(crate) async fn start(partitions: i32) -> anyhow::Result<Self> {
        Self::with_contracts(partitions, &[]).await
    }

    /// `contracts` are the registry's flags.
    pub(crate) async fn with_contracts(
        partitions: i32,
        contracts: &[String],
    ) -> anyhow::Result<Self> {
        let mut broker = Process::part("broker", &[format!("--partitions={partitions}")])?;
        let kafka = KafkaArgs::plaintext(&broker.first_line()?);
        let listen = ["--listen={address}".to_owned()];
        let mut registry = Process::role("registry", &[&listen, contracts].concat())?;
        registry.until_ready().await?;
        Ok(Self {
            broker,
            kafka,
            registry,
        })
    }

    /// Flags of a role: the broker, its operations endpoints, and those given.
    pub(crate) fn flags(&self, more: &[String]) -> Vec<String> {
        let mut flags = vec![
            format!("--kafka-brokers={}", self.kafka.kafka_brokers),
            "--kafka-config=session.timeout.ms=6000".to_owned(),
            "--kafka-config=fetch.wait.max.ms=5".to_owned(),
            "--ops-listen={address}".to_owned(),
        ];
        flags.extend_from_slice(more);
        flags
    }

    /// A producer that is ready, and its address for webhooks.
    pub(crate) async fn producer(&self, more: &[&str]) -> anyhow::Result<(Process, String)> {
        let listen = free_address()?;
        let mut flags = self.flags(&[
            format!("--listen={listen}"),
            format!("--webhook-signing-secret={SECRET}"),
        ]);
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let mut producer = Process::role("producer", &flags)?;
        producer.until_ready().await?;
        Ok((producer, listen))
    }

    pub(crate) fn validator(&self) -> anyhow::Result<Process> {
        self.validator_with(&[])
    }

    pub(crate) fn validator_with(&self, more: &[String]) -> anyhow::Result<Process> {
        Process::role(
            "validator",
            &self.flags(&[&[self.registry_flag()], more].concat()),
        )
    }

    pub(crate) fn persistence(&self, database_url: &str) -> anyhow::Result<Process> {
        Process::role(
            "persistence",
            &self.flags(&[
                self.registry_flag(),
                format!("--database-url={database_url}"),
            ]),
        )
    }

    pub(crate) fn analytics(&self) -> anyhow::Result<Process> {
        Process::role("analytics", &self.flags(&[self.registry_flag()]))
    }

    fn registry_flag(&self) -> String {
        format!("--registry-url=http://{}", self.registry.address)
    }

    /// How many records were ever published to a topic.
    pub(crate) async fn count(&self, topic: &'static str) -> anyhow::Result<u64> {
        let kafka = self.kafka.clone();
        let marks = tokio::task::spawn_blocking(move || runtime::admin::watermarks(&kafka, topic))
            .await??;
        Ok(u64::try_from(
            marks.iter().map(|(_, _, high)| high).sum::<i64>(),
        )?)
    }

    /// As [`count`](Self::count), of a topic that still has all of them: the embedded broker keeps 5 MiB a partition.
    pub(crate) async fn count_kept(&self, topic: &'static str) -> anyhow::Result<u64> {
        let kafka = self.kafka.clone();
        let marks = tokio::task::spawn_blocking(move || runtime::admin::watermarks(&kafka, topic))
            .await??;
        anyhow::ensure!(
            marks.iter().all(|(_, low, _)| *low == 0),
            "the embedded broker dropped records of {topic}: use fewer --events"
        );
        Ok(u64::try_from(
            marks.iter().map(|(_, _, high)| high).sum::<i64>(),
        )?)
    }

    /// Fills the raw topic through the producer, in requests of many events and after a long linger: large Kafka batches, as a backlog has them.
    pub(crate) async fn fill(&self, events: u64) -> anyhow::Result<()> {
        let (_producer, address) = self
            .producer(&["--linger-ms=100", "--publish-deadline-ms=10000"])
            .await?;
        let requests = format!("--requests={}", events.div_ceil(500));
        let load = load(
            &address,
            &[
                "--max",
                "--batch=500",
                "--connections=64",
                "--duration=120s",
                &requests,
            ],
        )?;
        tokio::task::spawn_blocking(move || load.output()).await??;
        let published = self.count_kept(topics::RAW).await?;
        anyhow::ensure!(
            published >= events,
            "only {published} of {events} events were published"
        );
        Ok(())
    }
}

/// The load generator against a producer.
pub(crate) fn load(address: &str, flags: &[&str]) -> anyhow::Result<Process> {
    let mut arguments = vec![
        format!("--url=http://{address}/api/webhooks/payment-authorized"),
        format!("--secret={SECRET}"),
        "--json".to_owned(),
    ];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Process::role("load", &arguments)
}

/// Polls every few milliseconds until `count` reaches `target`; returns `seen` at the first and at the last record.
pub(crate) async fn until<T>(
    target: u64,
    mut count: impl AsyncFnMut() -> anyhow::Result<u64>,
    mut seen: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<((u64, Instant, T), (u64, Instant, T))> {
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut first = None;
    loop {
        let now = count().await?;
        let sample = (now, Instant::now(), seen()?);
        if now >= target {
            return Ok((
                first.ok_or_else(|| {
                    anyhow::anyhow!("done before the first sample: use more --events")
                })?,
                sample,
            ));
        }
        if now > 0 && first.is_none() {
            first = Some(sample);
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "only {now} of {target} after 180 s"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
