//! What happens in a run, and when: a function of seed, profile, duration and number of brokers, and of nothing else.

use crate::kill_point;
use crate::profile::{Kind, Profile};
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The processes of the pipeline that faults happen to. All but the registry read or write Kafka.
pub(crate) const MEMBERS: [&str; 9] = [
    "registry",
    "producer-1",
    "producer-2",
    "validator-1",
    "validator-2",
    "analytics-1",
    "persistence-1",
    "persistence-2",
    "recovery-1",
];
/// Roles that share one way to the brokers, which can be slow, silent or cut by itself; `brokers` is the way between brokers.
pub(crate) const WAYS: [&str; 6] = [
    "producer",
    "validator",
    "analytics",
    "persistence",
    "recovery",
    "brokers",
];
/// Roles with a way to PostgreSQL.
pub(crate) const DATABASE_WAYS: [&str; 2] = ["persistence", "recovery"];

/// The first fault comes after this: before it, traffic is on its way and nothing has happened yet.
const QUIET: Duration = Duration::from_secs(2);
/// Mean time between two faults.
const GAP: Duration = Duration::from_millis(1800);

/// A fault with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The process, the broker, the way or the topic
    pub(crate) target: String,
    /// Milliseconds of delay, seconds that a clock is wrong, or passes of a point
    pub(crate) amount: i64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if !self.target.is_empty() {
            write!(f, " {}", self.target)?;
        }
        if self.amount != 0 {
            write!(f, " {}", self.amount)?;
        }
        Ok(())
    }
}

/// A fault, when it begins and how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(
            f,
            "{at:7.3} s  {:<44} for {lasts:.3} s",
            self.fault.to_string()
        )
    }
}

/// What a seed decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) brokers: usize,
    pub(crate) duration: Duration,
}

impl Setting {
    /// Whether PostgreSQL has a standby; otherwise its tables are on a small disk, which can be full.
    pub(crate) fn has_standby(&self) -> bool {
        self.seed.is_multiple_of(2)
    }

    /// The faults of the run, in the order they begin.
    pub(crate) fn plan(&self) -> Vec<Step> {
        let mut rng = Rng::with_seed(self.seed ^ (self.profile as u64) << 56);
        let kinds: Vec<Kind> = self
            .profile
            .kinds()
            .into_iter()
            .filter(|kind| self.can(*kind))
            .collect();
        let mut steps: Vec<Step> = Vec::new();
        let mut at = QUIET;
        while at < self.duration {
            if let Some(kind) = rng.choice(&kinds) {
                let is_again = steps.iter().any(|step| step.fault.kind == *kind);
                if !(kind.is_once() && is_again) {
                    steps.push(self.step(*kind, at, &mut rng));
                }
            }
            at += Duration::from_millis(rng.u64(200..2 * GAP.as_millis() as u64));
        }
        steps
    }

