//! After the faults: everything works again, the traffic ends, what is in progress comes to its end, and every webhook is judged.

use crate::oncall;
use crate::process::until;
use crate::traffic::Traffic;
use crate::world::World;
use anyhow::Context;
use contracts::kafka::topics;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest time, after the last webhook, until every raw record has its fate and every replay its end.
const DRAIN: Duration = Duration::from_secs(120);

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// Events in webhooks answered 2xx
    pub(crate) accepted: u64,
    /// From the last webhook until nothing was in progress
    pub(crate) drain: Duration,
    /// What is wrong, in sentences; nothing when every accepted webhook has exactly one fate
    pub(crate) wrong: Vec<String>,
}

/// Heals, drains, and judges.
pub(crate) async fn judge(world: &World, traffic: &mut Traffic) -> anyhow::Result<Judgement> {
    world
        .log
        .note("all faults are over: everything is started, every network is open");
    world.heal().await.context("not healed")?;
    world.log.note("every role is ready");
    traffic.stop().await?;
    let ended = Instant::now();
    let drained = drain(world).await;
    let drain = ended.elapsed();
    world.log.note(&format!("drained: {drained:?}"));
    let mut wrong: Vec<String> = drained
        .err()
        .map(|error| format!("{error:#}"))
        .into_iter()
        .collect();
    wrong.extend(audit(world).await);
    wrong.extend(panics(world).await);
    let (accepted, found) = verify(world, traffic.journals()).await?;
    wrong.extend(found);
    for sentence in &wrong {
        world.log.note(&format!("WRONG: {sentence}"));
    }
    Ok(Judgement {
        accepted,
        drain,
        wrong,
    })
}

/// Waits until no raw record is without a fate, and no replay is under way.
async fn drain(world: &World) -> anyhow::Result<()> {
    let mut last = String::new();
    let settled = async || {
        let audit = match world.eventflow(&["audit", "--now", "--json"]).await {
            Ok(printed) => serde_json::from_str::<Value>(&printed)?,
            // A gap is not passing; that the audit did not finish may be.
            Err(error) => {
                last = format!("{error:#}");
                return Ok(false);
            }
        };
        let jobs = match oncall::unfinished(world).await {
            Ok(jobs) => jobs,
            Err(error) => {
                last = format!("{error:#}");
                return Ok(false);
            }
        };
        let replaying = audit["dead_lettered"]["replaying"].as_i64().unwrap_or(0);
        last = format!(
            "{} in flight, {replaying} being replayed, {jobs} replays under way",
            audit["in_flight"]
        );
        Ok(audit["in_flight"] == 0
            && jobs == 0
            && replaying == 0
            && covers_all(world, &audit).await?)
    };
    let waited = until("every webhook has its fate", DRAIN, settled).await;
    waited.with_context(|| last)
}

/// Whether an audit has looked at as much as the raw topic has, by the brokers' own count.
async fn covers_all(world: &World, audit: &Value) -> anyhow::Result<bool> {
    let kafka = world.cluster.direct();
    let ends = crate::cluster::blocking(move || runtime::admin::ends(&kafka, topics::RAW)).await?;
    let looked_at = |partition: i32| {
        let all = audit["partitions"].as_array().into_iter().flatten();
        let mut of = all.filter(|one| one[0] == partition);
        of.next().and_then(|one| one[2].as_i64())
    };
    Ok(ends
        .into_iter()
        .all(|(partition, end)| end == 0 || looked_at(partition) == Some(end)))
}

/// What `eventflow audit` finds.
async fn audit(world: &World) -> Option<String> {
    match world.eventflow(&["audit", "--json"]).await {
        Ok(printed) => {
            world
                .log
                .note(&format!("audit: {}", printed.replace('\n', " ")));
            None
        }
        Err(error) => Some(format!("{error:#}")),
    }
}

/// A role that panicked, or was started with a configuration it refuses, has a bug whatever the fates say.
async fn panics(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, log) in world.logs().await {
        let line = log.lines().find(|line| line.contains("panicked at"));
        wrong.extend(line.map(|line| format!("{name} panicked: {line}")));
    }
    let ends = world.log.ends();
    if let Some(times) = ends.get("exit 2") {
        wrong.push(format!("{times} times a role refused its configuration"));
    }
    wrong
}

/// What `eventflow verify` finds in the journals, the topics and the database; its report is kept beside the journals. How many events were
/// accepted, and what is wrong.
async fn verify(world: &World, journals: &[PathBuf]) -> anyhow::Result<(u64, Vec<String>)> {
    let files: Vec<String> = journals
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut command = vec!["verify", "--json", "--journal"];
    command.extend(files.iter().map(String::as_str));
    let output = world.output(&command).await?;
    let cannot = || {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("verify: {}: {}", output.status, said.trim())
    };
    anyhow::ensure!(matches!(output.status.code(), Some(0 | 1)), cannot());
    if let Some(journal) = journals.first() {
        std::fs::write(journal.with_file_name("verify.json"), &output.stdout)?;
    }
    let report: Value = serde_json::from_slice(&output.stdout).with_context(cannot)?;
    let mut wrong = Vec::new();
    for check in report["checks"].as_array().context("no checks")? {
        if check["failed"] != 0 {
            let first = &check["offenders"][0]["what"];
            wrong.push(format!(
                "{}: {} of {} failed: {first}",
                check["check"].as_str().unwrap_or_default(),
                check["failed"],
                check["checked"],
            ));
        }
    }
    anyhow::ensure!(
        report["clean"].as_bool() == Some(wrong.is_empty()),
        cannot()
    );
    Ok((report["counts"]["accepted"].as_u64().unwrap_or(0), wrong))
}
