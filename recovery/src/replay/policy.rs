//! Automatic recovery: which open dead letters are tried again by themselves, how fast, and when it stops itself. Off without a file.
//!
//! After a deploy (contracts, version or policy changed) and every so often, open dead letters that a policy allows are put through
//! today's checks ([`crate::replay::dry_run`]); those that would pass become a replay of their own, like a person's.
//!
//! No loop is possible. [`choose`] is the only way to a try, and for each dead letter it grants at most `max_tries` for ever, each
//! after twice the pause of the one before, none over the stages' own limit of replays, and none while the policy is stopped; a try is
//! counted before anything is sent. The breaker of the stages does not count replays, so what fails again here opens no breaker, and a
//! stage held by its breaker holds replays too: they wait, and are neither lost nor tried again.

pub(crate) mod metrics;
mod run;

pub use run::run;

use crate::model::Time;
use contracts::RejectionCode;
use contracts::event::Catalog;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;

/// Most candidates of one evaluation.
const MAX_CANDIDATES: usize = 2_000;

/// The policy file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// Evaluate so often, as `15m`
    #[serde(default = "quarter_of_an_hour", with = "duration")]
    pub every: Duration,
    /// None: nothing is replayed by itself
    #[serde(default)]
    pub policy: Vec<Policy>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// In logs, metrics and the audit log
    pub name: String,
    /// Codes it may try again
    pub codes: Vec<String>,
    /// Sources it may try again; none: all
    #[serde(default)]
    pub sources: Vec<String>,
    /// Only what failed at least so long ago
    #[serde(default = "a_minute", with = "duration")]
    pub youngest: Duration,
    /// Only what failed at most so long ago
    #[serde(default = "a_week", with = "duration")]
    pub oldest: Duration,
    /// Records a second
    #[serde(default = "ten")]
    pub rate: f64,
    /// Replays an hour, at most
    #[serde(default = "thousand")]
    pub budget: usize,
    /// Tries of one dead letter, ever
    #[serde(default = "three")]
    pub max_tries: u32,
    /// Pause after the first try of a dead letter; doubled after each
    #[serde(default = "ten_minutes", with = "duration")]
    pub backoff: Duration,
    /// Stop when so many of a replay fail again
    #[serde(default = "five")]
    pub stop_after_failures: usize,
}

fn quarter_of_an_hour() -> Duration {
    Duration::from_secs(900)
}
fn a_minute() -> Duration {
    Duration::from_secs(60)
}
fn a_week() -> Duration {
    Duration::from_secs(7 * 86400)
}
fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}
fn ten() -> f64 {
    10.0
}
fn thousand() -> usize {
    1000
}
fn three() -> u32 {
    3
}
fn five() -> usize {
    5
}

/// Durations as people write them: `90s`, `15m`, `2h`, `7d`.
mod duration {
    use serde::{Deserialize, Deserializer, de::Error};
    use std::time::Duration;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = runtime::config::parse_duration(&text)
            .ok()
            .filter(|duration| !duration.is_zero());
        duration.ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a duration above zero; write 90s, 15m, 2h or 7d"
            ))
        })
    }
}

