//! `eventflow admin topics`: makes a cluster's topics and ACLs those of the pipeline, or compares them.

use super::acls::{self, Acls};
use super::cluster::{Cluster, TopicState};
use contracts::pipeline::{Pipeline, Topic};
use runtime::config::{ConfigError, check_topic};
use runtime::kafka::KafkaArgs;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for a created topic to be known to the broker that is asked.
const THERE_WITHIN: Duration = Duration::from_secs(10);

/// What a cluster should have.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// File that describes the pipeline: stages, topics, consumer groups [default: the built-in one, infra/kafka/pipeline.json]
    #[arg(
        long = "pipeline",
        alias = "file",
        env = "EVENTFLOW_PIPELINE",
        value_name = "FILE"
    )]
    file: Option<PathBuf>,
    /// Also create the retry topic of this consumer group, events.retry.NAME.v1; repeatable. Those of the pipeline's groups always are
    #[arg(long = "retry-group", value_name = "NAME")]
    retry_groups: Vec<String>,
    /// Kafka principal of each role, with {} for the role's name. With mTLS it is the certificate's subject, such as User:CN={}
    #[arg(long, env = "EVENTFLOW_KAFKA_PRINCIPAL", default_value = "User:{}")]
    principal: String,
    /// Replication factor; with 3 or more, min.insync.replicas becomes 2. An existing topic with fewer replicas is reported, not changed:
    /// change it with Kafka's kafka-reassign-partitions. Without this flag new topics get 1, and existing ones are not compared
    #[arg(long, env = "EVENTFLOW_TOPIC_REPLICATION")]
    replication: Option<i16>,
}

/// What a cluster should have, and what may be changed for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    wanted: Wanted,
    /// Also make changes that delete records, such as a shorter retention
    #[arg(long, alias = "lose-data")]
    allow_data_loss: bool,
}

/// One difference from the pipeline.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    Missing,
    /// Partitions now; the file says more
    MorePartitions(i32),
    /// Partitions now; the file says fewer, which Kafka cannot do
    FewerPartitions(i32),
    /// Copies of every partition now; more are wanted, which takes Kafka's own tool
    FewerCopies(usize),
    /// A setting, its value now
    Setting(String, String),
    /// The same, and what the file says deletes records
    LosingSetting(String, String),
}

impl Difference {
    /// `None` where there is none.
    fn of(topic: &Topic, replication: Option<i16>, now: Option<&TopicState>) -> Vec<Self> {
        let Some(now) = now else {
            return vec![Self::Missing];
        };
        let mut found = match now.partitions.cmp(&topic.partitions) {
            std::cmp::Ordering::Less => vec![Self::MorePartitions(now.partitions)],
            std::cmp::Ordering::Equal => vec![],
            std::cmp::Ordering::Greater => vec![Self::FewerPartitions(now.partitions)],
        };
        if replication
            .is_some_and(|wanted| now.copies < usize::try_from(wanted).unwrap_or_default())
        {
            found.push(Self::FewerCopies(now.copies));
        }
        for (name, wanted) in &topic.config {
            let value = now.config.get(name).cloned().unwrap_or_default();
            if value == *wanted {
            } else if loses(name, &value, wanted) {
                found.push(Self::LosingSetting(name.clone(), value));
            } else {
                found.push(Self::Setting(name.clone(), value));
            }
        }
        found
    }

    /// Whether `apply` makes it go away.
    fn is_applied(&self) -> bool {
        match self {
            Self::Missing
            | Self::MorePartitions(_)
            | Self::Setting(..)
            | Self::LosingSetting(..) => true,
            Self::FewerPartitions(_) | Self::FewerCopies(_) => false,
        }
    }
}

/// Whether a setting's new value makes the cluster delete records that its present one keeps.
fn loses(name: &str, now: &str, wanted: &str) -> bool {
    match name {
        // -1 keeps for ever.
        "retention.ms" | "retention.bytes" => match (now.parse::<i64>(), wanted.parse::<i64>()) {
            (Ok(now), Ok(wanted)) => wanted >= 0 && (now < 0 || wanted < now),
            (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => true,
        },
        "cleanup.policy" => true,
        _ => false,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "missing"),
            Self::MorePartitions(now) => write!(f, "has {now} partitions"),
            Self::FewerPartitions(now) => write!(
                f,
                "has {now} partitions, and Kafka cannot remove partitions: write {now} into the pipeline's file"
            ),
            Self::FewerCopies(now) => write!(
                f,
                "has replication factor {now}: raise it with kafka-reassign-partitions"
            ),
            Self::Setting(name, now) => write!(f, "has {name}={now}"),
            Self::LosingSetting(name, now) => {
                write!(f, "has {name}={now}, and the change deletes records")
            }
        }
    }
}

