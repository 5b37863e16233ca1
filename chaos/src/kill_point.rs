//! A process that ends itself between two steps, at a point of `runtime::faults`.

use crate::oncall;
use crate::process::until;
use crate::profile::Profile;
use crate::schedule::MEMBERS;
use crate::world::World;
use anyhow::Context;
use fastrand::Rng;
use runtime::faults::{POINTS, Point};
use std::time::Duration;

/// Longest wait until a process comes to its point.
const WITHIN: Duration = Duration::from_secs(15);

/// A process and a point that it passes, as `persistence-1 rows_committed`, and in how many passes it ends there once.
pub(crate) fn choose(profile: Profile, rng: &mut Rng) -> (String, i64) {
    let members = match profile {
        Profile::Replay => &MEMBERS[8..],
        _ => &MEMBERS[1..],
    };
    let member = rng.choice(members).copied().unwrap_or_default();
    let role = member.split('-').next().unwrap_or_default();
    let passes = |point: &&Point| match profile {
        Profile::Replay => point.name.starts_with("replay_"),
        _ => point.stage == role || (point.stage == "stage" && role != "producer"),
    };
    let points = POINTS.iter().filter(passes);
    let points: Vec<&str> = points.map(|point| point.name).collect();
    let point = rng.choice(points).unwrap_or_default();
    // The edge passes its points with every request, recovery its own seldom.
    let most = match role {
        "producer" => 200,
        "recovery" => 3,
        _ => 20,
    };
    (format!("{member} {point}"), rng.i64(1..=most))
}

/// Starts a process so that it ends at its point; then it is started again without.
pub(crate) async fn kill_at(world: &World, target: &str, one_in: i64) -> anyhow::Result<String> {
    let (name, point) = target.split_once(' ').context("no point")?;
    let process = world.member(name)?;
    let said = format!("the process ends at {point}");
    let (before, starts) = {
        let mut process = process.lock().await;
        process.kill()?;
        let before = process.log().matches(&said).count();
        let switch = ("EVENTFLOW_KILL_AT".to_owned(), format!("{point}:{one_in}"));
        process.start(&[switch])?;
        (before, process.starts())
    };
    let provoked = async {
        if point.starts_with("replay_") {
            world.until_member_ready(name).await?;
            oncall::replay_as_it_is(world).await?;
        }
        // Whoever watches the roles starts it again.
        let again = async || Ok(process.lock().await.starts() > starts);
        until(&format!("{name} comes to {point}"), WITHIN, again).await
    };
    let provoked = provoked.await;
    let mut process = process.lock().await;
    if process.starts() == starts {
        process.kill()?;
        process.start(&[])?;
    }
    provoked?;
    let ended_there = process.log().matches(&said).count() > before;
    anyhow::ensure!(ended_there, "it ended before it came there");
    Ok("ended there, and started again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_point_comes_up_and_a_replay_is_recoverys() {
        let mut rng = Rng::with_seed(1);
        let mut point = |profile| choose(profile, &mut rng).0;
        let all: BTreeSet<String> = (0..2000)
            .filter_map(|_| Some(point(Profile::Mixed).split_once(' ')?.1.to_owned()))
            .collect();
        assert_eq!(all.len(), POINTS.len(), "{all:?}");
        assert!((0..100).all(|_| point(Profile::Replay).starts_with("recovery-1 ")));
    }
}
