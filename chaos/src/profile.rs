//! The kinds of faults, and which of them a profile has.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// Processes of EventFlow
    Roles,
    /// Kafka
    Brokers,
    /// PostgreSQL
    Database,
    /// What is between them
    Network,
    /// On-call at work while processes are killed
    Replay,
    /// Partitions, offsets and topics change
    Growth,
    /// All of them
    Mixed,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    Pause,
    RollingRestart,
    RebalanceStorm,
    KilledAt,
    ClockWrong,
    BrokerKilled,
    BrokerPaused,
    BrokerRestarted,
    LeadersMoved,
    TooFewInSync,
    LaggingLeaderKilled,
    DeadLettersRefused,
    DatabaseKilled,
    DatabaseStopped,
    DatabasePaused,
    FailOver,
    SessionsCut,
    Serializable,
    RowsLocked,
    Deadlock,
    FullDisk,
    SlowDisk,
    Slow,
    Silent,
    Cut,
    DatabaseSlow,
    DatabaseSilent,
    DatabaseCut,
    Grow,
    OffsetsDropped,
    TopicRecreated,
    RawTopicRecreated,
    EditAndReplay,
    ReplayAsItIs,
    ReplayTwice,
    PauseAndResume,
    StopReplay,
    Discard,
    Revalidate,
    KillDuringReplay,
}

const ROLES: [Kind; 6] = [
    Kind::Kill,
    Kind::KilledAt,
    Kind::Pause,
    Kind::RollingRestart,
    Kind::RebalanceStorm,
    Kind::ClockWrong,
];
const BROKERS: [Kind; 7] = [
    Kind::BrokerKilled,
    Kind::BrokerPaused,
    Kind::BrokerRestarted,
    Kind::LeadersMoved,
    Kind::TooFewInSync,
    Kind::LaggingLeaderKilled,
    Kind::DeadLettersRefused,
];
const DATABASE: [Kind; 10] = [
    Kind::DatabaseKilled,
    Kind::DatabaseStopped,
    Kind::DatabasePaused,
    Kind::FailOver,
    Kind::SessionsCut,
    Kind::Serializable,
    Kind::RowsLocked,
    Kind::Deadlock,
    Kind::FullDisk,
    Kind::SlowDisk,
];
const NETWORK: [Kind; 6] = [
    Kind::Slow,
    Kind::Silent,
    Kind::Cut,
    Kind::DatabaseSlow,
    Kind::DatabaseSilent,
    Kind::DatabaseCut,
];
const ONCALL: [Kind; 7] = [
    Kind::EditAndReplay,
    Kind::ReplayAsItIs,
    Kind::ReplayTwice,
    Kind::PauseAndResume,
    Kind::StopReplay,
    Kind::Discard,
    Kind::Revalidate,
];
const GROWTH: [Kind; 4] = [
    Kind::Grow,
    Kind::OffsetsDropped,
    Kind::TopicRecreated,
    Kind::RawTopicRecreated,
];

impl Profile {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Roles,
        Self::Brokers,
        Self::Database,
        Self::Network,
        Self::Replay,
        Self::Growth,
        Self::Mixed,
    ];

    /// The profile of a seed that has none of its own.
    pub(crate) fn of_turn(seed: u64) -> Self {
        let turn = usize::try_from(seed % Self::ALL.len() as u64).unwrap_or_default();
        Self::ALL[turn]
    }

    /// Its kinds of faults. On-call is at work in each profile.
    pub(crate) fn kinds(self) -> Vec<Kind> {
        let and = |more: &[&[Kind]]| more.concat();
        let oncall = [Kind::EditAndReplay, Kind::ReplayAsItIs];
        // What waits for an outage is interrupted.
        let changes = [Kind::RollingRestart, Kind::RebalanceStorm];
        match self {
            Self::Roles => and(&[&ROLES, &oncall]),
            Self::Brokers => and(&[&BROKERS, &changes, &oncall]),
            Self::Database => and(&[&DATABASE, &changes, &oncall]),
            Self::Network => and(&[&NETWORK, &changes, &oncall]),
            Self::Replay => and(&[
                &ONCALL,
                &[Kind::KillDuringReplay, Kind::KilledAt, Kind::KilledAt],
            ]),
            Self::Growth => and(&[&GROWTH, &[Kind::RollingRestart], &oncall]),
            Self::Mixed => and(&[&ROLES, &BROKERS, &DATABASE, &NETWORK, &ONCALL, &GROWTH]),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roles => "roles",
            Self::Brokers => "brokers",
            Self::Database => "database",
            Self::Network => "network",
            Self::Replay => "replay",
            Self::Growth => "growth",
            Self::Mixed => "mixed",
        })
    }
}

impl Kind {
    /// In schedules, logs and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::RollingRestart => "rolling-restart",
            Self::RebalanceStorm => "rebalance-storm",
            Self::KilledAt => "killed-at",
            Self::ClockWrong => "clock-wrong",
            Self::BrokerKilled => "broker-killed",
            Self::BrokerPaused => "broker-paused",
            Self::BrokerRestarted => "broker-restarted",
            Self::LeadersMoved => "leaders-moved",
            Self::TooFewInSync => "too-few-in-sync",
            Self::LaggingLeaderKilled => "lagging-leader-killed",
            Self::DeadLettersRefused => "dead-letters-refused",
            Self::DatabaseKilled => "database-killed",
            Self::DatabaseStopped => "database-stopped",
            Self::DatabasePaused => "database-paused",
            Self::FailOver => "failover",
            Self::SessionsCut => "sessions-cut",
            Self::Serializable => "serializable",
            Self::RowsLocked => "rows-locked",
            Self::Deadlock => "deadlock",
            Self::FullDisk => "full-disk",
            Self::SlowDisk => "slow-disk",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Cut => "cut",
            Self::DatabaseSlow => "database-slow",
            Self::DatabaseSilent => "database-silent",
            Self::DatabaseCut => "database-cut",
            Self::Grow => "partitions-grown",
            Self::OffsetsDropped => "offsets-dropped",
            Self::TopicRecreated => "topic-recreated",
            Self::RawTopicRecreated => "raw-topic-recreated",
            Self::EditAndReplay => "edit-and-replay",
            Self::ReplayAsItIs => "replay-as-it-is",
            Self::ReplayTwice => "replay-twice",
            Self::PauseAndResume => "pause-and-resume",
            Self::StopReplay => "stop-replay",
            Self::Discard => "discard",
            Self::Revalidate => "revalidate",
            Self::KillDuringReplay => "kill-during-replay",
        }
    }

    /// Whether a run has room for only one: a standby is promoted once, a disk of this size is full once, and all is settled once before the
    /// end.
    pub(crate) fn is_once(self) -> bool {
        matches!(
            self,
            Self::FailOver | Self::FullDisk | Self::RawTopicRecreated
        )
    }
}
