//! `eventflow admin`: one-off work on a cluster and a database.

mod acls;
mod cluster;
mod topics;
mod views;

use contracts::Secret;
use runtime::config::ConfigError;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use std::time::Duration;
use store::DatabaseArgs;
use store::users::Users;
use tokio_util::sync::CancellationToken;

/// One-off work.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// Topics and access control lists (ACLs) of a cluster
    #[command(subcommand)]
    Topics(Box<Topics>),
    /// Typed SQL views over the stored rows, one for each event type
    #[command(subcommand)]
    Views(views::Views),
    /// Migrate the schemas of persistence and recovery, and create a database login for each if their passwords are given
    #[command(
        after_help = "With the passwords given, connect as a user who may create users and schemas. The logins eventflow_persistence \
                            and eventflow_recovery then own their tables, and recovery may read persistence's views; the roles need no other \
                            user. The audit log belongs to eventflow_owner, which has no login: recovery may insert and read. Run it again to change a password, and after an upgrade."
    )]
    Migrate {
        #[command(flatten)]
        kafka: Box<KafkaArgs>,
        #[command(flatten)]
        database: DatabaseArgs,
        /// Time limit for each schema, in seconds, including the wait for Kafka and PostgreSQL
        #[arg(long, default_value_t = 300)]
        seconds: u64,
        /// Password of the database login eventflow_persistence
        #[arg(
            help_heading = "Database",
            long,
            env = "EVENTFLOW_PERSISTENCE_DATABASE_PASSWORD",
            hide_env_values = true,
            requires = "recovery_password"
        )]
        persistence_password: Option<Secret>,
        /// Password of the database login eventflow_recovery
        #[arg(
            help_heading = "Database",
            long,
            env = "EVENTFLOW_RECOVERY_DATABASE_PASSWORD",
            hide_env_values = true,
            requires = "persistence_password"
        )]
        recovery_password: Option<Secret>,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Topics {
    /// Create missing topics and ACLs, and change those that differ; a second run changes nothing. Changes that delete records are refused
    Apply(topics::Apply),
    /// List how topics and ACLs differ, and change nothing; exit 1 if any does
    Check(topics::Wanted),
}

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    match config.work {
        Work::Topics(work) => match *work {
            Topics::Apply(config) => topics::apply(&config).await?,
            Topics::Check(wanted) => topics::check(&wanted).await?,
        },
        Work::Views(work) => views::run(work).await?,
        Work::Migrate {
            kafka,
            database,
            seconds,
            persistence_password,
            recovery_password,
        } => {
            kafka.check()?;
            database.check()?;
            let (url, health, deadline) = (
                &database.database_url,
                Health::new(),
                Duration::from_secs(seconds),
            );
            let users = Users::new(url)?;
            let passwords = [&persistence_password, &recovery_password];
            for (schema, password) in [persistence::writer::SCHEMA, recovery::SCHEMA]
                .into_iter()
                .zip(passwords)
            {
                let pool = match password {
                    None => schema.pool(url, 2)?,
                    Some(password) => {
                        if password.expose().is_empty() {
                            let flag = format!("--{}-password", schema.role);
                            return Err(ConfigError::new(&flag, "must not be empty").into());
                        }
                        users.create(schema.role, password).await?;
                        schema.pool_as_its_user(url, 2)?
                    }
                };
                let opened =
                    tokio::time::timeout(deadline, schema.open(&pool, &kafka, &health, &shutdown))
                        .await;
                match opened {
                    Ok(opened) => {
                        anyhow::ensure!(
                            opened?,
                            "stopped before {} was migrated; run it again",
                            schema.role
                        );
                    }
                    Err(_) => anyhow::bail!(
                        "{} is not migrated within {} s: {}",
                        schema.role,
                        deadline.as_secs(),
                        health
                            .reasons()
                            .into_iter()
                            .map(|(_, reason)| reason)
                            .collect::<Vec<_>>()
                            .join("; ")
                    ),
                }
                let login = password
                    .as_ref()
                    .map(|_| format!(", owned by {}", store::connect::login(schema.role)));
                println!("{}\tup to date{}", schema.role, login.unwrap_or_default());
            }
            if recovery_password.is_some() {
                let role = recovery::SCHEMA.role;
                let (table, functions) =
                    (recovery::audit_log::TABLE, recovery::audit_log::FUNCTIONS);
                users.restrict(role, table, &functions).await?;
                println!(
                    "{role}.{table}\t{} may insert and read",
                    store::connect::login(role)
                );
                users
                    .grant(
                        persistence::writer::SCHEMA.role,
                        &persistence::writer::VIEWS,
                        recovery::SCHEMA.role,
                    )
                    .await?;
            }
        }
    }
    Ok(())
}
