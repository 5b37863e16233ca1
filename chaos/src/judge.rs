//! After the faults: everything works again, the traffic ends, what is in progress comes to its end, and every webhook is judged.

mod quotas;
pub(crate) mod secrets;

use crate::oncall;
use crate::process::until;
use crate::traffic::{QUOTA, Traffic};
use crate::world::World;
use anyhow::Context;
use contracts::kafka::topics;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest time, after the last webhook, until every raw record has its fate and every replay its end.
const DRAIN: Duration = Duration::from_secs(120);
/// Longest time that looking at what is in progress may fail.
const FAILING: Duration = Duration::from_secs(40);
/// What a standby that lacks the last transactions explains: rows were gone for a while, and recovery forgot what it had sent.
const AFTER_FAIL_OVER: [&str; 2] = ["audit_false_alarm", "replayed_twice"];

/// What is wrong, and which check says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) check: String,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(check: &str, what: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// Events in webhooks answered 2xx
    pub(crate) accepted: u64,
    /// From the last webhook until nothing was in progress
    pub(crate) drain: Duration,
    /// Nothing when every accepted webhook has exactly one fate
    pub(crate) wrong: Vec<Finding>,
}

/// Heals, drains, and judges.
pub(crate) async fn judge(world: &World, traffic: &mut Traffic) -> anyhow::Result<Judgement> {
    world
        .log
        .note("all faults are over: everything is started, every network is open");
    let mut wrong: Vec<Finding> = Vec::new();
    let mut note = |check: &str, done: &anyhow::Result<()>| {
        world.log.note(&format!("{check}: {done:?}"));
        let failed = done.as_ref().err();
        wrong.extend(failed.map(|error| Finding::new(check, format!("{error:#}"))));
    };
    world.heal().await.context("not healed")?;
    note("not_ready", &world.until_ready().await);
    traffic.stop().await?;
    let ended = Instant::now();
    note("not_drained", &drain(world).await);
    let drain = ended.elapsed();
    wrong.extend(audit(world).await);
    wrong.extend(ends(world).await);
    wrong.extend(secrets::shown(&world.folder, &world.secrets)?);
    wrong.extend(quotas::unfounded(traffic.journals(), QUOTA)?);
    let (accepted, found) = verify(world, traffic.journals()).await?;
    wrong.extend(found);
    if world.database.has_failed_over().await {
        wrong.retain(|finding| !AFTER_FAIL_OVER.contains(&finding.check.as_str()));
    }
    for finding in &wrong {
        world.log.note(&format!("WRONG: {finding}"));
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
    let mut failing_since: Option<Instant> = None;
    let at_rest = async || match progress(world).await {
        Ok((said, is_over)) => {
            (last, failing_since) = (said, None);
            Ok(is_over)
        }
        // That the audit did not finish passes; a gap does not.
        Err(error) => {
            last = format!("{error:#}");
            let since = *failing_since.get_or_insert_with(Instant::now);
            anyhow::ensure!(since.elapsed() < FAILING, "it fails all the time");
            Ok(false)
        }
    };
    let waited = until("every webhook has its fate", DRAIN, at_rest).await;
    waited.with_context(|| last)
}

/// What is in progress, and whether that is nothing.
async fn progress(world: &World) -> anyhow::Result<(String, bool)> {
    let audit = look(world).await?;
    let jobs = oncall::unfinished(world).await?;
    let replaying = audit["dead_lettered"]["replaying"].as_i64().unwrap_or(0);
    let said = format!(
        "{} in flight, {replaying} being replayed, {jobs} replays under way",
        audit["in_flight"]
    );
    let is_over = jobs == 0 && replaying == 0 && has_all(world, &audit).await?;
    Ok((said, is_over))
}

/// Whether every record of the raw topic that there is has its fate; not whether its replays have theirs.
pub(crate) async fn settled(world: &World) -> anyhow::Result<bool> {
    match look(world).await {
        Ok(audit) => has_all(world, &audit).await,
        // It did not finish, which passes.
        Err(_) => Ok(false),
    }
}

async fn look(world: &World) -> anyhow::Result<Value> {
    let printed = world.eventflow(&["audit", "--now", "--json"]).await?;
    Ok(serde_json::from_str(&printed)?)
}

/// Whether nothing is in flight, and an audit has looked at as much as the raw topic has, by the brokers' own count.
async fn has_all(world: &World, audit: &Value) -> anyhow::Result<bool> {
    let kafka = world.cluster.direct();
    let ends = crate::cluster::blocking(move || runtime::admin::ends(&kafka, topics::RAW)).await?;
    let looked_at = |partition: i32| {
        let all = audit["partitions"].as_array().into_iter().flatten();
        let mut of = all.filter(|one| one[0] == partition);
        of.next().and_then(|one| one[2].as_i64())
    };
    let has_looked = |(partition, end): (i32, i64)| end == 0 || looked_at(partition) == Some(end);
    Ok(audit["in_flight"] == 0 && ends.into_iter().all(has_looked))
}

/// What `eventflow audit` finds.
async fn audit(world: &World) -> Option<Finding> {
    match world.eventflow(&["audit", "--json"]).await {
        Ok(printed) => {
            world
                .log
                .note(&format!("audit: {}", printed.replace('\n', " ")));
            None
        }
        Err(error) => Some(Finding::new("audit", format!("{error:#}"))),
    }
}

/// A role that panicked, or was started with a configuration it refuses, has a bug whatever the fates say.
async fn ends(world: &World) -> Vec<Finding> {
    let mut wrong = Vec::new();
    for (name, log) in world.logs().await {
        let line = log.lines().find(|line| line.contains("panicked at"));
        wrong.extend(line.map(|line| Finding::new("panicked", format!("{name}: {line}"))));
    }
    if let Some(times) = world.log.ends().get("exit 2") {
        let what = format!("{times} times a role ended with exit code 2");
        wrong.push(Finding::new("configuration_refused", what));
    }
    wrong
}

/// What `eventflow verify` finds in the journals, the topics and the database; its report is kept beside the journals. How many events were
/// accepted, and what is wrong.
async fn verify(world: &World, journals: &[PathBuf]) -> anyhow::Result<(u64, Vec<Finding>)> {
    let files: Vec<String> = journals
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    // All clocks are this machine's, and Kafka's has milliseconds.
    let mut command = vec!["verify", "--json", "--clocks-within", "2ms", "--journal"];
    command.extend(files.iter().map(String::as_str));
    let recreated = world.recreated.lock().await;
    for topic in recreated.iter() {
        command.extend(["--recreated", topic]);
    }
    let output = world.output(&command).await?;
    let cannot = || {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("verify: {}: {}", output.status, said.trim())
    };
    anyhow::ensure!(matches!(output.status.code(), Some(0 | 1)), cannot());
    std::fs::write(world.folder.join("verify.json"), &output.stdout)?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(cannot)?;
    let mut wrong = Vec::new();
    for check in report["checks"].as_array().context("no checks")? {
        if check["failed"] != 0 {
            let name = check["check"].as_str().unwrap_or_default();
            let (failed, checked) = (&check["failed"], &check["checked"]);
            let first = &check["offenders"][0]["what"];
            let what = format!("{failed} of {checked} failed: {first}");
            wrong.push(Finding::new(name, what));
        }
    }
    anyhow::ensure!(
        report["clean"].as_bool() == Some(wrong.is_empty()),
        cannot()
    );
    Ok((report["counts"]["accepted"].as_u64().unwrap_or(0), wrong))
}
