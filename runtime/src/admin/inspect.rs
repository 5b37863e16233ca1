//! A client that is kept: where topics end, and which groups read them.

use super::{AdminConsumer, inspector, partitions, serve_token_request};
use crate::kafka::KafkaArgs;
use rdkafka::consumer::Consumer;
use std::collections::BTreeMap;
use std::time::Duration;

/// A client that is kept, for queries that are repeated. Its calls block; each ends within the deadline given at construction.
pub struct Inspector {
    consumer: AdminConsumer,
    deadline: Duration,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Inspector {
    /// Nothing connects yet.
    ///
    /// # Errors
    /// Settings librdkafka refuses.
    pub fn new(kafka: &KafkaArgs, deadline: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            consumer: inspector(kafka)?,
            deadline,
        })
    }

    /// Where the next record of every partition goes.
    ///
    /// # Errors
    /// When the topic is unknown or no broker answers in time.
    pub fn ends(&self, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        serve_token_request(&self.consumer, Duration::ZERO);
        let mut ends = BTreeMap::new();
        for partition in partitions(&self.consumer, topic, self.deadline)? {
            ends.insert(
                partition,
                self.consumer
                    .fetch_watermarks(topic, partition, self.deadline)?
                    .1,
            );
        }
        Ok(ends)
    }

    /// Whether a consumer group reads a topic now.
    #[must_use]
    pub fn readers(&self, group: &str, topic: &str) -> Readers {
        serve_token_request(&self.consumer, Duration::ZERO);
        let groups = match self.consumer.fetch_group_list(Some(group), self.deadline) {
            Ok(groups) => groups,
            Err(error) => {
                tracing::debug!(event = "group_unknown", group, %error);
                return Readers::Unknown;
            }
        };
        let members = groups
            .groups()
            .iter()
            .find(|known| known.name() == group)
            .map_or(&[][..], |known| known.members());
        Readers::of(
            members
                .iter()
                .map(rdkafka::groups::GroupMemberInfo::assignment),
            topic,
        )
    }
}

/// Whether a consumer group reads a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// A member has a partition of it
    There,
    /// The group has no members
    Nobody,
    /// It has, and what each is assigned is known: not this topic
    OfOtherTopics,
    /// The brokers do not report it (a missing permission, or a broker that cannot), or not now: while a group rebalances its members have
    /// no assignment
    Unknown,
}

impl Readers {
    fn of<'a>(assignments: impl Iterator<Item = Option<&'a [u8]>>, topic: &str) -> Self {
        let mut readers = Self::Nobody;
        for assignment in assignments {
            match assignment.and_then(|bytes| assigned(bytes, topic)) {
                Some(true) => return Self::There,
                Some(false) if readers != Self::Unknown => readers = Self::OfOtherTopics,
                Some(false) => {}
                None => readers = Self::Unknown,
            }
        }
        readers
    }
}

/// Whether an assignment of the consumer protocol (a version, then topics, each with its partitions) has a partition of a topic; `None` when
/// it is not one.
fn assigned(mut bytes: &[u8], topic: &str) -> Option<bool> {
    fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(taken)
    }
    let version = i16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?);
    if version < 0 {
        return None;
    }
    let topics = i32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?);
    let mut found = false;
    for _ in 0..u32::try_from(topics).ok()? {
        let length = i16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?);
        let name = take(&mut bytes, usize::try_from(length).ok()?)?;
        let partitions =
            usize::try_from(i32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?)).ok()?;
        take(&mut bytes, partitions.checked_mul(4)?)?;
        found |= name == topic.as_bytes() && partitions > 0;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(topics: &[(&str, i32)]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(
            i32::try_from(topics.len())
                .unwrap_or_default()
                .to_be_bytes(),
        );
        for (topic, partitions) in topics {
            bytes.extend(i16::try_from(topic.len()).unwrap_or_default().to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(partitions.to_be_bytes());
            (0..*partitions).for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes.extend((-1_i32).to_be_bytes()); // no user data
        bytes
    }

    #[test]
    fn who_reads_a_topic_is_in_the_assignments_of_the_members() {
        let (ours, other, none) = (
            assignment(&[("raw", 3), ("retry", 2)]),
            assignment(&[("raw", 3)]),
            assignment(&[]),
        );
        let readers =
            |members: &[&[u8]]| Readers::of(members.iter().map(|bytes| Some(*bytes)), "retry");
        assert_eq!(readers(&[]), Readers::Nobody);
        assert_eq!(readers(&[&other, &ours]), Readers::There);
        assert_eq!(readers(&[&other, &none]), Readers::OfOtherTopics);
        assert_eq!(
            readers(&[&assignment(&[("retry", 0), ("retry2", 1)])]),
            Readers::OfOtherTopics
        );
        // While it rebalances, and of a protocol that is not known.
        assert_eq!(readers(&[&[], &other]), Readers::Unknown);
        assert_eq!(readers(&[&[], &ours]), Readers::There);
        assert_eq!(Readers::of([None].into_iter(), "retry"), Readers::Unknown);
        for cut in 0..ours.len() - 4 {
            assert_eq!(readers(&[&ours[..cut]]), Readers::Unknown, "{cut}");
        }
        for broken in [
            &[0xff; 40][..],
            &[0, 0, 0x7f, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0, 0, 1, 0, 1, b'x', 0x7f, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(readers(&[broken]), Readers::Unknown, "{broken:?}");
        }
    }
}
