//! `eventflow admin`: one-off work on a cluster and a database.

mod acls;
mod cluster;
mod topics;
mod wire;

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
    /// A cluster's topics and who may use them
    #[command(subcommand)]
    Topics(Box<Topics>),
    /// Bring the schemas of persistence and recovery up to date
    Migrate {
        #[command(flatten)]
        kafka: Box<KafkaArgs>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Topics {
    /// Create what is missing, change what is not as it should be; a second time changes nothing. What would lose data is refused
    Apply(topics::Apply),
    /// Compare, change nothing; exit code 1 when something is not as it should be
    Check(topics::Wanted),
}

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    match config.work {
        Work::Topics(work) => match *work {
            Topics::Apply(config) => topics::apply(&config).await?,
            Topics::Check(wanted) => topics::check(&wanted).await?,
        },
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
