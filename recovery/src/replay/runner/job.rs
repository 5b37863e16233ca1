//! One job, turn by turn, for as long as it has something to send.

use super::claim::{self, Claim};
use super::rate::{Due, RateLimit};
use super::send::{self, Published};
use super::{ClaimContext, Runner, metrics as names};
use crate::error::RecoveryError;
use crate::model::JobKind;
use crate::replay::jobs::within;
use crate::replay::revalidation;
use sqlx::{Connection, FromRow, PgConnection};
use std::time::Duration;
use tokio::time::Instant;

/// What goes on after a turn.
enum Next {
    Again,
    After(Duration),
    Done,
}

/// The job as it is now.
#[derive(FromRow)]
struct JobProgress {
    kind: JobKind,
    running: bool,
    /// Records a second
    rate: f64,
    /// Has items that were claimed and are not known to be sent
    sending: bool,
    /// Has items that were not claimed yet
    pending: bool,
    /// The last chunk was claimed by another instance
    claimed_by_another: bool,
    /// Seconds since that claim
    claim_age: f64,
}

impl JobProgress {
    /// How much longer the records of the last chunk may be on their way.
    fn unsettled_for(&self, grace: Duration) -> Duration {
        if !self.claimed_by_another {
            return Duration::ZERO;
        }
        let age = Duration::try_from_secs_f64(self.claim_age).unwrap_or_default();
        grace.saturating_sub(age)
    }
}

pub(super) async fn run(context: &Runner, job: &str) {
    let mut connection = match within(lock(context, job)).await {
        Ok(Some(connection)) => connection,
        // Another instance has it.
        Ok(None) => return,
        Err(error) => return wait(context, job, &error).await,
    };
    let mut limit = RateLimit::new(Instant::now());
    let mut groups = None;
    while !context.shutdown.is_cancelled() {
        match turn(context, job, &mut connection, &mut limit, &mut groups).await {
            Ok(Next::Again) => {}
            Ok(Next::After(pause)) => {
                context
                    .shutdown
                    .run_until_cancelled(tokio::time::sleep(pause.min(context.settings.poll)))
                    .await;
            }
            Ok(Next::Done) => break,
            Err(error) => {
                // The connection may be broken, and the lock with it.
                drop(connection);
                return wait(context, job, &error).await;
            }
        }
    }
    // The server frees the lock with the connection.
    if let Err(error) = within(async { Ok(connection.close().await?) }).await {
        tracing::debug!(event = "replay_connection_close", job, %error);
    }
}

/// A connection of its own that holds the job's lock; none while another instance has it. A crash frees it, a dead machine within half a minute.
async fn lock(context: &Runner, job: &str) -> Result<Option<PgConnection>, RecoveryError> {
    let options = context
        .recovery
        .pool
        .connect_options()
        .as_ref()
        .clone()
        .options([
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ]);
    let mut connection = PgConnection::connect_with(&options).await?;
    let locked: bool = sqlx::query_scalar(
        "SELECT pg_try_advisory_lock(hashtext('eventflow.replay'), hashtext($1))",
    )
    .bind(job)
    .fetch_one(&mut connection)
    .await?;
    Ok(locked.then_some(connection))
}

/// Writes into the job why it waits, if PostgreSQL can be reached, and waits until the next try.
async fn wait(context: &Runner, job: &str, error: &RecoveryError) {
    metrics::counter!(names::WAITS, "code" => error.code()).increment(1);
    tracing::warn!(event = "replay_waits", job, code = error.code(), %error);
    let written = within(async {
        let mut connection = context.recovery.pool.acquire().await?;
        block(&mut connection, job, &error.to_string()).await
    });
    if let Err(error) = written.await {
        tracing::debug!(event = "replay_block_unsaid", job, %error);
    }
    context
        .shutdown
        .run_until_cancelled(tokio::time::sleep(context.settings.recheck))
        .await;
}

pub(super) async fn block(
    connection: &mut PgConnection,
    job: &str,
    reason: &str,
) -> Result<(), RecoveryError> {
    sqlx::query("UPDATE replay_jobs SET blocked = $2 WHERE id = $1 AND state = 'running' AND blocked IS DISTINCT FROM $2")
        .bind(job)
        .bind(crate::audit_log::clean(reason))
        .execute(connection)
        .await?;
    Ok(())
}

