//! Policies at work: find candidates, try them on today's checks, replay what would pass, stop when it fails again.

use super::metrics as names;
use super::{
    Candidate, MAX_CANDIDATES, Policies, Policy, Standing, choose, fingerprint, must_stop, next_try,
};
use crate::audit_log::{self, Entry};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DeadLetterState, JobState, Prediction, Selection, Time};
use crate::replay::approval::IS_EDITED;
use crate::replay::{dry_run, jobs};
use runtime::health::Health;
use std::collections::HashSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often replays of policies are watched; new work is looked for only every [`Policies::every`].
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Longest evaluation: an idle transaction, which holds the lock, ends after a minute.
const TIMEOUT: Duration = Duration::from_secs(50);
/// Dead letters tried on today's checks at once.
const PAGE: usize = 100;

/// Evaluates once at the start, since a start is what a deploy ends with, then every so often, until `shutdown`.
pub async fn run(
    context: Context,
    policies: Policies,
    health: Health,
    shutdown: CancellationToken,
) {
    let mut tick = tokio::time::interval(WATCH_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut evaluate_at = tokio::time::Instant::now();
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        if !health.is_ready() {
            continue;
        }
        let due = tokio::time::Instant::now() >= evaluate_at;
        for policy in &policies.policy {
            let attend = tokio::time::timeout(TIMEOUT, attend(&context, policy, due));
            let Some(done) = shutdown.run_until_cancelled(attend).await else {
                return;
            };
            let slow = |_| {
                Err(RecoveryError::Unavailable(format!(
                    "the evaluation is not done within {} s",
                    TIMEOUT.as_secs()
                )))
            };
            if let Err(error) = done.unwrap_or_else(slow) {
                tracing::warn!(event = "policy_evaluation_failed", policy = policy.name, %error);
            }
        }
        if due {
            evaluate_at = tokio::time::Instant::now() + policies.every;
        }
    }
}

/// Watches a policy's replay and, when it is due, looks for more to do. One instance at a time.
async fn attend(context: &Context, policy: &Policy, due: bool) -> Result<(), RecoveryError> {
    // Only the lock is this transaction's: what is decided is written at once, so that a crash in the middle has decided it.
    let mut lock = context.pool.begin().await?;
    let mine: bool = sqlx::query_scalar(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('eventflow policy ' || $1, 0))",
    )
    .bind(&policy.name)
    .fetch_one(&mut *lock)
    .await?;
    if !mine {
        return Ok(());
    }
    let fingerprint = fingerprint(policy, &context.contracts);
    let standing = standing(context, policy, &fingerprint).await?;
    if due && !standing.busy {
        evaluate(context, policy, &fingerprint, &standing).await?;
    }
    Ok(lock.rollback().await?)
}

