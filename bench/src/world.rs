//! The brokers, the registry, and the flags every role needs to find them.

use crate::bench::Bench;
use crate::brokers::{ANSWER, Cluster, Committed, VALIDATORS, all_topics};
use crate::process::{Process, SECRET, free_address};
use contracts::kafka::topics;
use runtime::admin::Inspector;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for the leaders of new topics.
const SERVED: Duration = Duration::from_secs(60);
/// Between two looks at how far a stage is.
const LOOK: Duration = Duration::from_millis(20);

/// What the roles live in.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    inspector: Arc<Inspector>,
    registry: Process,
}

impl World {
    pub(crate) async fn start(bench: &Bench, partitions: i32) -> anyhow::Result<Self> {
        Self::with_contracts(bench, partitions, &[]).await
    }

    /// `contracts` are the registry's flags.
    pub(crate) async fn with_contracts(
        bench: &Bench,
        partitions: i32,
        contracts: &[String],
    ) -> anyhow::Result<Self> {
        let cluster = bench.brokers.fresh(partitions).await?;
        let inspector = Arc::new(Inspector::new(&cluster.kafka, ANSWER)?);
        for (topic, _) in all_topics(partitions) {
            until_served(&inspector, topic).await?;
        }
        let listen = ["--listen={address}".to_owned()];
        let mut registry = Process::role("registry", &[&listen, contracts].concat())?;
        registry.until_ready().await?;
        Ok(Self {
            cluster,
            inspector,
            registry,
        })
    }

    /// `host:port` of the brokers.
    pub(crate) fn brokers(&self) -> &str {
        &self.cluster.kafka.kafka_brokers
    }

    /// Flags of a role: the brokers, its operations endpoints, and those given.
    pub(crate) fn flags(&self, more: &[String]) -> Vec<String> {
        let mut flags = vec![
            format!("--kafka-brokers={}", self.brokers()),
            "--kafka-config=session.timeout.ms=6000".to_owned(),
            "--ops-listen={address}".to_owned(),
        ];
        if self.cluster.is_embedded() {
            // A real broker answers as soon as there is a record; this one when the wait is over.
            flags.push("--kafka-config=fetch.wait.max.ms=5".to_owned());
        }
        flags.extend_from_slice(more);
        flags
    }

    /// A producer that is ready, and its address for webhooks.
    pub(crate) async fn producer(&self, more: &[String]) -> anyhow::Result<(Process, String)> {
        let listen = free_address()?;
        let own = [
            format!("--listen={listen}"),
            format!("--webhook-signing-secret={SECRET}"),
        ];
        let mut producer = Process::role("producer", &self.flags(&[&own, more].concat()))?;
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
        let inspector = Arc::clone(&self.inspector);
        let ends = tokio::task::spawn_blocking(move || inspector.ends(topic)).await??;
        Ok(u64::try_from(ends.values().sum::<i64>())?)
    }

    /// That a topic still has all its records: the embedded broker keeps 5 MiB a partition.
    pub(crate) async fn ensure_kept(&self, topic: &'static str) -> anyhow::Result<()> {
        let kafka = self.cluster.kafka.clone();
        let marks = tokio::task::spawn_blocking(move || runtime::admin::watermarks(&kafka, topic));
        anyhow::ensure!(
            marks.await??.iter().all(|(_, low, _)| *low == 0),
            "the embedded broker dropped records of {topic}: use fewer --events, or --kafka"
        );
        Ok(())
    }

    /// How far a group has committed to have read the raw topic.
    pub(crate) fn read_by(&self, group: &str) -> anyhow::Result<Committed> {
        Committed::new(self.brokers(), group, topics::RAW)
    }

    /// How far the validators have read the raw topic.
    pub(crate) fn read_by_validators(&self) -> anyhow::Result<Committed> {
        self.read_by(VALIDATORS)
    }

    /// Fills the raw topic through the producer, in requests of many events and after a long linger: large Kafka batches, as a backlog has
    /// them. How many there are then.
    pub(crate) async fn fill(&self, events: u64) -> anyhow::Result<u64> {
        let patient = ["--linger-ms=100", "--publish-deadline-ms=10000"].map(str::to_owned);
        let (_producer, address) = self.producer(&patient).await?;
        let requests = format!("--requests={}", events.div_ceil(500));
        let flags = [
            "--max",
            "--batch=500",
            "--connections=32",
            "--duration=600s",
        ];
        load(&address, &[&flags[..], &[&requests]].concat()).await?;
        let published = self.count(topics::RAW).await?;
        anyhow::ensure!(
            published >= events,
            "only {published} of {events} events were published"
        );
        if self.cluster.is_embedded() {
            self.ensure_kept(topics::RAW).await?;
        }
        Ok(published)
    }
}

/// Waits until the leaders of a topic answer: a new topic is known before each of its partitions is served.
async fn until_served(inspector: &Arc<Inspector>, topic: String) -> anyhow::Result<()> {
    let deadline = Instant::now() + SERVED;
    loop {
        let (inspector, name) = (Arc::clone(inspector), topic.clone());
        match tokio::task::spawn_blocking(move || inspector.ends(&name)).await? {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("topic {topic} is not served after 60 s")));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The load generator against a producer, until it ends; its report.
pub(crate) async fn load(address: &str, flags: &[&str]) -> anyhow::Result<serde_json::Value> {
    let generator = generator(address, flags)?;
    let text = tokio::task::spawn_blocking(move || generator.output()).await??;
    Ok(serde_json::from_str(&text)?)
}

/// The load generator against a producer, running.
pub(crate) fn generator(address: &str, flags: &[&str]) -> anyhow::Result<Process> {
    let mut arguments = vec![
        format!("--url=http://{address}/api/webhooks/payment-authorized"),
        format!("--secret={SECRET}"),
        "--json".to_owned(),
    ];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Process::role("load", &arguments)
}

/// One look at a stage: how far it was, when, and what else was `seen`.
pub(crate) type Look<T> = (u64, Instant, T);

/// Polls until `count` reaches `target`; the looks at the first record and at the last.
pub(crate) async fn until<T>(
    target: u64,
    mut count: impl AsyncFnMut() -> anyhow::Result<u64>,
    mut seen: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<(Look<T>, Look<T>)> {
    let first = at_least(1, target, &mut count, &mut seen).await?;
    anyhow::ensure!(
        first.0 < target,
        "done before the first look: use more --events"
    );
    let last = at_least(target, target, count, seen).await?;
    Ok((first, last))
}

/// The first look with at least `start`, of `target` that come in all.
pub(crate) async fn at_least<T>(
    start: u64,
    target: u64,
    mut count: impl AsyncFnMut() -> anyhow::Result<u64>,
    mut seen: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Look<T>> {
    // A thousand a second is less than anything measured here does.
    let allowed = Duration::from_secs(180 + target / 1000);
    let deadline = Instant::now() + allowed;
    loop {
        let now = count().await?;
        let look = (now, Instant::now(), seen()?);
        if now >= start {
            return Ok(look);
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "only {now} of {target} after {} s",
            allowed.as_secs()
        );
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn it_is_measured_from_the_first_record_to_the_last() {
        let count = Cell::new(0);
        let next = async || {
            count.set(count.get() + 40);
            Ok(count.get() - 40)
        };
        let (first, last) = until(150, next, || Ok(count.get())).await.unwrap();
        assert_eq!((first.0, first.2), (40, 80));
        assert_eq!((last.0, last.2), (160, 200));
    }

    #[tokio::test]
    async fn what_is_over_at_once_is_not_measured() {
        assert!(until(10, async || Ok(10), || Ok(())).await.is_err());
    }
}
