//! On-call at work, by the commands that people type.

use crate::world::World;
use anyhow::Context;
use serde_json::Value;
use std::time::Duration;

/// What fixes a payment whose currency is in lower case.
const PATCH: &str = r#"[{"op":"replace","path":"/payload/currency","value":"EUR"}]"#;

async fn json(world: &World, arguments: &[&str]) -> anyhow::Result<Value> {
    let printed = world.eventflow(&[arguments, &["--json"]].concat()).await?;
    Ok(serde_json::from_str(&printed)?)
}

/// The number of a group with open dead letters, of this code if one is given.
async fn group(world: &World, code: Option<&str>) -> anyhow::Result<String> {
    let answer = json(world, &["dlq", "groups"]).await?;
    let groups = answer["groups"].as_array().context("no groups")?;
    let fits = |group: &&Value| {
        group["open"].as_i64() > Some(0) && code.is_none_or(|code| group["code"] == code)
    };
    let found = groups.iter().find(fits).context("no dead letter is open")?;
    Ok(found["id"].to_string())
}

/// The id of the newest replay in a state.
async fn newest(world: &World, state: &str) -> anyhow::Result<String> {
    let answer = json(world, &["replay", "ls"]).await?;
    let jobs = answer["replays"].as_array().context("no replays")?;
    let found = jobs.iter().find(|job| job["state"] == state);
    let found = found.with_context(|| format!("no replay is {state}"))?;
    Ok(found["id"].as_str().unwrap_or_default().to_owned())
}

async fn replay(world: &World, group: &str, more: &[&str]) -> anyhow::Result<String> {
    let selection = [
        "replay", "apply", "--group", group, "--limit", "200", "--reason", "chaos",
    ];
    let how = ["--rate", "40", "--yes", "--detach"];
    world
        .eventflow(&[&selection, &how[..], more].concat())
        .await?;
    Ok(format!("group {group} is replayed"))
}

/// Fixes all of a group by one patch, and replays them.
pub(crate) async fn edit_and_replay(world: &World) -> anyhow::Result<String> {
    let group = group(world, Some("unknown_currency")).await?;
    let edit = [
        "dlq", "edit", "--group", &group, "--patch", PATCH, "--reason", "chaos", "--yes",
    ];
    world.eventflow(&edit).await?;
    replay(world, &group, &[]).await
}

/// Replays what fails again.
pub(crate) async fn replay_as_it_is(world: &World) -> anyhow::Result<String> {
    let group = group(world, None).await?;
    replay(world, &group, &["--force"]).await
}

/// Two people replay the same dead letters at once: each is sent by one of them.
pub(crate) async fn replay_twice(world: &World) -> anyhow::Result<String> {
    let group = group(world, None).await?;
    let force = ["--force"];
    let (one, other) = tokio::join!(replay(world, &group, &force), replay(world, &group, &force));
    // The second may find nothing left.
    let done = one.or(other)?;
    Ok(format!("{done} by two people"))
}

/// Pauses the newest running replay for a while.
pub(crate) async fn pause_and_resume(world: &World, lasts: Duration) -> anyhow::Result<String> {
    let job = newest(world, "running").await?;
    world.eventflow(&["replay", "pause", &job]).await?;
    tokio::time::sleep(lasts).await;
    world.eventflow(&["replay", "resume", &job]).await?;
    Ok(format!("{job} was paused"))
}

/// Stops the newest running replay for good.
pub(crate) async fn stop(world: &World) -> anyhow::Result<String> {
    let job = newest(world, "running").await?;
    world.eventflow(&["replay", "stop", &job]).await?;
    Ok(format!("{job} was stopped"))
}

/// Discards a few open dead letters, with a reason.
pub(crate) async fn discard(world: &World) -> anyhow::Result<String> {
    let group = group(world, Some("blank_field")).await?;
    let discard = [
        "dlq", "discard", "--group", &group, "--limit", "3", "--reason", "chaos", "--yes",
    ];
    world.eventflow(&discard).await?;
    Ok(format!("three of group {group}"))
}

/// Validates stored events of a vendor once more.
pub(crate) async fn revalidate(world: &World) -> anyhow::Result<String> {
    let plan = [
        "revalidate",
        "plan",
        "--source",
        "github,stripe",
        "--limit",
        "50",
        "--reason",
        "chaos",
    ];
    let job = json(world, &plan).await?;
    let job = job["id"].as_str().context("no job")?.to_owned();
    world
        .eventflow(&["revalidate", "apply", &job, "--yes", "--detach"])
        .await?;
    Ok(format!("{job} is under way"))
}

/// After the run: what is paused goes on, so that every replay comes to its end. Answers how many have not.
pub(crate) async fn unfinished(world: &World) -> anyhow::Result<usize> {
    let answer = json(world, &["replay", "ls", "--limit", "200"]).await?;
    let jobs = answer["replays"].as_array().context("no replays")?;
    let mut unfinished = 0;
    for job in jobs {
        let id = job["id"].as_str().unwrap_or_default();
        if job["state"] == "paused" {
            world.eventflow(&["replay", "resume", id]).await?;
        }
        // What was only planned sends nothing.
        if job["state"] != "planned" && job["finished_at"].is_null() {
            unfinished += 1;
        }
    }
    Ok(unfinished)
}
