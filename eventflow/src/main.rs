//! EventFlow, one binary: `eventflow <role>` runs a role, `eventflow demo` runs them all, `eventflow admin` does the one-off work.

mod admin;
mod contracts;
#[cfg(feature = "demo")]
mod demo;
mod healthcheck;
mod oncall;
mod recovery_role;
#[cfg(all(test, feature = "demo"))]
mod reference;
mod send;
mod simulate;
mod smoke;
mod sources;
mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use runtime::config::ConfigError;
use runtime::role::Role;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Records and their headers are made on one thread and freed on another, which glibc's allocator answers with contention.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a role may take to stop: less than the 30 s after which supervisors kill.
const STOP: Duration = Duration::from_secs(25);

/// How a role runs and ends, at the end of each one's `--help`.
const SERVICE: &str = "\
A flag wins over the environment variable shown with it. EVENTFLOW_LOG sets the log level: error, warn, info (the default), debug or \
trace, also by module, as in info,producer=debug.

SIGTERM or Ctrl-C: the role takes no new work, finishes what is in progress, commits and exits 0; if that takes longer than 25 s, it \
exits 1. A second signal: it exits 130 at once. Nothing is lost either way: what is not committed is read again at the next start.

Exit codes: 0 stopped by a signal; 1 cannot continue (the last line says why and what to do); 2 wrong configuration (the last line names \
the setting); 130 stopped at once by a second signal.

/health: 200 while the process is alive. /ready: 200 when the role can do its job now, otherwise 503 with every failing check, its reason \
and what to do. An outage of Kafka, the registry or PostgreSQL ends no role and dead-letters nothing: the role waits and resumes by itself.";

/// Signed webhooks in, accounted-for rows out.
#[derive(Debug, Parser)]
#[command(
    name = "eventflow",
    version,
    about,
    propagate_version = true,
    after_help = after_help()
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn after_help() -> String {
    let demo = if cfg!(feature = "demo") {
        "Try it: eventflow demo --duration 30s. "
    } else {
        ""
    };
    format!(
        "{demo}In production run each role as a service of its own: producer, validator, analytics, persistence, recovery, and registry \
         unless you have a schema registry. `eventflow <role> --help` is the role's manual. On call: eventflow dlq groups, eventflow explain, \
         eventflow replay apply, eventflow trace, eventflow audit."
    )
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value, made once")]
enum Command {
    #[command(flatten)]
    Role(RoleCommand),
    #[command(flatten)]
    OnCall(oncall::Command),
    /// Run every role in one process with an embedded broker, a private PostgreSQL and simulated traffic
    #[cfg(feature = "demo")]
    Demo(demo::Config),
    /// Check that a running stack works: post valid, forged and broken webhooks, and verify what becomes of each
    Smoke(smoke::Config),
    /// Judge a run from outside: by the journal of what was sent, the topics and the database
    Verify(verify::Config),
    /// Sign a body with a source's secret and post it to the edge
    Send(send::Config),
    /// Post webhooks at a given rate, and measure throughput and latency
    Load(load::LoadArgs),
    /// One-off tasks: topics and ACLs, database schemas and logins, SQL views
    Admin(admin::Config),
    /// Look at sources (vendors) and presets, and try and verify requests, offline
    Sources(sources::Config),
    /// Write, check and compare contracts (event types)
    Contracts(contracts::Config),
    /// Ask a role on this machine whether it is alive (/health), or ready (/ready)
    Healthcheck(healthcheck::Config),
}

/// What runs until it is asked to stop.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value, made once")]
enum RoleCommand {
    /// Verify webhooks and publish them to the raw topic
    #[command(after_help = SERVICE)]
    Producer(producer::Config),
    /// Check raw records against their contracts; publish the validated ones, dead-letter the rest
    #[command(after_help = SERVICE)]
    Validator(validator::Config),
    /// Turn validated events into metrics and per-minute figures
    #[command(after_help = SERVICE)]
    Analytics(analytics::Config),
    /// Write validated events to PostgreSQL, one row per event
    #[command(after_help = SERVICE)]
    Persistence(persistence::Config),
    /// Index dead letters, run replays, audit the fate of every webhook, and serve on-call's API
    #[command(after_help = SERVICE)]
    Recovery(recovery_role::RecoveryRole),
    /// Simulate a payment provider that misbehaves, or any vendor (stream)
    Simulator(SimulatorRole),
    /// Serve the contracts' Avro schemas, compatible with Confluent's schema registry
    #[command(after_help = SERVICE)]
    Registry(registry::Config),
}

/// The role, and what plays vendors without being one; `simulator load` is the old spelling of `load`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
struct SimulatorRole {
    #[command(flatten)]
    role: simulator::Config,
    #[command(subcommand)]
    work: Option<SimulatorWork>,
}

#[derive(Debug, Subcommand)]
enum SimulatorWork {
    /// Former spelling of eventflow load
    #[command(hide = true)]
    Load(load::LoadArgs),
    Stream(simulate::StreamConfig),
    Vendors(simulate::VendorsConfig),
}

impl RoleCommand {
    fn role(&self) -> &dyn Role {
        match self {
            Self::Producer(config) => config,
            Self::Validator(config) => config,
            Self::Analytics(config) => config,
            Self::Persistence(config) => config,
            Self::Recovery(config) => config,
            Self::Simulator(config) => &config.role,
            Self::Registry(config) => config,
        }
    }

    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        match self {
            Self::Recovery(recovery_role::RecoveryRole {
                role,
                work: Some(recovery_role::Work::Reindex),
            }) => recovery_role::reindex(role, shutdown).await,
            Self::Simulator(SimulatorRole {
                work: Some(work), ..
            }) => match work {
                SimulatorWork::Load(args) => load::run_and_print(&args, shutdown).await,
                SimulatorWork::Stream(config) => simulate::run_stream(&config, shutdown).await,
                SimulatorWork::Vendors(config) => simulate::write_vendors(&config),
            },
            role => runtime::role::run(role.role(), shutdown).await,
        }
    }
}

