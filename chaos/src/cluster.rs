//! One or three brokers of a real Apache Kafka. Each role, and each broker, reaches a broker by a proxy of its own.

use crate::process::until;
use crate::schedule::WAYS;
use anyhow::Context;
use runtime::kafka::KafkaArgs;
use sandbox::kafka::{Node, settings};
use sandbox::ports::free_port;
use sandbox::proxy::{Link, Proxy};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Longest start of a broker.
const START: Duration = Duration::from_secs(120);
/// The way between brokers.
pub(crate) const BETWEEN: &str = "brokers";

/// A broker and its files.
#[derive(Debug)]
pub(crate) struct Broker {
    node: Node,
    directory: TempDir,
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// From 1; a fault holds the broker that it is about
    brokers: Vec<Arc<Mutex<Broker>>>,
    /// By way and broker
    proxies: BTreeMap<(&'static str, usize), Proxy>,
    /// Addresses that no fault touches
    direct: String,
}

impl Cluster {
    /// Starts brokers; topics are to be made with as many copies.
    pub(crate) async fn start(script: &Path, count: usize) -> anyhow::Result<Self> {
        let controllers: Vec<u16> = (0..count).map(|_| free_port()).collect::<Result<_, _>>()?;
        let voters: Vec<String> = (1..)
            .zip(&controllers)
            .map(|(id, port)| format!("{id}@127.0.0.1:{port}"))
            .collect();
        let (mut brokers, mut proxies, mut direct) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (id, controller) in (1..).zip(controllers) {
            let prefix = tempfile::Builder::new()
                .prefix("eventflow-kafka-")
                .tempdir()?;
            let mut properties =
                settings(id, &voters.join(","), count, &prefix.path().join("data"));
            let port = free_port()?;
            let address = format!("127.0.0.1:{port}");
            let mut listens = vec![
                format!("DIRECT://{address}"),
                format!("CONTROLLER://127.0.0.1:{controller}"),
            ];
            let mut advertised = vec![format!("DIRECT://{address}")];
            let mut protocols = "DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
            for way in WAYS {
                let own = format!("127.0.0.1:{}", free_port()?);
                let proxy = Proxy::start(&own, Duration::ZERO).await?;
                let listener = way.to_uppercase();
                listens.push(format!("{listener}://{own}"));
                advertised.push(format!("{listener}://{}", proxy.address()));
                protocols.push_str(&format!(",{listener}:PLAINTEXT"));
                proxies.insert((way, id), proxy);
            }
            properties.extend(
                [
                    ("listeners", listens.join(",")),
                    ("advertised.listeners", advertised.join(",")),
                    ("listener.security.protocol.map", protocols),
                    ("inter.broker.listener.name", BETWEEN.to_uppercase()),
                    // So that an answer before the append shows.
                    ("log.message.timestamp.type", "LogAppendTime".to_owned()),
                    // A dead broker is noticed after 3 s, not 9: a run is short.
                    ("broker.session.timeout.ms", "3000".to_owned()),
                    ("broker.heartbeat.interval.ms", "500".to_owned()),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            );
            let node = Node::new(script, prefix.path());
            let controller = controller.to_string();
            let node = blocking(move || {
                node.start_with(&properties, &[&controller], Some("EventFlowChaosCluster1"))?;
                Ok(node)
            })
            .await?;
            direct.push(address);
            brokers.push(Arc::new(Mutex::new(Broker {
                node,
                directory: prefix,
            })));
        }
        let cluster = Self {
            brokers,
            proxies,
            direct: direct.join(","),
        };
        cluster.until_listening().await?;
        Ok(cluster)
    }

    async fn until_listening(&self) -> anyhow::Result<()> {
        for address in self.direct.split(',') {
            let listens = async || Ok(TcpStream::connect(address).is_ok());
            until("a broker listens", START, listens).await?;
        }
        Ok(())
    }

    /// For tools of the run.
    pub(crate) fn direct(&self) -> KafkaArgs {
        KafkaArgs::plaintext(&self.direct)
    }

    /// How many brokers there are.
    pub(crate) fn size(&self) -> usize {
        self.brokers.len()
    }

    /// For a role.
    pub(crate) fn bootstrap(&self, way: &str) -> String {
        let own = self.proxies.iter().filter(|((name, _), _)| *name == way);
        let addresses: Vec<_> = own.map(|(_, proxy)| proxy.address()).collect();
        addresses.join(",")
    }

    /// A broker by the name that schedules give it, `broker-1`.
    pub(crate) fn broker(&self, name: &str) -> anyhow::Result<Arc<Mutex<Broker>>> {
        let number: usize = name.trim_start_matches("broker-").parse()?;
        let broker = number
            .checked_sub(1)
            .and_then(|index| self.brokers.get(index));
        broker
            .cloned()
            .with_context(|| format!("there is no {name}"))
    }

    /// Changes the network between a way and all brokers, or one of them.
    pub(crate) fn set(&self, way: &str, broker: Option<usize>, link: Link) {
        for ((name, id), proxy) in &self.proxies {
            if *name == way && broker.is_none_or(|broker| broker == *id) {
                proxy.set(link);
            }
        }
    }

    /// One of Kafka's own programs; what it printed.
    pub(crate) async fn tool(
        &self,
        class: &'static str,
        arguments: &[&str],
    ) -> anyhow::Result<String> {
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        let (script, bootstrap) = (crate::kafka_script()?, self.direct.clone());
        blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            sandbox::kafka::tool(&script, class, &bootstrap, &arguments)
        })
        .await
    }

    /// Undoes every fault.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        for proxy in self.proxies.values() {
            proxy.set(Link::Open(Duration::ZERO));
        }
        for broker in &self.brokers {
            Broker::start(broker).await?;
        }
        self.until_listening().await
    }

    /// Copies the brokers' logs.
    pub(crate) async fn keep_logs(&self, folder: &Path) -> anyhow::Result<()> {
        for (id, broker) in (1..).zip(&self.brokers) {
            let log = broker.lock().await.directory.path().join("broker.log");
            std::fs::copy(log, folder.join(format!("broker-{id}.log")))?;
        }
        Ok(())
    }
}

impl Broker {
    /// Stops it; `kill` with SIGKILL.
    pub(crate) async fn stop(broker: &Arc<Mutex<Self>>, kill: bool) -> anyhow::Result<()> {
        let broker = Arc::clone(broker);
        blocking(move || broker.blocking_lock().node.stop(kill)).await
    }

    /// Starts it, unless it runs; one that is paused goes on.
    pub(crate) async fn start(broker: &Arc<Mutex<Self>>) -> anyhow::Result<()> {
        let broker = Arc::clone(broker);
        blocking(move || {
            let broker = broker.blocking_lock();
            if broker.node.signal("CONT").is_ok() {
                return Ok(());
            }
            broker.node.restart()
        })
        .await
    }

    /// SIGSTOP, until it is started.
    pub(crate) async fn pause(broker: &Arc<Mutex<Self>>) -> anyhow::Result<()> {
        broker.lock().await.node.signal("STOP")
    }
}

/// Runs what waits for another program.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
