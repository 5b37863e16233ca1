//! Judges a run from outside: `eventflow verify`.
//!
//! Every accepted webhook has exactly one fate. The demo and the audit say so from inside; this says it from what vendors know (a journal of
//! what they sent and were answered), from the topics and from the database, read by code of its own. What it takes from the rest of EventFlow
//! are names (topics, headers, codes), the flags by which a client connects, and the ids of topics; no rule that a stage applies.
//!
//! Reading order: [`run`]; `journal`, `kafka` and `database` read; `work` brings together what has one key, on disk by `spill`; the judges in `judge` each
//! look at one key (bytes, raw record, event, entity); `content` and `json` decide whether a field is the one that was signed; `totals` compares
//! sums; `report` says what was found. The checks and their meanings are in [`report::Check`], and in `docs/VERIFY.md`.
//!
//! Memory is bounded: 16 MiB for each of four joins and for what is fetched ahead, and the pieces of about 20,000 events, however many there are. What one key has is in memory together: an event
//! that was delivered a million times is not bounded. The disk holds everything that is read, twice for raw records.

mod avro;
mod content;
mod database;
mod journal;
mod json;
mod judge;
mod kafka;
mod number;
mod piece;
mod progress;
pub mod report;
mod run;
mod show;
mod spill;
mod totals;
mod work;

pub use report::Report;
pub use run::run;

use runtime::kafka::KafkaArgs;
use std::path::PathBuf;
use std::time::Duration;
use store::DatabaseArgs;

/// What is judged, and by what.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyArgs {
    /// Journals of what was sent and answered, as eventflow load, simulator and simulator stream write them
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub journal: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: DatabaseArgs,
    /// URL of the schema registry, to read validated records; without it only raw records, dead letters and rows are compared
    #[arg(long, env = "EVENTFLOW_REGISTRY_URL", hide_env_values = true)]
    pub registry_url: Option<String>,
    /// Topic of raw records
    #[arg(long, env = "EVENTFLOW_TOPIC_RAW", default_value = contracts::kafka::topics::RAW)]
    pub topic_raw: String,
    /// Topic of validated events
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    /// Topic of dead letters
    #[arg(long, env = "EVENTFLOW_TOPIC_DLQ", default_value = contracts::kafka::topics::DLQ)]
    pub topic_dlq: String,
    /// Topics that were deleted and created again meanwhile: what an older one had is not missed. The raw topic needs no flag
    #[arg(long, num_args = 1.., value_name = "TOPIC")]
    pub recreated: Vec<String>,
    /// Judge nothing of raw records that are in no journal: others send, too
    #[arg(long, default_value_t = false)]
    pub allow_others: bool,
    /// What eventflow audit --json printed, to be compared; without it, what the audit has in the database
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Addresses of operations ports whose counters are compared; of all instances, none of which was restarted since the journal began
    #[arg(long, num_args = 1.., value_name = "URL")]
    pub metrics: Vec<String>,
    /// By how much the clocks of brokers and senders differ at most: then no answer may come before its record was appended, if the raw
    /// topic keeps that time (message.timestamp.type=LogAppendTime)
    #[arg(long, value_name = "DURATION", value_parser = runtime::config::parse_positive_duration)]
    pub clocks_within: Option<Duration>,
    /// How long the audit has to come to the end of the topic
    #[arg(long, default_value = "30s", value_parser = runtime::config::parse_positive_duration)]
    pub within: Duration,
    /// Failures of each check that are shown whole
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub first: usize,
    /// Directory for what is read meanwhile [default: the system's]
    #[arg(long, value_name = "DIRECTORY")]
    pub temp_dir: Option<PathBuf>,
}