/// Where a policy stands; a replay of it that fails too often is stopped here, and the policy with it.
async fn standing(
    context: &Context,
    policy: &Policy,
    fingerprint: &str,
) -> Result<Standing, RecoveryError> {
    sqlx::query(
        "INSERT INTO policies AS known (name, fingerprint) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET fingerprint = $2, stopped_at = NULL, stopped_reason = NULL, looked_at = clock_timestamp()
         WHERE known.fingerprint <> $2",
    )
    .bind(&policy.name)
    .bind(fingerprint)
    .execute(&context.pool)
    .await?;
    let stopped: bool =
        sqlx::query_scalar("SELECT stopped_at IS NOT NULL FROM policies WHERE name = $1")
            .bind(&policy.name)
            .fetch_one(&context.pool)
            .await?;
    let mut stopped_with = stopped.then(|| fingerprint.to_owned());
    // `looked_at` is when the fingerprint changed last.
    let last: Option<(String, JobState, bool, i64)> = sqlx::query_as(
        "SELECT j.id, j.state, j.created_at >= p.looked_at, (SELECT count(*) FROM replay_items i WHERE i.job_id = j.id AND i.state = 'failed')
         FROM replay_jobs j JOIN policies p ON p.name = j.policy WHERE j.policy = $1 ORDER BY j.created_at DESC LIMIT 1",
    )
    .bind(&policy.name)
    .fetch_optional(&context.pool)
    .await?;
    let mut busy = false;
    if let Some((job, state, since_change, failed)) = last {
        let ended = match state {
            JobState::Finished | JobState::Stopped => true,
            JobState::Planned | JobState::Running | JobState::Paused => false,
        };
        // A replay that was over before the change says nothing of what is now, however long after it this is asked.
        let counts = since_change || !ended;
        if counts
            && stopped_with.is_none()
            && must_stop(policy, usize::try_from(failed).unwrap_or(usize::MAX))
        {
            if !ended {
                jobs::stop(context, &who(policy), &job).await?;
            }
            let reason = format!(
                "{failed} of replay {job} failed again; it goes on after a change of contracts, version or policy"
            );
            stop_policy(context, policy, &job, &reason).await?;
            stopped_with = Some(fingerprint.to_owned());
        }
        busy = !ended;
        // Planned and not applied: a role that ended in between, or one that waits for approval.
        if state == JobState::Planned && stopped_with.is_none() {
            apply_own(context, policy, &job).await?;
        }
    }
    ::metrics::gauge!(names::STOPPED, "policy" => policy.name.clone())
        .set(f64::from(u8::from(stopped_with.is_some())));
    let spent: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM replay_items i JOIN replay_jobs j ON j.id = i.job_id
         WHERE j.policy = $1 AND j.created_at > now() - interval '1 day'
           AND (i.sent_at > now() - interval '1 hour'
                OR j.finished_at IS NULL AND (i.state = 'sending' OR i.state = 'pending' AND j.state <> 'stopped'))",
    )
    .bind(&policy.name)
    .fetch_one(&context.pool)
    .await?;
    Ok(Standing {
        stopped_with,
        busy,
        spent: usize::try_from(spent).unwrap_or(usize::MAX),
    })
}

async fn stop_policy(
    context: &Context,
    policy: &Policy,
    job: &str,
    reason: &str,
) -> Result<(), RecoveryError> {
    tracing::warn!(event = "policy_stopped", policy = policy.name, reason);
    let mut transaction = context.pool.begin().await?;
    sqlx::query(
        "UPDATE policies SET stopped_at = clock_timestamp(), stopped_reason = $2 WHERE name = $1",
    )
    .bind(&policy.name)
    .bind(reason)
    .execute(&mut *transaction)
    .await?;
    let entry = Entry {
        who: &who(policy),
        action: "policy.stop",
        job: Some(job),
        reason,
        ..Entry::default()
    };
    audit_log::write(&mut transaction, entry).await?;
    Ok(transaction.commit().await?)
}

