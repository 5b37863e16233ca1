//! Runs EventFlow through faults, and judges what became of every webhook.
//!
//! Everything is a process of its own: real brokers, PostgreSQL, each role, each vendor. A seed decides which faults happen when. Then all
//! is healed, the pipeline drains, and the fates are compared with what the vendors sent. `docs/RELIABILITY.md` says what was found.

mod cluster;
mod database;
mod inject;
mod judge;
mod oncall;
mod process;
mod profile;
mod report;
mod runlog;
mod schedule;
mod traffic;
mod world;

use anyhow::Context;
use clap::Parser;
use profile::Profile;
use report::Outcome;
use runlog::RunLog;
use schedule::Setting;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use world::World;

/// Runs EventFlow through faults, and judges what became of every webhook.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, about)]
struct Cli {
    /// Seeds, one or a range, as 7 or 1..20: each is a run
    #[arg(long, default_value = "1..6", value_parser = seeds)]
    seeds: RangeInclusive<u64>,
    /// How long faults happen in a run
    #[arg(long = "for", default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Brokers: 1, or 3 that keep everything three times
    #[arg(long, default_value_t = 1, value_parser = brokers)]
    brokers: usize,
    /// Which faults; without it, the seeds take the profiles in turn
    #[arg(long)]
    profile: Option<Profile>,
    /// Print the schedules, and run nothing
    #[arg(long)]
    plan: bool,
    /// Keep the files of every run, not of failed ones only
    #[arg(long)]
    keep: bool,
    /// Switch on this planted bug, which the judgement must find
    #[arg(long, value_name = "NAME")]
    planted_bug: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let cli = Cli::parse();
    // One thread: the kernel kills a process of a run with the thread that started it, and this one lives until the end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = async {
        tokio::select! {
            done = run(&cli) => done,
            interrupted = interrupted() => {
                interrupted?;
                Ok(ExitCode::from(130))
            }
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// SIGINT or SIGTERM.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        _ = terminate.recv() => Ok(()),
    }
}

async fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let mut outcomes = Vec::new();
    for seed in cli.seeds.clone() {
        let setting = Setting {
            seed,
            profile: cli.profile.unwrap_or_else(|| Profile::of_turn(seed)),
            brokers: cli.brokers,
            duration: cli.duration,
        };
        if cli.plan {
            writeln!(
                out,
                "seed {seed} {} brokers {}",
                setting.profile, setting.brokers
            )?;
            for step in setting.plan() {
                writeln!(out, "  {step}")?;
            }
            continue;
        }
        let outcome = run_seed(cli, setting).await?;
        writeln!(out, "{}", outcome.line())?;
        outcomes.push(outcome);
    }
    if outcomes.len() > 1 {
        write!(out, "\n{}", report::table(&outcomes))?;
    }
    let all_ok = outcomes.iter().all(Outcome::is_ok);
    Ok(ExitCode::from(u8::from(!all_ok)))
}

/// One run, in a folder that is kept when it fails.
async fn run_seed(cli: &Cli, setting: Setting) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let folder = tempfile::Builder::new()
        .prefix(&format!(
            "eventflow-chaos-{}-{}-",
            setting.seed, setting.profile
        ))
        .tempdir()?;
    // PostgreSQL, which runs as another user when this is root, has its small disk in it.
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let log = RunLog::create(&folder.path().join("run.log"))?;
    let judgement = run_world(cli, &setting, folder.path(), &log).await;
    if let Err(error) = &judgement {
        log.note(&format!("FAILED: {error:#}"));
    }
    let mut outcome = Outcome::new(setting, Some(&log), judgement, started.elapsed());
    if cli.keep || !outcome.is_ok() {
        outcome.kept = Some(folder.keep());
    }
    Ok(outcome)
}

async fn run_world(
    cli: &Cli,
    setting: &Setting,
    folder: &Path,
    log: &RunLog,
) -> anyhow::Result<judge::Judgement> {
    let planted = cli.planted_bug.as_deref();
    let (world, mut traffic) = World::start(setting, planted, folder, log.clone())
        .await
        .context("the run did not start")?;
    let world = Arc::new(world);
    log.note("every role is ready: traffic begins");
    traffic.start()?;
    let started = tokio::time::Instant::now();
    let mut faults = JoinSet::new();
    for step in setting.plan() {
        tokio::time::sleep_until(started + step.at).await;
        let world = Arc::clone(&world);
        faults.spawn_local(async move { inject::inject(&world, &step).await });
    }
    tokio::time::sleep_until(started + setting.duration).await;
    while let Some(fault) = faults.join_next().await {
        fault?;
    }
    let judgement = judge::judge(&world, &mut traffic).await;
    world.end().await?;
    world.cluster.keep_logs(folder).await?;
    judgement
}

/// The script that starts brokers.
fn kafka_script() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("EVENTFLOW_TEST_KAFKA_SCRIPT");
    named.map(PathBuf::from).context(
        "EVENTFLOW_TEST_KAFKA_SCRIPT does not say where infra/kafka/local/kafka is: use script/chaos",
    )
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("{text:?}: {error}"))
    };
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last {
        return Err(format!("{first} is above {last}"));
    }
    Ok(first..=last)
}

fn brokers(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("must be 1 or 3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!(seeds("7"), Ok(7..=7));
        assert_eq!(seeds("1..20"), Ok(1..=20));
        assert!(seeds("3..1").is_err() && seeds("x").is_err());
    }
}
