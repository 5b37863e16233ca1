//! Settings of every role. Each role's `Config` flattens [`Common`]; a flag and its environment variable share one text, and `--help` is the
//! manual.

pub use crate::config_error::ConfigError;

use crate::kafka::KafkaArgs;
use crate::ops::OpsArgs;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How the process of any role runs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProcessArgs {
    /// Write logs (to standard error) as JSON, one object per line, instead of text
    #[arg(long, env = "EVENTFLOW_LOG_JSON", default_value_t = false)]
    pub log_json: bool,
    /// Check the configuration, report what is wrong with it, and exit
    #[arg(long, default_value_t = false)]
    pub check: bool,
    /// With --check: also connect to everything the role uses, and report what cannot be reached (exit code 1)
    #[arg(long, default_value_t = false, requires = "check")]
    pub connect: bool,
}

/// Settings of every role that uses Kafka.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub process: ProcessArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ops: OpsArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub kafka: KafkaArgs,
}

/// A duration as people write it: `90s`, `30m`, `2h`, `7d`, `1h 30m`; a number without a unit is seconds. For clap's `value_parser`.
///
/// # Errors
/// How to write one.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::try_from_secs_f64);
    seconds
        .and_then(Result::ok)
        .or_else(|| humantime::parse_duration(text).ok())
        .ok_or_else(|| format!("{text:?} is not a duration; write 90s, 30m, 2h or 7d"))
}

/// As [`parse_duration`], for a setting that cannot be zero.
///
/// # Errors
/// As [`parse_duration`], and zero.
pub fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!(
            "{text:?} must be longer than zero; write 90s, 30m, 2h or 7d"
        )),
        duration => Ok(duration),
    }
}

/// Refuses a number the setting cannot be.
///
/// # Errors
/// Names the setting and its bounds.
pub fn check_range(
    setting: &str,
    value: u64,
    range: RangeInclusive<u64>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(
        setting,
        format!("must be between {} and {}", range.start(), range.end()),
    ))
}

/// Refuses a topic name that Kafka would refuse: <https://kafka.apache.org/documentation/#topicconfigs>
///
/// # Errors
/// Names the setting.
pub fn check_topic(setting: &str, name: &str) -> Result<(), ConfigError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=249).contains(&name.len()) && name.bytes().all(legal) && !matches!(name, "." | "..") {
        return Ok(());
    }
    Err(ConfigError::new(
        setting,
        "not a topic name; use 1 to 249 letters, digits, dots, underscores and hyphens",
    ))
}
