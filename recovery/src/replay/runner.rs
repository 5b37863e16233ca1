//! Runs applied jobs: sends what is due, at the job's rate, and follows every item to its outcome.
//!
//! An item's way: `pending` → ([`claim`], one transaction) `sending` → ([`send`], acknowledged) `sent` → ([`outcome`]) `stored`, `duplicate`
//! or, as the index writes, `failed`; what was lost on its way fails too ([`lost`]). Of a chunk whose acknowledgements nobody saw, a crash say, the retry topic itself tells: what is in
//! it was sent, the rest is `pending` again. One instance at a time runs a job: it holds an advisory lock on the connection it claims with.

pub(crate) mod claim;
mod destination;
mod job;
mod lost;
pub(crate) mod metrics;
mod outcome;
mod rate;
pub(crate) mod replay_letter;
mod send;
mod stalled;

pub(crate) use destination::no_destination;

use crate::config::PipelineArgs;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::replay::jobs::within;
use contracts::pipeline::Pipeline;
use destination::DestinationProbe;
use lost::Lost;
use runtime::health::Health;
use runtime::publisher::Publisher;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Health check of the runner.
pub const CHECK: &str = "replay";
/// Replays sent at once by one instance; further ones wait their turn.
const MOST_AT_ONCE: usize = 16;
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A stop waits so long for the chunks in progress: longer than their acknowledgements.
const DRAIN: Duration = Duration::from_secs(20);

/// How the runner waits.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Between two looks at the jobs
    pub poll: Duration,
    /// Between two looks at a destination that was not usable
    pub recheck: Duration,
    /// A chunk that another instance claimed is looked for in the retry topic only after this: until then its records may be on their way
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            recheck: Duration::from_secs(1),
            grace: Duration::from_secs(20),
        }
    }
}

/// Whose work it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimContext<'a> {
    pub(crate) job: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) pipeline: &'a Pipeline,
    /// Whether and when a second person must agree
    pub(crate) args: &'a PipelineArgs,
}

/// What every running job needs.
struct Runner {
    recovery: Context,
    publisher: Publisher,
    destinations: DestinationProbe,
    instance: String,
    settings: Settings,
    shutdown: CancellationToken,
}

/// Runs jobs until `shutdown`; an outage of the broker or the database is waited for, and shows in `health` and in the jobs.
pub async fn run(
    recovery: Context,
    publisher: Publisher,
    health: Health,
    shutdown: CancellationToken,
) {
    run_with(recovery, publisher, health, shutdown, Settings::default()).await;
}

/// As [`run`], with these waits: tests take shorter ones.
pub async fn run_with(
    recovery: Context,
    publisher: Publisher,
    health: Health,
    shutdown: CancellationToken,
    settings: Settings,
) {
    let destinations = match DestinationProbe::new(&recovery) {
        Ok(destinations) => destinations,
        Err(reason) => return health.set(CHECK, Err(reason)),
    };
    let instance = format!("{:016x}", fastrand::u64(..));
    let context = Arc::new(Runner {
        recovery,
        publisher,
        destinations,
        instance,
        settings,
        shutdown: shutdown.clone(),
    });
    let (mut active, mut tasks) = (BTreeSet::new(), JoinSet::new());
    let mut following = JoinSet::new();
    let mut last_heartbeat: Option<Instant> = None;
    while !shutdown.is_cancelled() {
        if following.is_empty() {
            let context = Arc::clone(&context);
            following.spawn(async move { follow(&context).await });
        }
        let due = last_heartbeat.is_none_or(|at| at.elapsed() >= HEARTBEAT);
        match pass(&context, due).await {
            Ok(jobs) => {
                health.set(CHECK, Ok(()));
                last_heartbeat = if due {
                    Some(Instant::now())
                } else {
                    last_heartbeat
                };
                for job in jobs {
                    if active.len() < MOST_AT_ONCE && active.insert(job.clone()) {
                        let context = Arc::clone(&context);
                        tasks.spawn(async move {
                            job::run(&context, &job).await;
                            job
                        });
                    }
                }
            }
            Err(error) => health.set(CHECK, Err(format!("replays wait: {error}"))),
        }
        ::metrics::gauge!(metrics::JOBS)
            .set(f64::from(u32::try_from(active.len()).unwrap_or(u32::MAX)));
        let tick = tokio::time::sleep(settings.poll);
        tokio::select! {
            () = tick => {}
            () = shutdown.cancelled() => {}
        }
        if let Some(Err(error)) = following.try_join_next() {
            tracing::error!(event = "replay_follower_failed", %error, "restarted");
        }
        while let Some(ended) = tasks.try_join_next() {
            match ended {
                Ok(job) => drop(active.remove(&job)),
                Err(error) => {
                    // Which one is not said: all are looked at again. Their locks keep those that still run to themselves.
                    tracing::error!(event = "replay_task_failed", %error);
                    active.clear();
                }
            }
        }
    }
    // Its transactions are whole or not at all.
    drop(following);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(
            event = "replay_chunk_left",
            "not acknowledged in time; the next instance finds out what was sent"
        );
    }
}

/// Follows what was sent, beside the sending: with a million awaited a round takes seconds. It rests as long as it worked.
async fn follow(context: &Runner) {
    let mut looked = Instant::now();
    let mut lost = Lost::new(context.settings.recheck * 5);
    while !context.shutdown.is_cancelled() {
        let started = Instant::now();
        let mut followed = outcome::settle(&context.recovery).await;
        if followed.is_ok() && looked.elapsed() >= HEARTBEAT {
            looked = Instant::now();
            followed = stalled::check(context).await;
        }
        if let Err(error) = followed {
            tracing::warn!(event = "replay_outcomes_wait", code = error.code(), %error);
        }
        if let Err(error) = lost.check(&context.recovery).await {
            tracing::warn!(event = "replay_lost_unknown", code = error.code(), %error);
        }
        let rest = started.elapsed().max(context.settings.poll);
        context
            .shutdown
            .run_until_cancelled(tokio::time::sleep(rest))
            .await;
    }
}

/// One look: this instance is alive, and these jobs have something to send or to find out.
async fn pass(context: &Runner, heartbeat: bool) -> Result<Vec<String>, RecoveryError> {
    let pool = &context.recovery.pool;
    within(async {
        if heartbeat {
            sqlx::query(
                "INSERT INTO instances (instance) VALUES ($1) ON CONFLICT (instance) DO UPDATE SET seen_at = clock_timestamp()",
            )
            .bind(&context.instance)
            .execute(pool)
            .await?;
            sqlx::query("DELETE FROM instances WHERE seen_at < clock_timestamp() - interval '1 day'").execute(pool).await?;
        }
        let jobs = sqlx::query_scalar(
            "SELECT j.id FROM replay_jobs j
             WHERE j.finished_at IS NULL AND j.state IN ('running', 'paused', 'stopped')
               AND (EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state = 'sending')
                    OR j.state = 'running' AND EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state = 'pending'))
             ORDER BY j.started_at LIMIT 100",
        );
        Ok(jobs.fetch_all(pool).await?)
    })
    .await
}