async fn evaluate(
    context: &Context,
    policy: &Policy,
    fingerprint: &str,
    standing: &Standing,
) -> Result<(), RecoveryError> {
    let candidates = candidates(context, policy, fingerprint).await?;
    let now = Time::from(runtime::clock::now());
    let chosen = choose(
        policy,
        fingerprint,
        standing,
        &candidates,
        context.args.max_replays,
        now,
    );
    if chosen.is_empty() {
        return Ok(());
    }
    let (mut passing, mut failing) = (Vec::new(), Vec::new());
    for page in chosen.chunks(PAGE) {
        let ids: Vec<i64> = page.iter().map(|candidate| candidate.id).collect();
        let outcomes = dry_run::outcomes(context, &ids).await?;
        let would_pass: HashSet<i64> = outcomes
            .into_iter()
            .filter(|outcome| outcome.would != Prediction::Fail)
            .map(|outcome| outcome.letter)
            .collect();
        for candidate in page {
            if would_pass.contains(&candidate.id) {
                &mut passing
            } else {
                &mut failing
            }
            .push(*candidate);
        }
    }
    count(policy, "would_fail", failing.len());
    count(policy, "replayed", passing.len());
    let mut transaction = context.pool.begin().await?;
    let ids = |candidates: &[&Candidate]| {
        candidates
            .iter()
            .map(|candidate| candidate.id)
            .collect::<Vec<_>>()
    };
    sqlx::query(
        "INSERT INTO policy_tries (dead_letter_id, failed_with) SELECT id, $2 FROM UNNEST($1::bigint[]) AS new (id)
         ON CONFLICT (dead_letter_id) DO UPDATE SET failed_with = $2",
    )
    .bind(ids(&failing))
    .bind(fingerprint)
    .execute(&mut *transaction)
    .await?;
    // Counted before anything is sent.
    sqlx::query(
        "INSERT INTO policy_tries (dead_letter_id, tries, next_try_at)
         SELECT id, 1, next_try_at FROM UNNEST($1::bigint[], $2::timestamptz[]) AS new (id, next_try_at)
         ON CONFLICT (dead_letter_id) DO UPDATE SET tries = policy_tries.tries + 1, next_try_at = EXCLUDED.next_try_at",
    )
    .bind(ids(&passing))
    .bind(passing.iter().map(|candidate| next_try(policy, candidate.tries, now)).collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    let counts = serde_json::json!({"looked_at": candidates.len(), "would_pass": passing.len(), "would_fail": failing.len()});
    let entry = Entry {
        who: &who(policy),
        action: "policy.look",
        counts,
        ..Entry::default()
    };
    audit_log::write(&mut transaction, entry).await?;
    transaction.commit().await?;
    if passing.is_empty() {
        return Ok(());
    }
    let selection = Selection {
        id: ids(&passing),
        state: vec![DeadLetterState::Open],
        ..Selection::default()
    };
    let reason = format!("policy {}: would pass today's checks", policy.name);
    let key = format!(
        "{} {} {}",
        who(policy),
        now.unix_timestamp_nanos(),
        ids(&passing)[0]
    );
    let job = jobs::plan(
        context,
        &who(policy),
        &selection,
        &reason,
        &key,
        Some(&policy.name),
    )
    .await?;
    apply_own(context, policy, &job.id).await
}

/// Starts a replay of a policy; the same again changes nothing.
async fn apply_own(context: &Context, policy: &Policy, job: &str) -> Result<(), RecoveryError> {
    match jobs::apply(context, &who(policy), job, Some(policy.rate), true).await {
        // It waits for a person, as anybody's would.
        Err(RecoveryError::NeedsApproval(why)) => {
            tracing::debug!(event = "policy_waits", policy = policy.name, job, why);
        }
        other => drop(other?),
    }
    Ok(())
}

/// Open dead letters the policy's codes and sources fit and nothing rules out for good, the oldest first. What a person has edited is
/// that person's, and what was accepted without proof is never a policy's.
async fn candidates(
    context: &Context,
    policy: &Policy,
    fingerprint: &str,
) -> Result<Vec<Candidate>, RecoveryError> {
    let query = format!(
        "SELECT d.id, d.last_failed_at, d.replay_count, coalesce(t.tries, 0) AS tries, t.next_try_at, t.failed_with
         FROM groups g
         CROSS JOIN LATERAL (
             SELECT d.id, d.last_failed_at, d.replay_count FROM dead_letters d
             WHERE d.group_id = g.id AND d.state = 'open' AND NOT {IS_EDITED} AND d.last_failed_at >= $6
               AND d.consumer_group = ANY($7) AND d.replay_count < $8
               AND of_raw_topic(d.origin_topic, $9) AND d.origin_group = '' AND d.unproven IS NULL
               AND NOT EXISTS (SELECT FROM policy_tries t WHERE t.dead_letter_id = d.id
                               AND (t.failed_with = $3 OR t.tries >= $4 OR t.next_try_at > now()))
             ORDER BY d.id LIMIT $5) d
         LEFT JOIN policy_tries t ON t.dead_letter_id = d.id
         WHERE g.code = ANY($1) AND (cardinality($2::text[]) = 0 OR g.source = ANY($2))
         ORDER BY d.id LIMIT $5"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(&policy.codes)
        .bind(&policy.sources)
        .bind(fingerprint)
        .bind(i32::try_from(policy.max_tries).unwrap_or(i32::MAX))
        .bind(i64::try_from(MAX_CANDIDATES).unwrap_or(i64::MAX))
        .bind(Time::from(runtime::clock::now()) - policy.oldest)
        .bind(
            context
                .pipeline
                .replayable()
                .map(|(stage, _)| &*stage.group)
                .collect::<Vec<_>>(),
        )
        .bind(i32::try_from(context.args.max_replays).unwrap_or(i32::MAX))
        .bind(&context.pipeline.raw)
        .fetch_all(&context.pool)
        .await?)
}

fn count(policy: &Policy, decision: &'static str, letters: usize) {
    ::metrics::counter!(names::DECISIONS, "policy" => policy.name.clone(), "decision" => decision)
        .increment(letters as u64);
}

fn who(policy: &Policy) -> String {
    format!("policy:{}", policy.name)
}