impl Wanted {
    /// The variable's former name is read for one release.
    fn file(&self) -> Option<PathBuf> {
        let former = || std::env::var_os("EVENTFLOW_TOPICS").map(PathBuf::from);
        self.file.clone().or_else(former)
    }

    fn pipeline(&self) -> anyhow::Result<Pipeline> {
        self.kafka.check()?;
        if self.replication.is_some_and(|copies| copies < 1) {
            return Err(ConfigError::new("--replication", "must be at least 1").into());
        }
        let mut pipeline = match self.file() {
            None => Pipeline::built_in(),
            Some(path) => {
                let bad = |problem: String| {
                    ConfigError::new("--pipeline", format!("{}: {problem}", path.display()))
                };
                let text =
                    std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
                let pipeline = Pipeline::parse(&text).map_err(|error| bad(error.to_string()))?;
                for name in pipeline.topics.keys() {
                    check_topic("--pipeline", name)?;
                }
                pipeline
            }
        };
        for group in &self.retry_groups {
            check_topic("--retry-group", &contracts::kafka::topics::retry(group))?;
            pipeline.add_retry_of(group);
        }
        if self.replication.is_some_and(|copies| copies >= 3) {
            for topic in pipeline.topics.values_mut() {
                topic
                    .config
                    .entry("min.insync.replicas".to_owned())
                    .or_insert_with(|| "2".to_owned());
            }
        }
        if !self.principal.contains("{}") || !self.principal.starts_with("User:") {
            return Err(ConfigError::new(
                "--principal",
                "must begin with User: and have {} where the role's name goes, as in User:{} or User:CN={}",
            )
            .into());
        }
        Ok(pipeline)
    }
}

impl Wanted {
    async fn acls(&self, cluster: Cluster, pipeline: &Pipeline) -> anyhow::Result<Acls> {
        let (ours, acls) = (
            acls::principals(pipeline, &self.principal),
            acls::wanted(pipeline, &self.principal),
        );
        Acls::compare(cluster.connection, &self.kafka, &ours, &acls).await
    }
}

/// Makes the cluster's topics and ACLs those of the pipeline. Changes that delete records are refused before anything is changed.
pub(super) async fn apply(config: &Apply) -> anyhow::Result<()> {
    let Apply {
        wanted,
        allow_data_loss,
    } = config;
    let pipeline = wanted.pipeline()?;
    let mut cluster = Cluster::open(&wanted.kafka).await?;
    let now = cluster
        .topics(pipeline.topics.keys().map(String::as_str))
        .await?;
    let todo: Vec<_> = pipeline
        .topics
        .iter()
        .map(|(name, topic)| {
            (
                name,
                topic,
                Difference::of(topic, wanted.replication, now.get(name)),
            )
        })
        .collect();
    let refused = todo.iter().flat_map(|(name, _, differences)| {
        differences.iter().map(move |difference| (name, difference))
    });
    let refused: Vec<String> = refused
        .filter(|(_, difference)| match difference {
            Difference::FewerPartitions(_) => true,
            Difference::LosingSetting(..) => !allow_data_loss,
            Difference::Missing
            | Difference::MorePartitions(_)
            | Difference::FewerCopies(_)
            | Difference::Setting(..) => false,
        })
        .map(|(name, difference)| format!("{name} {difference}"))
        .collect();
    if !refused.is_empty() {
        let deletes = todo
            .iter()
            .flat_map(|(_, _, differences)| differences.iter())
            .any(|difference| matches!(difference, Difference::LosingSetting(..)));
        let next = if deletes && !allow_data_loss {
            "; to allow changes that delete records, add --allow-data-loss"
        } else {
            ""
        };
        anyhow::bail!("nothing was changed: {}{next}", refused.join("; "));
    }
    for (name, topic, differences) in todo {
        let mut settings = BTreeMap::new();
        let mut done = Vec::new();
        for difference in &differences {
            match difference {
                Difference::Missing => {
                    cluster
                        .create(name, topic, wanted.replication.unwrap_or(1))
                        .await?;
                    done.push(format!("created, {} partitions", topic.partitions));
                }
                Difference::MorePartitions(before) => {
                    cluster.grow(name, topic.partitions).await?;
                    // Keys move to other partitions: records of one entity are in order only from here on.
                    done.push(format!("{before} partitions -> {}", topic.partitions));
                }
                Difference::Setting(setting, before)
                | Difference::LosingSetting(setting, before) => {
                    let value = &topic.config[setting];
                    settings.insert(setting.clone(), value.clone());
                    done.push(format!("{setting}={before} -> {value}"));
                }
                Difference::FewerCopies(_) => done.push(difference.to_string()),
                Difference::FewerPartitions(_) => {}
            }
        }
        if !settings.is_empty() {
            cluster.configure(name, &settings).await?;
        }
        let done = if done.is_empty() {
            "in sync".to_owned()
        } else {
            done.join(", ")
        };
        println!("{name}\t{done}");
    }
    until_there(&mut cluster, &pipeline).await?;
    wanted.acls(cluster, &pipeline).await?.apply().await
}

