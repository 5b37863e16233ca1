//! Makes a fault happen, for as long as it lasts, and undoes it.

use crate::cluster::{BETWEEN, Broker};
use crate::kill_point;
use crate::oncall;
use crate::process::until;
use crate::profile::Kind;
use crate::schedule::{Fault, Step};
use crate::topics;
use crate::world::World;
use anyhow::Context;
use sandbox::proxy::Link;
use std::time::Duration;
use tokio::time::sleep;

/// Longest orderly end of a role.
const DRAIN: Duration = Duration::from_secs(30);
/// How wrong the clock of a role is, in seconds.
const CLOCK: &str = "EVENTFLOW_CLOCK_OFFSET_SECONDS";

/// One fault from its beginning to its end, noted in the log.
pub(crate) async fn inject(world: &World, step: &Step) {
    let Step { lasts, fault, .. } = step;
    world
        .log
        .note(&format!("{fault} begins, for {:.1} s", lasts.as_secs_f64()));
    match act(world, fault, *lasts).await {
        Ok(done) => {
            world.log.count_fault(fault.kind.name());
            world.log.note(&format!("{fault} is over: {done}"));
        }
        Err(error) => {
            world.log.count_skipped();
            world
                .log
                .note(&format!("{fault} was not made whole: {error:#}"));
        }
    }
}

async fn act(world: &World, fault: &Fault, lasts: Duration) -> anyhow::Result<String> {
    let database = &world.database;
    let target = fault.target.as_str();
    match fault.kind {
        Kind::Kill | Kind::KillDuringReplay => {
            let process = world.member(target)?;
            process.lock().await.kill()?;
            process.lock().await.start(&[])?;
            done("killed, and started again")
        }
        Kind::Pause => {
            world.member(target)?.lock().await.signal("STOP")?;
            sleep(lasts).await;
            world.member(target)?.lock().await.signal("CONT")?;
            done("goes on")
        }
        Kind::KilledAt => kill_point::kill_at(world, target, fault.amount).await,
        Kind::ClockWrong => {
            let wrong = (CLOCK.to_owned(), fault.amount.to_string());
            let process = world.member(target)?;
            process.lock().await.restart(DRAIN, &[wrong]).await?;
            sleep(lasts).await;
            process.lock().await.restart(DRAIN, &[]).await?;
            done("has the right time again")
        }
        Kind::RollingRestart => {
            for process in world.members_of(target) {
                process.lock().await.restart(DRAIN, &[]).await?;
            }
            done("restarted one after the other")
        }
        Kind::RebalanceStorm => rebalance_storm(world, target, lasts).await,
        Kind::BrokerKilled | Kind::BrokerRestarted => {
            let broker = world.cluster.broker(target)?;
            Broker::stop(&broker, fault.kind == Kind::BrokerKilled).await?;
            sleep(lasts).await;
            Broker::start(&broker).await?;
            done("started again")
        }
        Kind::BrokerPaused => {
            let broker = world.cluster.broker(target)?;
            Broker::pause(&broker).await?;
            sleep(lasts).await;
            Broker::start(&broker).await?;
            done("goes on")
        }
        Kind::LeadersMoved => move_leaders(world, lasts).await,
        Kind::TooFewInSync => {
            let two = [
                world.cluster.broker("broker-2")?,
                world.cluster.broker("broker-3")?,
            ];
            for broker in &two {
                Broker::stop(broker, true).await?;
            }
            sleep(lasts).await;
            for broker in &two {
                Broker::start(broker).await?;
            }
            done("two of three were down")
        }
        Kind::LaggingLeaderKilled => kill_lagging_leader(world, fault, lasts).await,
        Kind::DeadLettersRefused => topics::refuse_dead_letters(world, lasts).await,
        Kind::DatabaseKilled => {
            database.kill().await?;
            sleep(lasts).await;
            database.resume().await?;
            done("started again")
        }
        Kind::DatabaseStopped => {
            database.stop().await?;
            sleep(lasts).await;
            database.resume().await?;
            done("started again")
        }
        Kind::DatabasePaused => {
            database.pause().await?;
            sleep(lasts).await;
            database.resume().await?;
            done("goes on")
        }
        Kind::FailOver => {
            database.fail_over(lasts / 2).await?;
            done("the standby is the primary")
        }
        Kind::SessionsCut => {
            let cut = database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await?;
            Ok(format!("{cut} sessions"))
        }
        Kind::Serializable => serializable(world, lasts).await,
        Kind::RowsLocked => {
            let mut connection = database.connect().await?;
            let lock = "BEGIN; LOCK TABLE persistence.consumer_offsets, recovery.dead_letters IN ACCESS EXCLUSIVE MODE";
            tokio::time::timeout(DRAIN, sqlx::raw_sql(lock).execute(&mut connection)).await??;
            sleep(lasts).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
            done("unlocked")
        }
        Kind::Deadlock => deadlock(world, lasts).await,
        Kind::SlowDisk => {
            let delay = Duration::from_millis(u64::try_from(fault.amount)?);
            database.slow_disk(delay, lasts).await?;
            done("as fast as before")
        }
        Kind::FullDisk => {
            let disk = database
                .disk()
                .context("only root may mount a small disk")?;
            disk.fill()?;
            sleep(lasts).await;
            disk.free()?;
            done("has space again")
        }
        Kind::Slow => {
            let delay = Duration::from_millis(u64::try_from(fault.amount)?);
            network(world, target, Link::Open(delay), lasts).await
        }
        Kind::Silent => network(world, target, Link::Silent, lasts).await,
        Kind::Cut => network(world, target, Link::Cut, lasts).await,
        Kind::DatabaseSlow | Kind::DatabaseSilent | Kind::DatabaseCut => {
            let delay = Duration::from_millis(u64::try_from(fault.amount)?);
            database.set(
                target,
                match fault.kind {
                    Kind::DatabaseSilent => Link::Silent,
                    Kind::DatabaseCut => Link::Cut,
                    _ => Link::Open(delay),
                },
            );
            sleep(lasts).await;
            database.set(target, Link::Open(Duration::ZERO));
            done("as before")
        }
        Kind::Grow => topics::grow(world, target).await,
        Kind::OffsetsDropped => topics::drop_offsets(world, target).await,
        Kind::TopicRecreated => topics::recreate(world, target).await,
        Kind::RawTopicRecreated => topics::recreate_raw(world).await,
        Kind::EditAndReplay => oncall::edit_and_replay(world).await,
        Kind::ReplayAsItIs => oncall::replay_as_it_is(world).await,
        Kind::ReplayTwice => oncall::replay_twice(world).await,
        Kind::PauseAndResume => oncall::pause_and_resume(world, lasts).await,
        Kind::StopReplay => oncall::stop(world).await,
        Kind::Discard => oncall::discard(world).await,
        Kind::Revalidate => oncall::revalidate(world).await,
    }
}

