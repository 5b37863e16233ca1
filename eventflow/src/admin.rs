//! `eventflow admin`: one-off work on a cluster and a database.

use contracts::topics;
use database::DatabaseArgs;
use runtime::config::check_topic;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use tokio_util::sync::CancellationToken;

/// The groups whose failures are replayed.
pub(crate) const RETRY_GROUPS: [&str; 2] = [validator::GROUP, persistence::GROUP];

/// One-off work.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// Create the topics that are missing
    Topics {
        #[command(flatten)]
        kafka: Box<KafkaArgs>,
        /// Copies of every partition; 3 or more also sets min.insync.replicas=2
        #[arg(long, default_value_t = 1)]
        replication: i32,
        /// Partitions of the raw and validated topics
        #[arg(long, default_value_t = 6)]
        partitions: i32,
        /// Consumer group that gets a retry topic, events.retry.<group>.v1. If a role has another --group, name all of them (repeatable)
        #[arg(long = "retry-group", value_name = "NAME", default_values = RETRY_GROUPS)]
        retry_groups: Vec<String>,
    },
    /// Bring the schemas of persistence and recovery up to date
    Migrate {
        #[command(flatten)]
        kafka: Box<KafkaArgs>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

/// Every topic of a pipeline with these retry topics, and its partitions.
pub(crate) fn wanted(partitions: i32, retry: &[String]) -> Vec<(&str, i32)> {
    let live = [(topics::RAW, partitions), (topics::VALIDATED, partitions), (topics::DLQ, 3)];
    live.into_iter().chain(retry.iter().map(|topic| (topic.as_str(), 3))).collect()
}

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    match config.work {
        Work::Topics { kafka, replication, partitions, retry_groups } => {
            kafka.check()?;
            let retry: Vec<String> = retry_groups.iter().map(|group| topics::retry(group)).collect();
            for topic in &retry {
                check_topic("--retry-group", topic)?;
            }
            let wanted = wanted(partitions, &retry);
            let created = runtime::admin::create_topics(&kafka, &wanted, replication).await?;
            for (name, partitions) in wanted {
                let what = if created.iter().any(|made| made == name) { "created" } else { "exists" };
                println!("{name}\t{what}\t{partitions} partitions asked for");
            }
        }
        Work::Migrate { kafka, database } => {
            kafka.check()?;
            database.check()?;
            let health = Health::new();
            for schema in [persistence::store::SCHEMA, recovery::SCHEMA] {
                if !schema.open(&schema.pool(&database.database_url, 2)?, &kafka, &health, &shutdown).await? {
                    return Ok(());
                }
                println!("{}\tup to date", schema.role);
            }
        }
    }
    Ok(())
}
