//! Measures EventFlow against stated baselines, in the same run: every line prints ours, the baseline and the ratio, and CPU an event.
//!
//! The roles run as processes of their own, as they do for users; the broker is the embedded one in a process of its own, so that the
//! disk and the replication of a real broker are not part of the figures. Each measurement is repeated, ours and the baseline in turn,
//! and the median is printed: machines are noisy, ratios less so.

mod baseline;
mod edge;
mod index;
mod process;
mod report;
mod shapes;
mod stages;
mod whole;
mod world;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;

/// Measures EventFlow against stated baselines.
#[derive(Debug, Parser)]
#[command(name = "eventflow-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    /// Run only these measurements, separated by commas: edge, validator, shapes, persistence, index, whole, latency, rest [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each measurement is repeated; the median is printed
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of load per measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Events in the topic that the validator and persistence are measured with
    #[arg(long, default_value_t = 400_000)]
    events: u64,
    /// Dead letters that recovery's index is measured with
    #[arg(long, default_value_t = 1_000_000)]
    dead_letters: u64,
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

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match cli.part {
        Some(Part::Broker { partitions }) => baseline::broker(partitions),
        Some(Part::AnswerAtOnce { listen }) => runtime.block_on(baseline::answer_at_once(listen)),
        Some(Part::Copy { brokers, from, to }) => baseline::copy(&brokers, &from, &to),
        None => runtime.block_on(measure(&cli)),
    }
}

async fn measure(cli: &Cli) -> anyhow::Result<()> {
    let wanted = |name: &str| cli.only.is_empty() || cli.only.iter().any(|only| only == name);
    report::machine();
    if wanted("edge") {
        edge::measure(cli.runs, cli.seconds).await?;
    }
    if wanted("validator") {
        stages::validator(cli.runs, cli.events).await?;
    }
    if wanted("shapes") {
        shapes::measure(cli.runs, cli.events / 2).await?;
    }
    if wanted("persistence") {
        stages::persistence(cli.runs, cli.events).await?;
    }
    if wanted("index") {
        index::measure(cli.dead_letters).await?;
    }
    if wanted("whole") {
        whole::throughput(cli.runs, cli.seconds).await?;
    }
    if wanted("latency") {
        whole::latency(cli.seconds).await?;
    }
    if wanted("rest") {
        whole::at_rest().await?;
    }
    Ok(())
}
