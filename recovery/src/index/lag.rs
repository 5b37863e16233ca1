//! How far the index is behind the dead-letter topic. The brokers are asked beside the API, which answers with what is known and its age.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::kafka;
use crate::now;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two measurements.
const EVERY: Duration = Duration::from_secs(5);
/// Something older says nothing of now.
const OLDEST: Duration = Duration::from_secs(60);

/// Measures it, again and again, until `shutdown`. One question at a time: brokers that do not answer are not asked by more and more threads.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        match shutdown.run_until_cancelled(measure(&context)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(event = "index_lag_not_measured", %error),
            None => return,
        }
    }
}

/// Measures it once.
///
/// # Errors
/// [`RecoveryError::Unavailable`]; what was known stays.
pub async fn measure(context: &Context) -> Result<(), RecoveryError> {
    let began = Instant::now();
    let next: Vec<(i32, i64)> = sqlx::query_as(
        "SELECT partition, max(next_offset) FROM consumer_offsets WHERE topic = $1 GROUP BY partition",
    )
    .bind(&context.pipeline.dead_letters)
    .fetch_all(&context.pool)
    .await?;
    let next: BTreeMap<i32, i64> = next.into_iter().collect();
    let topic = context.pipeline.dead_letters.clone();
    let behind = kafka::query(context, move |kafka| {
        let mut behind = 0;
        for (partition, low, high) in runtime::admin::watermarks(kafka, &topic)? {
            let next = next.get(&partition).copied().unwrap_or(low).max(low);
            // The marker that ends a transaction takes an offset, and is no record.
            if next < high
                && !runtime::admin::read_range(kafka, &topic, partition, next..high, 1)?
                    .0
                    .is_empty()
            {
                behind += high - next;
            }
        }
        Ok(behind)
    })
    .await?;
    // As old as its question: what was dead-lettered since may be missing.
    context.observed.lock().index_lag = Some((behind, began));
    Ok(())
}

/// What is known, and how many seconds ago it was measured.
pub(crate) fn known(state: &now::State) -> Option<(i64, f64)> {
    let (behind, measured) = state.index_lag?;
    let age = measured.elapsed();
    (age <= OLDEST).then_some((behind, age.as_secs_f64()))
}