/// Waits until the broker that is asked knows every topic: it learns of a created one only after the controller has answered, and a check or
/// a role started right away would miss it.
async fn until_there(cluster: &mut Cluster, pipeline: &Pipeline) -> anyhow::Result<()> {
    let deadline = Instant::now() + THERE_WITHIN;
    loop {
        let names = || pipeline.topics.keys().map(String::as_str);
        let now = cluster.topics(names()).await?;
        let Some(missing) = names().find(|name| !now.contains_key(*name)) else {
            return Ok(());
        };
        anyhow::ensure!(
            Instant::now() < deadline,
            "{missing} was created, and the broker does not know it after {} s; check the brokers, then run this again",
            THERE_WITHIN.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Compares, changes nothing.
///
/// # Errors
/// Something differs.
pub(super) async fn check(wanted: &Wanted) -> anyhow::Result<()> {
    let pipeline = wanted.pipeline()?;
    let mut cluster = Cluster::open(&wanted.kafka).await?;
    let now = cluster
        .topics(pipeline.topics.keys().map(String::as_str))
        .await?;
    let (mut fixable, mut others) = (0, 0);
    for (name, topic) in &pipeline.topics {
        let differences = Difference::of(topic, wanted.replication, now.get(name));
        let applied = differences.iter().filter(|it| it.is_applied()).count();
        fixable += applied;
        others += differences.len() - applied;
        for difference in &differences {
            let should = match difference {
                Difference::Missing
                | Difference::MorePartitions(_)
                | Difference::FewerPartitions(_) => {
                    format!("{} partitions", topic.partitions)
                }
                Difference::FewerCopies(_) => {
                    format!(
                        "replication factor {}",
                        wanted.replication.unwrap_or_default()
                    )
                }
                Difference::Setting(setting, _) | Difference::LosingSetting(setting, _) => {
                    format!("{setting}={}", topic.config[setting])
                }
            };
            println!("{name}\t{difference}; should be: {should}");
        }
        if differences.is_empty() {
            println!("{name}\tin sync");
        }
    }
    fixable += wanted.acls(cluster, &pipeline).await?.report();
    match (fixable, others) {
        (0, 0) => Ok(()),
        (_, 0) => {
            anyhow::bail!("{fixable} differences; fix them with `eventflow admin topics apply`")
        }
        (0, _) => anyhow::bail!("{others} differences, which only you can fix as said above"),
        (_, _) => anyhow::bail!(
            "{} differences; first fix those that `eventflow admin topics apply` cannot, as said above ({others}), then run it",
            fixable + others
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::loses;

    #[test]
    fn a_setting_that_deletes_records_is_known() {
        for (name, now, wanted, answer) in [
            ("retention.ms", "100", "99", true),
            ("retention.ms", "100", "101", false),
            ("retention.ms", "100", "-1", false),
            ("retention.ms", "-1", "100", true),
            ("retention.bytes", "-1", "100", true),
            ("retention.ms", "100", "a week", true),
            ("cleanup.policy", "delete", "compact", true),
            ("max.message.bytes", "100", "99", false),
        ] {
            assert_eq!(loses(name, now, wanted), answer, "{name} {now} -> {wanted}");
        }
    }
}