    fn step(&self, kind: Kind, at: Duration, rng: &mut Rng) -> Step {
        let one =
            |of: &[&str], rng: &mut Rng| rng.choice(of).copied().unwrap_or_default().to_owned();
        let broker = |rng: &mut Rng| format!("broker-{}", rng.usize(1..=self.brokers));
        let stage = |rng: &mut Rng| one(&MEMBERS[3..8], rng);
        let (target, amount) = match kind {
            Kind::Kill | Kind::Pause => (one(&MEMBERS, rng), 0),
            Kind::RollingRestart => (one(&["producer", "validator", "persistence"], rng), 0),
            Kind::RebalanceStorm => (one(&["validator", "persistence"], rng), 0),
            Kind::KilledAt => kill_point::choose(self.profile, rng),
            // Signatures are good for five minutes.
            Kind::ClockWrong => (one(&MEMBERS[1..], rng), rng.i64(-120..120)),
            Kind::BrokerKilled | Kind::BrokerPaused | Kind::BrokerRestarted => (broker(rng), 0),
            Kind::LaggingLeaderKilled => (broker(rng), rng.i64(200..700)),
            Kind::SlowDisk => (String::new(), rng.i64(1..20)),
            Kind::Slow => (one(&WAYS, rng), rng.i64(50..800)),
            Kind::Silent | Kind::Cut => {
                let way = one(&WAYS, rng);
                (format!("{way} to {}", broker(rng)), 0)
            }
            Kind::DatabaseSlow => (one(&DATABASE_WAYS, rng), rng.i64(20..400)),
            Kind::DatabaseSilent | Kind::DatabaseCut => (one(&DATABASE_WAYS, rng), 0),
            Kind::Grow => (
                one(
                    &["events.raw.v1", "events.validated.v1", "events.dlq.v1"],
                    rng,
                ),
                0,
            ),
            Kind::OffsetsDropped => (one(&["validator", "persistence", "analytics"], rng), 0),
            Kind::TopicRecreated => (
                one(
                    &[
                        "events.retry.eventflow-validator.v1",
                        "events.retry.eventflow-persistence.v1",
                    ],
                    rng,
                ),
                0,
            ),
            Kind::KillDuringReplay => (stage(rng), 0),
            Kind::LeadersMoved
            | Kind::TooFewInSync
            | Kind::DeadLettersRefused
            | Kind::DatabaseKilled
            | Kind::DatabaseStopped
            | Kind::DatabasePaused
            | Kind::FailOver
            | Kind::SessionsCut
            | Kind::Serializable
            | Kind::RowsLocked
            | Kind::Deadlock
            | Kind::FullDisk
            | Kind::RawTopicRecreated
            | Kind::EditAndReplay
            | Kind::ReplayAsItIs
            | Kind::ReplayTwice
            | Kind::PauseAndResume
            | Kind::StopReplay
            | Kind::Discard
            | Kind::Revalidate => (String::new(), 0),
        };
        let longest = match kind {
            // Longer than a session of Kafka's, and than a few attempts to connect.
            Kind::Pause | Kind::DatabaseKilled | Kind::DatabaseStopped => 15_000,
            _ => 5000,
        };
        Step {
            at,
            lasts: Duration::from_millis(rng.u64(300..longest)),
            fault: Fault {
                kind,
                target,
                amount,
            },
        }
    }

    fn can(&self, kind: Kind) -> bool {
        match kind {
            Kind::LeadersMoved | Kind::TooFewInSync | Kind::LaggingLeaderKilled => self.brokers > 1,
            Kind::FailOver => self.has_standby(),
            Kind::FullDisk => !self.has_standby(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn setting(seed: u64, profile: Profile, brokers: usize) -> Setting {
        Setting {
            seed,
            profile,
            brokers,
            duration: Duration::from_secs(20),
        }
    }

    #[test]
    fn the_same_seed_has_the_same_schedule_and_another_has_another() {
        for profile in Profile::ALL {
            let plan = setting(7, profile, 3).plan();
            assert_eq!(plan, setting(7, profile, 3).plan());
            assert_ne!(plan, setting(8, profile, 3).plan());
        }
    }

    #[test]
    fn every_fault_of_a_profile_comes_up_within_fifty_seeds() {
        for profile in Profile::ALL {
            let seen: BTreeSet<_> = (0..50)
                .flat_map(|seed| setting(seed, profile, 3).plan())
                .map(|step| step.fault.kind.name())
                .collect();
            let all: BTreeSet<_> = profile.kinds().into_iter().map(Kind::name).collect();
            assert_eq!(seen, all, "{profile}");
        }
    }

    #[test]
    fn faults_begin_in_order_within_the_run_and_what_happens_once_happens_once() {
        for seed in 0..50 {
            let run = setting(seed, Profile::Mixed, 1);
            let plan = run.plan();
            assert!(plan.len() > 5, "{plan:?}");
            assert!(plan.is_sorted_by_key(|step| step.at));
            assert!(plan.iter().all(|step| step.at < run.duration));
            for once in [Kind::FailOver, Kind::FullDisk, Kind::RawTopicRecreated] {
                let times = plan.iter().filter(|step| step.fault.kind == once).count();
                assert!(times <= 1, "{plan:?}");
            }
            let needs_three = [
                Kind::LeadersMoved,
                Kind::TooFewInSync,
                Kind::LaggingLeaderKilled,
            ];
            assert!(
                plan.iter()
                    .all(|step| !needs_three.contains(&step.fault.kind))
            );
        }
    }
}
