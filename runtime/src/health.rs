//! Whether a role can do its job: named checks, each passing or failing with a reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The check of a role that has none of its own yet.
const START: &str = "start";

/// The checks of one role. Cheap to clone; all clones are the same checks.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<&'static str, Option<Failing>>>>,
    warnings: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// Why a check fails.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failing {
    reason: String,
    /// Part of every start, so not worth a line in the log
    is_start: bool,
}

impl Health {
    /// No checks yet: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For a role that is starting: not ready before [`started`](Self::started), when its own checks are there.
    #[must_use]
    pub fn starting() -> Self {
        let health = Self::default();
        health.starts(START, "starting");
        health
    }

    /// Fails a check until the start has come that far: without a line in the log, since every start does that.
    pub(crate) fn starts(&self, check: &'static str, reason: &str) {
        let failing = Failing {
            reason: reason.to_owned(),
            is_start: true,
        };
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.insert(check, Some(failing));
    }

    /// From here on the role's own checks decide.
    pub fn started(&self) {
        self.set(START, Ok(()));
    }

    /// Sets one check. A change is logged once, at the moment it happens.
    pub fn set(&self, check: &'static str, state: Result<(), String>) {
        let state = state.err().map(|reason| Failing {
            reason,
            is_start: false,
        });
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let before = checks.insert(check, state.clone()).flatten();
        let is_ready = checks.values().all(Option::is_none);
        drop(checks);
        match (&before, state) {
            (was, Some(now)) if was.as_ref() != Some(&now) => {
                tracing::warn!(event = "check_failing", check, reason = now.reason);
            }
            (Some(was), None) if !was.is_start => {
                tracing::info!(event = "check_recovered", check, was = was.reason);
            }
            (_, _) => {}
        }
        if before.is_some() && is_ready {
            tracing::info!(event = "ready");
        }
    }

    /// Says what somebody must put right although the role can do its job, or that it was put right. A change is logged once.
    pub fn warn(&self, check: &'static str, problem: Option<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let before = warnings.remove(check);
        if let Some(now) = &problem {
            warnings.insert(check, now.clone());
        }
        drop(warnings);
        match (before, problem) {
            (was, Some(now)) if was.as_ref() != Some(&now) => {
                tracing::warn!(event = "warning", check, reason = now);
            }
            (Some(was), None) => tracing::info!(event = "warning_over", check, was),
            (_, _) => {}
        }
    }

    /// The warnings, in name order.
    #[must_use]
    pub fn warnings(&self) -> Vec<(&'static str, String)> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings
            .iter()
            .map(|(check, reason)| (*check, reason.clone()))
            .collect()
    }

    /// True when no check fails.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .all(Option::is_none)
    }

    /// Fails a check that passes now; a reason that is there already is more specific and stays.
    pub(crate) fn fail_if_fine(&self, check: &'static str, reason: String) {
        if !self.is_failing(check) {
            self.set(check, Err(reason));
        }
    }

    /// True while this check fails.
    pub(crate) fn is_failing(&self, check: &'static str) -> bool {
        self.reason(check).is_some()
    }

    /// Why this check fails.
    pub(crate) fn reason(&self, check: &'static str) -> Option<String> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = checks.get(check)?.as_ref()?;
        Some(failing.reason.clone())
    }

    /// The failing checks with their reasons, in name order.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks
            .iter()
            .filter_map(|(check, failing)| Some((*check, failing.as_ref()?.reason.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_not_ready_before_its_own_checks_are_there() {
        let health = Health::starting();
        assert!(!health.is_ready());
        health.set("kafka", Err("down".to_owned()));
        health.started();
        assert_eq!(health.reasons(), [("kafka", "down".to_owned())]);
        health.set("kafka", Ok(()));
        assert!(health.is_ready());
    }

    #[test]
    fn a_warning_leaves_the_role_ready() {
        let health = Health::new();
        health.warn("sources", Some("line 3: bad".to_owned()));
        assert_eq!(health.warnings(), [("sources", "line 3: bad".to_owned())]);
        assert!(health.is_ready());
        health.warn("sources", None);
        assert_eq!(health.warnings(), []);
    }
}
