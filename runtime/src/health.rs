//! Whether a role can do its job: named checks, each passing or failing with a reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The check of a role that has none of its own yet.
const START: &str = "start";

/// The checks of one role. Cheap to clone; all clones are the same checks.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
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
        let checks = BTreeMap::from([(START, Some("starting".to_owned()))]);
        Self {
            checks: Arc::new(Mutex::new(checks)),
        }
    }

    /// From here on the role's own checks decide.
    pub fn started(&self) {
        self.set(START, Ok(()));
    }

    /// Sets one check. A change is logged once, at the moment it happens.
    pub fn set(&self, check: &'static str, state: Result<(), String>) {
        let state = state.err();
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let before = checks.insert(check, state.clone());
        drop(checks);
        match (before.flatten(), state) {
            (was, Some(reason)) if was.as_ref() != Some(&reason) => {
                tracing::warn!(event = "check_failing", check, reason);
            }
            (Some(was), None) => tracing::info!(event = "check_recovered", check, was),
            (_, _) => {}
        }
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
        self.checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(check)
            .is_some_and(Option::is_some)
    }

    /// The failing checks with their reasons, in name order.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks
            .iter()
            .filter_map(|(check, reason)| Some((*check, reason.clone()?)))
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
}
