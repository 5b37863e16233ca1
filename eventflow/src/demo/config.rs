//! Settings of the demo, and the constants its parts share.

use clap::Args;
use contracts::Secret;
use runtime::config::ConfigError;
use std::path::PathBuf;
use std::time::Duration;

/// How long real brokers and a real database may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Signs the demo's webhooks: the simulator's default, so that `eventflow load` works beside the demo without flags.
pub(super) const SECRET: &str = "eventflow-local-secret";
/// Token of recovery's API in the demo.
pub(super) const TOKEN: &str = "eventflow-demo";
/// The error when it is stopped too early.
pub(super) const STOPPED: &str = "stopped before the demo was ready";

/// Settings of the demo.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Config {
    /// Stop after this long, such as 30s or 2m; without it, at Ctrl-C
    #[arg(long, alias = "for", value_parser = runtime::config::parse_positive_duration)]
    pub(super) duration: Option<Duration>,
    /// Events per second
    #[arg(long, default_value_t = 100.0)]
    pub(super) rate: f64,
    /// Seed of the simulated traffic
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// TOML file of sources to play instead of the demo's own vendors. A secret that it names and that is not there is made; the source
    /// payment-authorized is added, unless the file has it
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    pub(super) sources: Option<PathBuf>,
    /// Directory of further event contracts; their valid examples are sent by the sources whose events they can be
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub(super) contracts: Option<PathBuf>,
    /// Play a pack instead: its sources, contracts and requests. film: a film production; commerce: tickets, orders and payments
    #[arg(long, conflicts_with_all = ["sources", "contracts"])]
    pub(super) pack: Option<String>,
    /// Divides the vendors' waits before they send again: 600 makes ten minutes a second
    #[arg(long, default_value_t = 600.0)]
    pub(super) retry_factor: f64,
    /// Print only the final table, as JSON
    #[arg(long, default_value_t = false)]
    pub(super) json: bool,
    /// Send no faulty webhooks
    #[arg(long, default_value_t = false)]
    pub(super) no_faults: bool,
    /// Use these brokers (plaintext) instead of the embedded one; nothing else may publish to the topics meanwhile
    #[arg(long, alias = "kafka", value_name = "HOST:PORT,...")]
    pub(super) kafka_brokers: Option<String>,
    /// Use this PostgreSQL instead of a private one, which needs the server programs on this machine. The database must be new and empty,
    /// unless --kafka-brokers is the cluster it was used with before
    #[arg(long, hide_env_values = true)]
    pub(super) database_url: Option<Secret>,
    #[command(flatten)]
    pub(super) ports: PortArgs,
    /// Skip the walkthrough at the end, in which dead letters are explained, fixed, replayed and audited
    #[arg(long, default_value_t = false)]
    pub(super) no_recovery: bool,
}

/// Where the roles listen, on the loopback address.
#[derive(Debug, Args)]
pub(super) struct PortArgs {
    /// Port of the producer
    #[arg(long, default_value_t = 8000)]
    pub(super) producer_port: u16,
    /// Port of the validator's /health, /ready and /metrics
    #[arg(long, default_value_t = 8001)]
    pub(super) validator_port: u16,
    /// Port of analytics: /api/stats, /health, /ready and /metrics
    #[arg(long, default_value_t = 8002)]
    pub(super) analytics_port: u16,
    /// Port of persistence's /health, /ready and /metrics
    #[arg(long, default_value_t = 8003)]
    pub(super) persistence_port: u16,
    /// Port of the simulator
    #[arg(long, default_value_t = 8080)]
    pub(super) simulator_port: u16,
    /// Port of the schema registry
    #[arg(long, default_value_t = 8081)]
    pub(super) registry_port: u16,
    /// Port of recovery's API
    #[arg(long, default_value_t = 8004)]
    pub(super) recovery_port: u16,
}

const AFTER_HELP: &str = "\
Ctrl-C or the end of --duration stops the traffic; the demo then waits up to 30 s for what is in flight and prints the final table. A \
second Ctrl-C stops at once.

Exit codes: 0 every accepted webhook has exactly one fate; 1 one has not, a role failed, or it was stopped before it was ready; 2 it could \
not start (a port is taken, no PostgreSQL, no disk space, --kafka-brokers or --database-url unreachable); 130 stopped at once. No process \
and no file is left behind.";

impl Config {
    /// # Errors
    /// A setting that cannot be used.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(0.1..=1e6).contains(&self.rate) {
            return Err(ConfigError::new(
                "--rate",
                "must be between 0.1 and 1000000",
            ));
        }
        if !(1.0..=1e6).contains(&self.retry_factor) {
            return Err(ConfigError::new(
                "--retry-factor",
                "must be between 1 and 1000000",
            ));
        }
        match &self.database_url {
            None => Ok(()),
            Some(database_url) => store::DatabaseArgs {
                database_url: database_url.clone(),
            }
            .check(),
        }
    }
}
