//! One run, and several at once.

use crate::judge::{self, Judgement};
use crate::report::Outcome;
use crate::runlog::RunLog;
use crate::schedule::Setting;
use crate::world::World;
use crate::{Cli, inject};
use anyhow::Context;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Does all of this, so many at once; `each` gets what ends, as it ends.
pub(crate) async fn run_all<T: 'static>(
    at_once: u8,
    work: Vec<impl Future<Output = T> + 'static>,
    mut each: impl FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    for one in work {
        if running.len() >= usize::from(at_once)
            && let Some(ended) = running.join_next().await
        {
            each(ended?)?;
        }
        running.spawn_local(one);
    }
    while let Some(ended) = running.join_next().await {
        each(ended?)?;
    }
    Ok(())
}

/// One run, in a folder that is kept when it fails; one that must fail, since a bug is planted, is not kept for that.
pub(crate) async fn run_seed(
    cli: Rc<Cli>,
    setting: Setting,
    planted: Option<&'static str>,
) -> anyhow::Result<Outcome> {
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
    let judgement = run_world(&setting, planted, folder.path(), &log).await;
    if let Err(error) = &judgement {
        log.note(&format!("FAILED: {error:#}"));
    }
    let mut outcome = Outcome::new(&cli.build, setting, &log, judgement, started.elapsed());
    outcome.planted = planted.map(str::to_owned);
    if cli.keep || planted.is_none() && !outcome.is_ok() {
        outcome.kept = Some(folder.keep());
    }
    Ok(outcome)
}

async fn run_world(
    setting: &Setting,
    planted: Option<&str>,
    folder: &Path,
    log: &RunLog,
) -> anyhow::Result<Judgement> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Duration;
    use tokio::sync::Barrier;

    #[tokio::test]
    async fn so_many_run_at_once_and_no_more() {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let both = Rc::new(Barrier::new(2));
        let one = |_| {
            let (now, most, both) = (Rc::clone(&now), Rc::clone(&most), Rc::clone(&both));
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                both.wait().await;
                now.set(now.get() - 1);
            }
        };
        let work: Vec<_> = (0..4).map(one).collect();
        let mut ended = 0;
        let count = |()| {
            ended += 1;
            Ok(())
        };
        let local = tokio::task::LocalSet::new();
        let all = local.run_until(run_all(2, work, count));
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        all.unwrap().unwrap();
        assert_eq!((ended, most.get()), (4, 2));
    }
}