impl Command {
    /// The demo bounds its own end, which takes a drain of everything.
    fn stop_timeout(&self) -> Duration {
        #[cfg(feature = "demo")]
        if let Self::Demo(_) = self {
            return Duration::MAX;
        }
        STOP
    }

    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        match self {
            Self::Role(role) => role.run(shutdown).await,
            Self::OnCall(command) => Ok(oncall::run(command, &mut command_line()).await?),
            #[cfg(feature = "demo")]
            Self::Demo(config) => demo::run(config, shutdown).await,
            Self::Smoke(config) => Ok(smoke::run(config).await?),
            Self::Verify(config) => Ok(verify::run(config).await?),
            Self::Send(config) => send::run(&config).await,
            Self::Load(args) => load::run_and_print(&args, shutdown).await,
            Self::Admin(config) => admin::run(config, shutdown).await,
            Self::Sources(config) => sources::run(config).await,
            Self::Contracts(config) => contracts::run(config).await,
            Self::Healthcheck(config) => healthcheck::run(&config).await,
        }
    }
}

/// The whole command line, as it is parsed.
fn command_line() -> clap::Command {
    oncall::with_exit_codes(Cli::command())
}

fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    match &command {
        #[cfg(feature = "demo")]
        Command::Demo(_) => {}
        Command::OnCall(_) | Command::Smoke(_) | Command::Verify(_) => {
            runtime::telemetry::init_at(false, "warn,librdkafka=off");
        }
        Command::Role(role) => runtime::telemetry::init(role.role().process().log_json),
        Command::Send(_)
        | Command::Load(_)
        | Command::Admin(_)
        | Command::Sources(_)
        | Command::Contracts(_)
        | Command::Healthcheck(_) => {
            runtime::telemetry::init(false);
        }
    }
    if let Command::Role(role) = &command
        && role.role().process().check
    {
        if let Err(error) = role.role().check() {
            return report(&error.into());
        }
        println!("configuration is fine");
        if !role.role().process().connect {
            return ExitCode::SUCCESS;
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    if let Command::Role(role) = &command
        && role.role().process().connect
    {
        let all = runtime.block_on(runtime::role::connect(role.role()));
        runtime.shutdown_timeout(Duration::from_secs(2));
        return if all {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        // On-call's commands and smoke have nothing to finish: a signal ends them, and a watched replay goes on without them.
        if !matches!(
            command,
            Command::OnCall(_) | Command::Smoke(_) | Command::Verify(_)
        ) {
            tokio::spawn(cancel_on_signal(shutdown.clone()));
        }
        let too_late = overdue(shutdown.clone(), command.stop_timeout());
        tokio::select! {
            result = command.run(shutdown) => result,
            error = too_late => Err(error),
        }
    });
    // A blocked background call must not keep a finished role alive.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Ends a stop that takes too long: a Kafka client without a broker closes only after minutes.
async fn overdue(shutdown: CancellationToken, longest: Duration) -> anyhow::Error {
    shutdown.cancelled().await;
    tokio::time::sleep(longest).await;
    anyhow::anyhow!(
        "not stopped within {} s, probably because Kafka is down; nothing is lost: what is not committed is read again at the next start",
        longest.as_secs()
    )
}

/// Exit code 2 for configuration, 1 for everything else (on-call's commands have a third); the cause on one line.
#[expect(
    clippy::print_stderr,
    reason = "the last word of the process, whatever the log filter"
)]
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("eventflow: {error:#}");
    if let Some(command) = error.downcast_ref::<oncall::CommandError>() {
        return ExitCode::from(command.exit as u8);
    }
    if error.is::<ConfigError>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// SIGINT and SIGTERM ask for a drain; a second one ends the process at once.
async fn cancel_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        tracing::error!(
            event = "signals_unavailable",
            "SIGTERM and Ctrl-C have no effect; only SIGKILL ends the process"
        );
        return;
    };
    for seen in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if seen > 0 {
            std::process::exit(130);
        }
        tracing::info!(
            event = "stopping",
            "finishing what is in progress; a second signal stops at once"
        );
        shutdown.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_command_line_is_well_formed() {
        command_line().debug_assert();
    }
}
