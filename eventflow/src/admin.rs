//! `eventflow admin`: one-off work on a cluster and a database.

use contracts::topics;
use database::DatabaseArgs;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use tokio_util::sync::CancellationToken;

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
    },
    /// Bring the database's schema up to date
    Migrate {
        #[command(flatten)]
        kafka: Box<KafkaArgs>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    match config.work {
        Work::Topics { kafka, replication, partitions } => {
            kafka.check()?;
            let wanted = [(topics::RAW, partitions), (topics::VALIDATED, partitions), (topics::DLQ, 3)];
            let created = runtime::admin::create_topics(&kafka, &wanted, replication).await?;
            for (name, partitions) in wanted {
                let what = if created.iter().any(|made| made == name) { "created" } else { "exists" };
                println!("{name}\t{what}\t{partitions} partitions asked for");
            }
        }
        Work::Migrate { kafka, database } => {
            kafka.check()?;
            database.check()?;
            if persistence::store::Store::open(&database.database_url, &kafka, &Health::new(), &shutdown).await?.is_some() {
                println!("the database is up to date");
            }
        }
    }
    Ok(())
}
