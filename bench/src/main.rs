//! Measures EventFlow against stated baselines, in the same run: every line prints ours, the baseline and the ratio, and CPU an event.
//!
//! The roles run as processes of their own, as they do for users. The broker is the embedded one in a process of its own, so that the disk and
//! the replication of a real broker are not part of the figures; or, with `--kafka`, real brokers of the same machine. Each measurement is
//! repeated, ours and the baseline in turn, and the median is printed: machines are noisy, ratios less so. At the end the goals that were
//! measured are listed, met or not.

mod baseline;
mod bench;
mod brokers;
mod client;
mod delivery;
mod edge;
mod figures;
mod index;
mod outage;
mod peers;
mod pipeline;
mod process;
mod report;
mod rows;
mod shapes;
mod slow;
mod stages;
mod whole;
mod world;

use bench::Bench;
use brokers::{Brokers, RealBrokers};
use clap::{Parser, Subcommand};
use runtime::config::parse_positive_duration;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Measures EventFlow against stated baselines.
#[derive(Debug, Parser)]
#[command(name = "script/bench", version, about)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    /// Run only these measurements, separated by commas: edge, validator, shapes, persistence, index, whole, latency, rest, slow; with --kafka
    /// also client, delivery, instances, backlog, outage; and with --peers also peers [default: all]
    #[arg(long, value_delimiter = ',', value_parser = NAMES, hide_possible_values = true)]
    only: Vec<String>,
    /// How often each measurement is repeated; the median is printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Seconds of load per measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Events in the topic that the validator and persistence are measured with
    #[arg(long, default_value_t = 400_000)]
    events: u64,
    /// Dead letters that recovery's index is measured with
    #[arg(long, default_value_t = 1_000_000)]
    dead_letters: u64,
    /// Use real brokers of this machine (Apache Kafka, fetched once; needs Java and Maven) instead of the embedded one
    #[arg(long)]
    kafka: bool,
    /// How many real brokers: 1, or 3 with three copies of everything
    #[arg(long, default_value_t = 1, value_parser = brokers_count, requires = "kafka")]
    brokers: u8,
    /// Events in a backlog of 1x; 5x and 50x are measured, too
    #[arg(long, default_value_t = 50_000)]
    backlog: u64,
    /// How long PostgreSQL is gone, such as 30s or 10m. Ten minutes at full load need 20 GB of disk and as long again to catch up
    #[arg(long, default_value = "30s", value_parser = parse_positive_duration)]
    outage: Duration,
    /// Measure peers, too: an edge and a sink in Go, and from Maven Central a JDBC sink on Kafka Connect and Kafka Streams. What this machine
    /// cannot build is left out, with a word
    #[arg(long, requires_all = ["kafka", "peers_folder"])]
    peers: bool,
    /// Where script/bench has built the peers
    #[arg(long, env = "EVENTFLOW_BENCH_PEERS", hide = true)]
    peers_folder: Option<PathBuf>,
}

/// What the bench starts itself as.
#[derive(Debug, Subcommand)]
enum Part {
    /// The embedded broker, until its standard input closes
    #[command(hide = true)]
    Broker {
        /// Partitions per topic
        #[arg(long)]
        partitions: i32,
    },
    /// Baseline of the edge: the same server, answering at once
    #[command(hide = true)]
    AnswerAtOnce {
        /// Address
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Baseline of the validator: consume and produce
    #[command(hide = true)]
    Copy {
        /// Brokers
        #[arg(long)]
        brokers: String,
        /// Topic read, from its beginning
        #[arg(long)]
        from: String,
        /// Topic written
        #[arg(long)]
        to: String,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match cli.part {
        Some(Part::Broker { partitions }) => baseline::broker(partitions)?,
        Some(Part::AnswerAtOnce { listen }) => {
            runtime.block_on(baseline::answer_at_once(listen))?;
        }
        Some(Part::Copy { brokers, from, to }) => baseline::copy(&brokers, &from, &to)?,
        None => return runtime.block_on(measure(&cli)),
    }
    Ok(ExitCode::SUCCESS)
}

/// One broker or three.
fn brokers_count(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("give 1 or 3".to_owned()),
    }
}

/// Fails with exit code 1 when a measurement failed; goals that are not met are figures, not failures.
async fn measure(cli: &Cli) -> anyhow::Result<ExitCode> {
    let (brokers, described) = if cli.kafka {
        let real = RealBrokers::start(cli.brokers).await?;
        let described = real.describe()?;
        (Brokers::Real(Arc::new(real)), described)
    } else {
        let described = "the embedded broker: no disk, no replication; --kafka for a real one";
        (Brokers::Embedded, described.to_owned())
    };
    let bench = Bench {
        brokers,
        runs: usize::from(cli.runs),
        seconds: cli.seconds,
        events: cli.events,
        backlog: cli.backlog,
        dead_letters: cli.dead_letters,
        outage: cli.outage,
        peers: cli.peers_folder.clone().filter(|_| cli.peers),
        goals: report::Goals::default(),
    };
    report::machine(&described);
    let wanted = |name: &&str| cli.only.is_empty() || cli.only.iter().any(|only| only == name);
    // A run takes an hour: one measurement that fails does not take the others with it.
    let mut code = ExitCode::SUCCESS;
    for name in NAMES.into_iter().filter(wanted) {
        if let Err(error) = line(name, &bench).await {
            report::print(&format!("{name} FAILED: {error:#}\n"));
            code = ExitCode::FAILURE;
        }
    }
    bench.goals.print();
    Ok(code)
}

/// Every measurement, in order.
const NAMES: [&str; 15] = [
    "client",
    "edge",
    "validator",
    "delivery",
    "shapes",
    "persistence",
    "index",
    "whole",
    "latency",
    "rest",
    "slow",
    "instances",
    "backlog",
    "outage",
    "peers",
];

async fn line(name: &str, bench: &Bench) -> anyhow::Result<()> {
    match name {
        "client" => client::measure(bench).await,
        "edge" => edge::measure(bench).await,
        "validator" => stages::validator(bench).await,
        "delivery" => delivery::measure(bench).await,
        "shapes" => shapes::measure(bench).await,
        "persistence" => stages::persistence(bench).await,
        "index" => index::measure(bench).await,
        "whole" => whole::throughput(bench).await,
        "latency" => whole::latency(bench).await,
        "rest" => whole::at_rest(bench).await,
        "slow" => slow::measure(bench).await,
        "instances" => rows::instances(bench).await,
        "backlog" => rows::backlog(bench).await,
        "outage" => outage::measure(bench).await,
        "peers" => peers::measure(bench).await,
        unknown => anyhow::bail!("there is no measurement {unknown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_help_names_every_measurement() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for name in NAMES {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let parse = |flags: &[&str]| Cli::try_parse_from([&["bench"], flags].concat());
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--kafka", "--brokers=3", "--only=edge,peers"]).is_ok());
        for wrong in ["--only=nothing", "--brokers=3", "--runs=0", "--outage=0s"] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
        assert!(parse(&["--kafka", "--brokers=2"]).is_err());
    }
}
