//! What every role is told at start. Each role's `Config` flattens [`Common`]; flags and environment are one text, `--help` is the manual.

use crate::consumer::StageArgs;
use crate::kafka::KafkaArgs;
use crate::ops::OpsArgs;
use crate::replay::RetryArgs;
use contracts::Secret;
use contracts::pipeline::Pipeline;
use contracts::webhook::source::Sources;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// How the process of any role runs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProcessArgs {
    /// Write logs (to standard error) as JSON, one object a line, instead of text
    #[arg(long, env = "EVENTFLOW_LOG_JSON", default_value_t = false)]
    pub log_json: bool,
    /// Check the configuration, report what is wrong with it, and exit
    #[arg(long, default_value_t = false)]
    pub check: bool,
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

/// A setting that cannot work. The process exits with code 2 and names it.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    /// The flag, as typed: `--webhook-secret`
    pub setting: String,
    /// What is wrong and what to do
    pub problem: String,
}

impl ConfigError {
    /// `setting` as typed on the command line, `problem` says what to do.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
        }
    }

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "bad_configuration"
    }
}

/// A span of time as people write it: `90s`, `30m`, `2h`, `7d`, `1h 30m`; a number without a unit is seconds. For clap's `value_parser`.
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
        "not a topic name: 1 to 249 letters, digits, dots, underscores and hyphens",
    ))
}

/// Refuses what no consuming stage can work with.
///
/// # Errors
/// Names the setting.
pub fn check_stage(stage: &StageArgs, group: &str) -> Result<(), ConfigError> {
    check_range("--batch-records", stage.batch_records as u64, 1..=1_000_000)?;
    check_range("--batch-age-ms", stage.batch_age_ms, 0..=60_000)?;
    check_range(
        "--breaker-window",
        stage.breaker_window as u64,
        1..=1_000_000,
    )?;
    if stage.breaker_share.is_nan() || stage.breaker_share < 0.0 {
        return Err(ConfigError::new("--breaker-share", "must be 0 or more"));
    }
    if group.trim().is_empty() {
        return Err(ConfigError::new("--group", "a consumer group needs a name"));
    }
    check_topic("--topic-dlq", &stage.topic_dlq)
}

/// Refuses a retry topic that cannot work; `others` are the topics the stage reads and writes, by setting.
///
/// # Errors
/// Names the setting.
pub fn check_retry(
    retry: &RetryArgs,
    group: &str,
    others: &[(&str, &str)],
) -> Result<(), ConfigError> {
    const SETTING: &str = "--topic-retry";
    let topic = retry.of(group).topic;
    if retry.topic_retry.is_none() && check_topic(SETTING, &topic).is_err() {
        return Err(ConfigError::new(
            SETTING,
            format!("{topic}, the default for this group, is not a topic name; give one"),
        ));
    }
    check_topic(SETTING, &topic)?;
    match others.iter().find(|(_, other)| *other == topic) {
        None => Ok(()),
        Some((setting, _)) => Err(ConfigError::new(
            SETTING,
            format!("{topic} is also {setting}; replays need a topic of their own"),
        )),
    }
}

/// Resolves a secret reference: `env:NAME` or `file:/path` (one trailing newline is dropped).
///
/// # Errors
/// A sentence naming the variable or file, never its content.
pub fn resolve_secret(reference: &str) -> Result<Secret, String> {
    if let Some(name) = reference.strip_prefix("env:") {
        return match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(Secret::new(value)),
            Ok(_) => Err(format!("environment variable {name} is empty")),
            Err(_) => Err(format!("environment variable {name} is not set")),
        };
    }
    if let Some(path) = reference.strip_prefix("file:") {
        let mut bytes = std::fs::read(path)
            .map_err(|error| format!("cannot read secret file {path}: {error}"))?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        return if bytes.is_empty() {
            Err(format!("secret file {path} is empty"))
        } else {
            Ok(Secret::new(bytes))
        };
    }
    Err("a secret is named by env:NAME or file:/path, never written in the file".to_owned())
}

/// The sources of a file, or the built-in one with its secret; `None` when there is neither.
///
/// # Errors
/// Names the file and what is wrong in it, never a secret.
pub fn load_sources(
    file: Option<&Path>,
    secret: Option<&Secret>,
) -> Result<Option<Sources>, ConfigError> {
    let Some(path) = file else {
        return Ok(secret
            .filter(|secret| !secret.expose().is_empty())
            .map(Sources::builtin));
    };
    let bad =
        |problem: String| ConfigError::new("--sources", format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Sources::from_toml(&text, &resolve_secret)
        .map(Some)
        .map_err(|error| bad(error.to_string()))
}

/// The pipeline that a file describes; without one the built-in pipeline.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn load_pipeline(file: Option<&Path>) -> Result<Pipeline, ConfigError> {
    let Some(file) = file else {
        return Ok(Pipeline::built_in());
    };
    let bad =
        |problem: String| ConfigError::new("--pipeline", format!("{}: {problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
    let pipeline = Pipeline::parse(&text).map_err(|error| bad(error.to_string()))?;
    for topic in pipeline.topics.keys() {
        check_topic("--pipeline", topic)?;
    }
    Ok(pipeline)
}

/// The built-in contracts and those of a directory, one folder an event type.
///
/// # Errors
/// Names the folder and the file.
pub fn load_contracts(directory: Option<&Path>) -> Result<contracts::event::Catalog, ConfigError> {
    use contracts::event::{Catalog, ContractFiles};
    let bad = |problem: String| ConfigError::new("--contracts", problem);
    let mut files = Catalog::builtin_files();
    if let Some(directory) = directory {
        let entries = std::fs::read_dir(directory)
            .map_err(|error| bad(format!("cannot read {}: {error}", directory.display())))?;
        for entry in entries {
            let folder = entry.map_err(|error| bad(error.to_string()))?.path();
            if !folder.is_dir() {
                continue;
            }
            let read = |name: &str| {
                let path = folder.join(name);
                std::fs::read_to_string(&path)
                    .map_err(|error| bad(format!("cannot read {}: {error}", path.display())))
            };
            let event_type = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let schema_id =
                match read("schema-id") {
                    Ok(text) => Some(text.trim().parse().map_err(|_| {
                        bad(format!("{}/schema-id is not a number", folder.display()))
                    })?),
                    Err(_) => None,
                };
            files.push(ContractFiles {
                event_type,
                schema_json: read("schema.json")?,
                record_avsc: read("record.avsc")?,
                schema_id,
            });
        }
    }
    Catalog::compile(files).map_err(|error| bad(error.to_string()))
}
