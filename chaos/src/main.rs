//! Runs EventFlow through faults, and judges what became of every webhook.
//!
//! Everything is a process of its own: real brokers, PostgreSQL, each role, each vendor. A seed decides which faults happen when. Then all
//! is healed, the pipeline drains, and the fates are compared with what the vendors sent. `docs/RELIABILITY.md` says what was found.

mod cluster;
mod database;
mod inject;
mod judge;
mod kill_point;
mod oncall;
mod planted;
mod process;
mod profile;
mod report;
mod results;
mod run;
mod runlog;
mod schedule;
mod topics;
mod traffic;
mod world;

use anyhow::Context;
use clap::Parser;
use profile::Profile;
use report::Outcome;
use results::Results;
use run::{run_all, run_seed};
use schedule::Setting;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Runs EventFlow through faults, and judges what became of every webhook.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, about)]
struct Cli {
    /// Seeds, one or a range, as 7 or 1..20: each is a run [default: 1..6, and 1..20 for each planted bug]
    #[arg(long, value_parser = seeds)]
    seeds: Option<RangeInclusive<u64>>,
    /// How long faults happen in a run
    #[arg(long = "for", default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Brokers: 1, or 3 that keep everything three times
    #[arg(long, default_value_t = 1, value_parser = brokers)]
    brokers: usize,
    /// Which faults; without it, the seeds take the profiles in turn
    #[arg(long)]
    profile: Option<Profile>,
    /// Runs at once; each needs 2 GB of memory, with three brokers 3 GB
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// Print the schedules, and run nothing
    #[arg(long)]
    plan: bool,
    /// Keep the files of every run, not of failed ones only
    #[arg(long)]
    keep: bool,
    /// Switch on planted bugs, all or these, one after the other: for each, runs until a check names it. Exit code 1 when none does
    #[arg(long, num_args = 0.., value_name = "NAME")]
    planted: Option<Vec<String>>,
    /// Add the results to this file, as JSON lines; what it has of the same build is not run again
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// What was built, as results name it
    #[arg(long, env = "EVENTFLOW_CHAOS_BUILD", default_value = "unknown")]
    build: String,
    /// Print the table of a file of results, and run nothing
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let cli = Rc::new(Cli::parse());
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
    let done = tokio::task::LocalSet::new().block_on(&runtime, work);
    // Kafka's tools ask brokers that have ended for a minute.
    runtime.shutdown_background();
    done
}

/// SIGINT or SIGTERM.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        _ = terminate.recv() => Ok(()),
    }
}

async fn run(cli: &Rc<Cli>) -> anyhow::Result<ExitCode> {
    if let Some(file) = &cli.table {
        let outcomes = Results::open(Some(file))?.into_outcomes();
        print(&report::table(&outcomes))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(names) = &cli.planted {
        return planted::run(cli, names).await;
    }
    let mut settings = cli.seeds.clone().unwrap_or(1..=6).map(|seed| Setting {
        seed,
        profile: cli.profile.unwrap_or_else(|| Profile::of_turn(seed)),
        brokers: cli.brokers,
        duration: cli.duration,
    });
    if cli.plan {
        settings.try_for_each(plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    let results = Results::open(cli.results.as_deref())?;
    let runs: Vec<_> = settings
        .filter(|setting| !results.has(&cli.build, setting, None))
        .map(|setting| run_seed(Rc::clone(cli), setting, None))
        .collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    run_all(cli.jobs, runs, |outcome| {
        let outcome = outcome?;
        print(&format!("{}\n", outcome.line()))?;
        results.add(&outcome)?;
        outcomes.push(outcome);
        Ok(())
    })
    .await?;
    if outcomes.len() > 1 {
        print(&format!("\n{}", report::table(&outcomes)))?;
    }
    let all_ok = outcomes.iter().all(Outcome::is_ok);
    Ok(ExitCode::from(u8::from(!all_ok)))
}

/// Prints the schedule of a seed.
fn plan(setting: Setting) -> anyhow::Result<()> {
    let Setting {
        seed,
        profile,
        brokers,
        ..
    } = setting;
    let steps = setting.plan().into_iter();
    let steps: String = steps.map(|step| format!("  {step}\n")).collect();
    print(&format!("seed {seed} {profile} brokers {brokers}\n{steps}"))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
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
