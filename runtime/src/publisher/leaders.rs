//! What the brokers say of a topic: whether a record of each partition could be acknowledged.

use super::Client;
use crate::kafka;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::Producer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// No broker describes the topic: says less than what was known before.
pub(super) const SILENT: &str = "kafka_unavailable";
/// Replicas in sync that a partition needs where it has as many: what `eventflow admin topics apply` sets as `min.insync.replicas`. A client
/// is not told a topic's setting.
const IN_SYNC: usize = 2;
/// Longest wait for a connection to a broker.
const CONNECT: Duration = Duration::from_millis(250);

/// Asks for the topic's metadata, then whether its leaders and in-sync replicas can be reached: what is left of a cluster may describe the
/// brokers that are gone.
///
/// # Errors
/// A code, the reason, and what to do.
pub(super) fn check(client: &Client, topic: &str, deadline: Duration) -> Result<(), String> {
    let metadata = client
        .client()
        .fetch_metadata(Some(topic), deadline)
        .map_err(|error| {
            format!(
                "{SILENT}: no broker answers for topic {topic} ({}); check that the cluster is up and reachable",
                kafka::code_of(&error)
            )
        })?;
    let missing = "create it with `eventflow admin topics apply`";
    let Some(described) = metadata.topics().first() else {
        return Err(format!(
            "topic_missing: topic {topic} is unknown; {missing}"
        ));
    };
    match described.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            let advice = kafka::missing_acl(&format!("to use topic {topic}"));
            return Err(format!("TopicAuthorizationFailed: {advice}"));
        }
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            return Err(format!(
                "topic_missing: topic {topic} does not exist; {missing}"
            ));
        }
        Some(error) => {
            return Err(format!(
                "{error:?}: topic {topic} cannot be used; {missing}"
            ));
        }
    }
    partitions(described)?;
    brokers(&metadata, described)
}

/// Each partition has a leader and enough replicas in sync.
fn partitions(topic: &MetadataTopic) -> Result<(), String> {
    let (name, all) = (topic.name(), topic.partitions());
    let count = all.len();
    let leaderless = all.iter().filter(|partition| partition.leader() < 0);
    if let Some(first) = leaderless.clone().next() {
        return Err(format!(
            "no_leader: {} of {count} partitions of topic {name} have no leader, such as {}; start the brokers that have their replicas",
            leaderless.count(),
            first.id()
        ));
    }
    let behind = |replicas: usize, in_sync: usize| in_sync < replicas.min(IN_SYNC);
    match all
        .iter()
        .find(|one| behind(one.replicas().len(), one.isr().len()))
    {
        None => Ok(()),
        Some(one) => Err(format!(
            "not_enough_in_sync_replicas: partition {} of topic {name} has {} of {} replicas in sync; start the brokers that have the others",
            one.id(),
            one.isr().len(),
            one.replicas().len()
        )),
    }
}

/// Every leader, and every replica that an acknowledgement waits for, can be connected to.
fn brokers(metadata: &Metadata, topic: &MetadataTopic) -> Result<(), String> {
    let addresses: BTreeMap<i32, (&str, u16)> = metadata
        .brokers()
        .iter()
        .filter_map(|broker| {
            let port = u16::try_from(broker.port()).ok()?;
            Some((broker.id(), (broker.host(), port)))
        })
        .collect();
    let leaders: BTreeSet<i32> = topic.partitions().iter().map(|one| one.leader()).collect();
    let in_sync = topic.partitions().iter().flat_map(|one| one.isr().iter());
    let followers: BTreeSet<i32> = in_sync
        .copied()
        .filter(|id| !leaders.contains(id))
        .collect();
    let name = topic.name();
    for (code, role, ids) in [
        ("no_leader", "leads partitions", leaders),
        (
            "not_enough_in_sync_replicas",
            "counts as in sync",
            followers,
        ),
    ] {
        for id in ids {
            let reached = addresses.get(&id).is_some_and(can_connect);
            if !reached {
                return Err(format!(
                    "{code}: broker {id}, which {role} of topic {name}, cannot be reached; check that it runs"
                ));
            }
        }
    }
    Ok(())
}

fn can_connect(address: &(&str, u16)) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    let mut tried = addresses.map(|address| TcpStream::connect_timeout(&address, CONNECT));
    tried.any(|connected| connected.is_ok())
}
