//! The kinds of faults, and which of them a profile has.

use std::fmt;

/// Which faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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
    BrokerKilled,
    BrokerPaused,
    BrokerRestarted,
    LeadersMoved,
    TooFewInSync,
    DatabaseKilled,
    DatabaseStopped,
    DatabasePaused,
    FailOver,
    SessionsCut,
    Serializable,
    RowsLocked,
    FullDisk,
    Slow,
    Silent,
    Cut,
    DatabaseSlow,
    DatabaseSilent,
    DatabaseCut,
    Grow,
    OffsetsDropped,
    TopicRecreated,
    EditAndReplay,
    ReplayAsItIs,
    PauseAndResume,
    StopReplay,
    Discard,
    Revalidate,
    KillDuringReplay,
}

const ROLES: [Kind; 4] = [
    Kind::Kill,
    Kind::Pause,
    Kind::RollingRestart,
    Kind::RebalanceStorm,
];
const BROKERS: [Kind; 5] = [
    Kind::BrokerKilled,
    Kind::BrokerPaused,
    Kind::BrokerRestarted,
    Kind::LeadersMoved,
    Kind::TooFewInSync,
];
const DATABASE: [Kind; 8] = [
    Kind::DatabaseKilled,
    Kind::DatabaseStopped,
    Kind::DatabasePaused,
    Kind::FailOver,
    Kind::SessionsCut,
    Kind::Serializable,
    Kind::RowsLocked,
    Kind::FullDisk,
];
const NETWORK: [Kind; 6] = [
    Kind::Slow,
    Kind::Silent,
    Kind::Cut,
    Kind::DatabaseSlow,
    Kind::DatabaseSilent,
    Kind::DatabaseCut,
];
const ONCALL: [Kind; 6] = [
    Kind::EditAndReplay,
    Kind::ReplayAsItIs,
    Kind::PauseAndResume,
    Kind::StopReplay,
    Kind::Discard,
    Kind::Revalidate,
];
const GROWTH: [Kind; 3] = [Kind::Grow, Kind::OffsetsDropped, Kind::TopicRecreated];

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
        match self {
            Self::Roles => and(&[&ROLES, &oncall]),
            Self::Brokers => and(&[&BROKERS, &oncall]),
            Self::Database => and(&[&DATABASE, &oncall]),
            Self::Network => and(&[&NETWORK, &oncall]),
            Self::Replay => and(&[&ONCALL, &[Kind::KillDuringReplay]]),
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
            Self::BrokerKilled => "broker-killed",
            Self::BrokerPaused => "broker-paused",
            Self::BrokerRestarted => "broker-restarted",
            Self::LeadersMoved => "leaders-moved",
            Self::TooFewInSync => "too-few-in-sync",
            Self::DatabaseKilled => "database-killed",
            Self::DatabaseStopped => "database-stopped",
            Self::DatabasePaused => "database-paused",
            Self::FailOver => "failover",
            Self::SessionsCut => "sessions-cut",
            Self::Serializable => "serializable",
            Self::RowsLocked => "rows-locked",
            Self::FullDisk => "full-disk",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Cut => "cut",
            Self::DatabaseSlow => "database-slow",
            Self::DatabaseSilent => "database-silent",
            Self::DatabaseCut => "database-cut",
            Self::Grow => "partitions-grown",
            Self::OffsetsDropped => "offsets-dropped",
            Self::TopicRecreated => "topic-recreated",
            Self::EditAndReplay => "edit-and-replay",
            Self::ReplayAsItIs => "replay-as-it-is",
            Self::PauseAndResume => "pause-and-resume",
            Self::StopReplay => "stop-replay",
            Self::Discard => "discard",
            Self::Revalidate => "revalidate",
            Self::KillDuringReplay => "kill-during-replay",
        }
    }

    /// Whether a run has room for only one: a standby is promoted once, and a disk of this size is full once.
    pub(crate) fn is_once(self) -> bool {
        matches!(self, Self::FailOver | Self::FullDisk)
    }
}
