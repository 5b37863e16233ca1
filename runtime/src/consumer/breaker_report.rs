//! What the breaker found, for people.

use crate::breaker::Admitted;
use crate::metrics as names;

/// Logs sources that went over their share or came back, once each, and a hold that ended by itself.
pub(super) fn report(stage: &'static str, admitted: &Admitted) {
    for changed in &admitted.changed {
        let (source, rejected, seen) = (&changed.source, changed.rejected, changed.seen);
        metrics::gauge!(names::SOURCE_OVER_RATIO, "stage" => stage, "source" => source.clone())
            .set(if changed.over.is_some() { 1.0 } else { 0.0 });
        match changed.over {
            Some(code) => tracing::warn!(
                event = "source_over_dead_letter_ratio",
                stage,
                source,
                rejected,
                seen,
                code,
                "its dead letters can be replayed"
            ),
            None if changed.is_first => {}
            None => tracing::info!(
                event = "source_under_dead_letter_ratio",
                stage,
                source,
                rejected,
                seen
            ),
        }
    }
    if admitted.released {
        metrics::counter!(names::BREAKER_RELEASES, "stage" => stage).increment(1);
        tracing::error!(
            event = "breaker_released",
            stage,
            "held as long as --breaker-hold-minutes allows; the records are dead-lettered now. Fix the contracts, then replay"
        );
    }
}