impl Policies {
    /// Reads the file's text.
    ///
    /// # Errors
    /// A sentence naming the line, policy or code.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policies: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (index, policy) in policies.policy.iter().enumerate() {
            let bad = |problem: &str| Err(format!("policy {:?}: {problem}", policy.name));
            if policy.name.is_empty()
                || policies.policy[..index]
                    .iter()
                    .any(|other| other.name == policy.name)
            {
                return bad("its name must not be empty or used twice");
            }
            let unknown = |code: &&String| {
                !RejectionCode::ALL
                    .iter()
                    .any(|known| known.code() == code.as_str())
            };
            if let Some(code) = policy.codes.iter().find(unknown) {
                return bad(&format!("there is no code {code}"));
            }
            let never = [
                RejectionCode::ReplaysExhausted.code(),
                RejectionCode::NoRawRecord.code(),
                RejectionCode::Conflict.code(),
                RejectionCode::Stale.code(),
                RejectionCode::Unverified.code(),
            ];
            if let Some(code) = policy
                .codes
                .iter()
                .find(|code| never.contains(&code.as_str()))
            {
                return bad(&format!(
                    "{code} needs a person and is never replayed by a policy; remove it"
                ));
            }
            if policy.codes.is_empty() {
                return bad("list the codes it may replay");
            }
            if !(policy.rate > 0.0 && policy.rate <= 100_000.0) {
                return bad("rate must be above 0 and at most 100000 records a second");
            }
            if policy.max_tries == 0 || policy.budget == 0 || policy.stop_after_failures == 0 {
                return bad("max_tries, budget and stop_after_failures must be at least 1");
            }
            if policy.youngest >= policy.oldest {
                return bad("youngest must be less than oldest");
            }
        }
        Ok(policies)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when it cannot be read.
    pub fn load(path: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)
    }
}

/// What an outcome depends on beside the dead letter: another fingerprint is a reason to evaluate again.
pub(crate) fn fingerprint(policy: &Policy, contracts: &Catalog) -> String {
    let mut parts: Vec<String> = contracts
        .iter()
        .map(|contract| format!("{}\0{}", contract.schema_json, contract.record_avsc))
        .collect();
    parts.sort();
    parts.push(format!("{policy:?}"));
    parts.push(env!("CARGO_PKG_VERSION").to_owned());
    hex::encode(&Sha256::digest(parts.join("\0"))[..16])
}

/// An open dead letter a policy's codes and sources fit, and what automatic recovery did with it so far.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(crate) struct Candidate {
    pub(crate) id: i64,
    pub(crate) last_failed_at: Time,
    #[sqlx(try_from = "i32")]
    pub(crate) replay_count: u32,
    #[sqlx(try_from = "i32")]
    pub(crate) tries: u32,
    pub(crate) next_try_at: Option<Time>,
    pub(crate) failed_with: Option<String>,
}

/// Where a policy stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Standing {
    /// It stopped itself, under this fingerprint
    pub(crate) stopped_with: Option<String>,
    /// Its last replay has not ended
    pub(crate) busy: bool,
    /// Replays of the last hour
    pub(crate) spent: usize,
}

/// The dead letters a policy may try now, in order. The only way to a try.
pub(crate) fn choose<'c>(
    policy: &Policy,
    fingerprint: &str,
    standing: &Standing,
    candidates: &'c [Candidate],
    max_replays: u32,
    now: Time,
) -> Vec<&'c Candidate> {
    if standing.busy || standing.stopped_with.as_deref() == Some(fingerprint) {
        return Vec::new();
    }
    let left = policy.budget.saturating_sub(standing.spent);
    let may = |candidate: &&Candidate| {
        let age = now - candidate.last_failed_at;
        candidate.tries < policy.max_tries
            && candidate.replay_count < max_replays
            && candidate.next_try_at.is_none_or(|at| at <= now)
            && age >= policy.youngest
            && age <= policy.oldest
            && candidate.failed_with.as_deref() != Some(fingerprint)
    };
    candidates.iter().filter(may).take(left).collect()
}

/// When a dead letter may be tried again after one more try.
pub(crate) fn next_try(policy: &Policy, tries_before: u32, now: Time) -> Time {
    let pause = policy
        .backoff
        .as_secs()
        .saturating_mul(1 << tries_before.min(20))
        .min(365 * 86400);
    now + time::Duration::seconds(i64::try_from(pause).unwrap_or(i64::MAX))
}

/// Whether so many failures of its replay stop a policy.
pub(crate) fn must_stop(policy: &Policy, failed: usize) -> bool {
    failed >= policy.stop_after_failures
}

#[cfg(test)]
mod tests;