/// `groups`: those that items go to, once asked: a million items are looked through for it, and what is pending only gets less.
async fn turn(
    context: &Runner,
    job: &str,
    connection: &mut PgConnection,
    limit: &mut RateLimit,
    groups: &mut Option<Vec<String>>,
) -> Result<Next, RecoveryError> {
    let now = within(progress(context, job, connection)).await?;
    if now.sending {
        let unsettled_for = now.unsettled_for(context.settings.grace);
        if !unsettled_for.is_zero() {
            return Ok(Next::After(unsettled_for));
        }
        send::find_sent(connection, &context.destinations.kafka, job).await?;
        return Ok(Next::Again);
    }
    if !now.running || !now.pending {
        return Ok(Next::Done);
    }
    let records = match limit.due(now.rate, Instant::now()) {
        Due::Records(records) => records,
        Due::In(pause) => return Ok(Next::After(pause)),
    };
    let groups = match groups {
        Some(groups) => groups,
        None => groups.insert(match now.kind {
            JobKind::Replay => within(groups_of(context, job, connection)).await?,
            JobKind::Revalidation => {
                let first = revalidation::destination(&context.recovery.pipeline);
                first
                    .map(|(stage, _)| stage.group.clone())
                    .into_iter()
                    .collect()
            }
        }),
    };
    let ends = match context.destinations.open(groups).await {
        Ok(ends) => ends,
        Err(reason) => {
            metrics::counter!(names::WAITS, "code" => "destination_unusable").increment(1);
            within(block(connection, job, &reason)).await?;
            // Looked at again, also for a pause or a stop, which leave the turn.
            context
                .shutdown
                .run_until_cancelled(tokio::time::sleep(context.settings.recheck))
                .await;
            return Ok(Next::Again);
        }
    };
    let holder = ClaimContext {
        job,
        instance: &context.instance,
        pipeline: &context.recovery.pipeline,
        args: &context.recovery.args,
    };
    let started = Instant::now();
    let claimed = match now.kind {
        JobKind::Replay => within(claim::claim(connection, &holder, records, &ends)).await?,
        JobKind::Revalidation => match within(claim::closed(connection, &holder)).await? {
            Some(closed) => closed,
            None => {
                let decided = revalidation::decide_next(&context.recovery, job, records).await?;
                within(claim::claim_decided(connection, &holder, decided, &ends)).await?
            }
        },
    };
    let chunk = match claimed {
        Claim::Chunk(chunk) => chunk,
        Claim::Over => return Ok(Next::Done),
        Claim::NeedsApproval(why) => {
            metrics::counter!(names::WAITS, "code" => "needs_approval").increment(1);
            let reason = format!(
                "needs the approval of a second person, since {why}: eventflow replay approve {job}"
            );
            within(block(connection, job, &reason)).await?;
            context
                .shutdown
                .run_until_cancelled(tokio::time::sleep(context.settings.recheck))
                .await;
            return Ok(Next::Again);
        }
    };
    if chunk.is_empty() {
        return Ok(Next::Again);
    }
    limit.take(chunk.len());
    let published: Published = send::publish(&context.publisher, job, &chunk).await;
    within(send::mark(connection, job, &published)).await?;
    metrics::histogram!(names::CHUNK_SECONDS).record(started.elapsed());
    let Some(problem) = published.problem else {
        return Ok(Next::Again);
    };
    metrics::counter!(names::WAITS, "code" => problem.code()).increment(1);
    within(block(
        connection,
        job,
        &format!("the broker has not acknowledged every record; retrying: {problem}"),
    ))
    .await?;
    context
        .shutdown
        .run_until_cancelled(tokio::time::sleep(context.settings.recheck))
        .await;
    Ok(Next::Again)
}

async fn progress(
    context: &Runner,
    job: &str,
    connection: &mut PgConnection,
) -> Result<JobProgress, RecoveryError> {
    let progress = sqlx::query_as(
        "SELECT kind, state = 'running' AS running, rate,
                EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state = 'sending') AS sending,
                EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state = 'pending') AS pending,
                claimed_by IS DISTINCT FROM $2 AS claimed_by_another,
                coalesce(extract(epoch FROM clock_timestamp() - claimed_at), 0)::double precision AS claim_age
         FROM replay_jobs j WHERE id = $1",
    );
    Ok(progress
        .bind(job)
        .bind(&context.instance)
        .fetch_one(connection)
        .await?)
}

/// Those of our groups that pending items go to.
async fn groups_of(
    context: &Runner,
    job: &str,
    connection: &mut PgConnection,
) -> Result<Vec<String>, RecoveryError> {
    let pipeline = &context.recovery.pipeline;
    let groups: Vec<&str> = pipeline
        .replayable()
        .map(|(stage, _)| stage.group.as_str())
        .collect();
    let wanted = sqlx::query_scalar(
        "SELECT g FROM UNNEST($2::text[]) g
         WHERE EXISTS (SELECT FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id
                       WHERE i.job_id = $1 AND i.state = 'pending' AND d.consumer_group = g)",
    );
    Ok(wanted.bind(job).bind(groups).fetch_all(connection).await?)
}
