//! Retrying what blocks a batch, until it goes on or the batch must be released.

use super::StageError;
use super::batch::Held;
use super::checks;
use super::source::Source;
use crate::backoff::Backoff;
use crate::breaker::BreakerOpen;
use crate::health::Health;
use crate::metrics as names;
use std::time::Duration;

/// Delay before the first retry.
const MIN_DELAY: Duration = Duration::from_millis(50);
/// Longest delay between retries.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// What a batch in hand is blocked by.
pub(super) enum Blocked {
    Stage(StageError),
    Breaker(BreakerOpen),
}

impl From<StageError> for Blocked {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

impl From<BreakerOpen> for Blocked {
    fn from(open: BreakerOpen) -> Self {
        Self::Breaker(open)
    }
}

/// Why a batch was not settled.
pub(super) enum Interrupted {
    /// The partitions changed or the stage is ending: nothing of the batch may be committed, it is read again
    Released,
    /// The stage must end
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Interrupted {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StageError> for Interrupted {
    fn from(error: StageError) -> Self {
        Self::Failed(error.into())
    }
}

/// Reports in `/ready` what blocks the stage.
pub(super) struct Waiting {
    stage: &'static str,
    health: Health,
}

impl Waiting {
    pub(super) fn new(stage: &'static str, health: Health) -> Self {
        Self { stage, health }
    }

    /// Calls `attempt` with 1, 2, 3... until it succeeds. In between the source waits, longer each time.
    pub(super) fn until_ok<T>(
        &self,
        source: &mut Source<'_>,
        held: Held,
        mut attempt: impl FnMut(u32) -> Result<T, Blocked>,
    ) -> Result<T, Interrupted> {
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        let mut number = 1;
        loop {
            match attempt(number) {
                Ok(value) => return Ok(value),
                Err(Blocked::Stage(error)) if error.must_stop() => return Err(error.into()),
                Err(Blocked::Stage(error)) => {
                    self.health.set(checks::DEPENDENCY, Err(error.to_string()));
                    metrics::counter!(names::WAITS, "stage" => self.stage, "code" => error.code())
                        .increment(1);
                }
                // Evaluated again after each wait: a deploy of the schema registry can change the outcomes.
                Err(Blocked::Breaker(open)) => {
                    self.health.set(checks::BREAKER, Err(open.to_string()));
                    metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(1.0);
                }
            }
            let report_lag = || held.report_lag(self.stage);
            if !source.wait(backoff.next_delay(), held, report_lag)? {
                return Err(Interrupted::Released);
            }
            number += 1;
        }
    }

    /// Nothing blocks the stage any more.
    pub(super) fn clear(&self) {
        for check in [checks::DEPENDENCY, checks::BREAKER] {
            self.health.set(check, Ok(()));
        }
        metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(0.0);
    }
}