fn done(what: &str) -> anyhow::Result<String> {
    Ok(what.to_owned())
}

/// A further member comes and goes, in order or not.
async fn rebalance_storm(world: &World, role: &str, lasts: Duration) -> anyhow::Result<String> {
    let mut further = world.further(role).await?;
    for number in 0..4 {
        further.start(&[])?;
        sleep(lasts / 4 + Duration::from_millis(500)).await;
        if number % 2 == 0 {
            further.terminate(DRAIN).await?;
        } else {
            further.kill()?;
        }
    }
    done("came and went four times")
}

/// The network of a way, to all brokers or to one: `validator`, `validator to broker-1`.
async fn network(
    world: &World,
    target: &str,
    link: Link,
    lasts: Duration,
) -> anyhow::Result<String> {
    let (way, broker) = match target.split_once(" to broker-") {
        Some((way, broker)) => (way, Some(broker.parse()?)),
        None => (target, None),
    };
    world.cluster.set(way, broker, link);
    sleep(lasts).await;
    world.cluster.set(way, broker, Link::Open(Duration::ZERO));
    done("as before")
}

/// The leader of each partition becomes another one: brokers with many partitions lead none for a while.
async fn move_leaders(world: &World, lasts: Duration) -> anyhow::Result<String> {
    let broker = world.cluster.broker("broker-1")?;
    // An orderly stop hands over what it leads; after its start the preferred leaders are elected again.
    Broker::stop(&broker, false).await?;
    sleep(lasts).await;
    Broker::start(&broker).await?;
    let election = ["--election-type", "preferred", "--all-topic-partitions"];
    world
        .cluster
        .tool("org.apache.kafka.tools.LeaderElectionCommand", &election)
        .await?;
    done("away and back")
}

/// A leader is killed while the others lag behind it: what they lack must not have been acknowledged.
async fn kill_lagging_leader(
    world: &World,
    fault: &Fault,
    lasts: Duration,
) -> anyhow::Result<String> {
    let delay = Duration::from_millis(u64::try_from(fault.amount)?);
    let broker = world.cluster.broker(&fault.target)?;
    world.cluster.set(BETWEEN, None, Link::Open(delay));
    sleep(4 * delay).await;
    let killed = Broker::stop(&broker, true).await;
    world.cluster.set(BETWEEN, None, Link::Open(Duration::ZERO));
    sleep(lasts).await;
    Broker::start(&broker).await?;
    killed?;
    done("killed, and started again")
}

/// An administrator locks two tables in another order than persistence does, and each waits for the other.
async fn deadlock(world: &World, lasts: Duration) -> anyhow::Result<String> {
    let database = &world.database;
    let mut connection = database.connect().await?;
    let first = "BEGIN; LOCK TABLE persistence.signed_bodies IN SHARE MODE";
    tokio::time::timeout(DRAIN, sqlx::raw_sql(first).execute(&mut connection)).await??;
    let waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'persistence.signed_bodies'::regclass";
    let somebody_waits = async || Ok(database.run(waiting).await? > 0);
    let waited = until("a batch waits", lasts, somebody_waits).await;
    if waited.is_ok() {
        // PostgreSQL ends one of the two after a second: the batch, which waits longer, or this.
        let second = sqlx::raw_sql("LOCK TABLE persistence.events IN SHARE MODE");
        let ended = tokio::time::timeout(DRAIN, second.execute(&mut connection)).await?;
        world.log.note(&format!("the other lock: {ended:?}"));
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
    waited?;
    done("unlocked")
}

/// All transactions are serializable, so that some fail and must be done again.
async fn serializable(world: &World, lasts: Duration) -> anyhow::Result<String> {
    let database = &world.database;
    // Sessions that are open keep what they began with.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database
        .run("ALTER DATABASE eventflow SET default_transaction_isolation = 'serializable'")
        .await?;
    database.run(cut).await?;
    sleep(lasts).await;
    database
        .run("ALTER DATABASE eventflow RESET default_transaction_isolation")
        .await?;
    database.run(cut).await?;
    done("as before")
}
