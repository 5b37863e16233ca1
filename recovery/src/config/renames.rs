//! Flags of version 0.1 that name topics and groups of the built-in pipeline. The description (`--pipeline`) names them now; for one release
//! they still rename what it says.

use contracts::kafka::topics;
use contracts::pipeline::Pipeline;
use runtime::config::{ConfigError, check_topic};

/// What is renamed. "First" and "last" are the stages on the path to a row.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Renames {
    /// Topic of raw events
    #[arg(long = "topic-raw", env = "EVENTFLOW_TOPIC_RAW", hide = true)]
    raw: Option<String>,
    /// Topic of validated events
    #[arg(
        long = "topic-validated",
        env = "EVENTFLOW_TOPIC_VALIDATED",
        hide = true
    )]
    validated: Option<String>,
    /// Dead-letter topic
    #[arg(long = "topic-dlq", env = "EVENTFLOW_TOPIC_DLQ", hide = true)]
    dead_letters: Option<String>,
    /// Consumer group of the validator
    #[arg(
        long = "validator-group",
        env = "EVENTFLOW_VALIDATOR_GROUP",
        hide = true
    )]
    first_group: Option<String>,
    /// Consumer group of persistence
    #[arg(
        long = "persistence-group",
        env = "EVENTFLOW_PERSISTENCE_GROUP",
        hide = true
    )]
    last_group: Option<String>,
    /// Topic of replays to the validator, its --topic-retry
    #[arg(
        long = "validator-topic-retry",
        env = "EVENTFLOW_VALIDATOR_TOPIC_RETRY",
        hide = true
    )]
    first_retry: Option<String>,
    /// Topic of replays to persistence, its --topic-retry
    #[arg(
        long = "persistence-topic-retry",
        env = "EVENTFLOW_PERSISTENCE_TOPIC_RETRY",
        hide = true
    )]
    last_retry: Option<String>,
}

impl Renames {
    /// Renames, and refuses two topics or groups of one name.
    pub(crate) fn apply(&self, pipeline: &mut Pipeline) -> Result<(), ConfigError> {
        let path: Vec<usize> = (0..pipeline.stages.len())
            .filter(|&stage| pipeline.stages.get(stage).is_some_and(|it| it.on_path))
            .collect();
        let (Some(&first), Some(&last)) = (path.first(), path.last()) else {
            return Ok(());
        };
        for (setting, stage, group) in [
            ("--validator-group", first, &self.first_group),
            ("--persistence-group", last, &self.last_group),
        ] {
            if let Some(group) = group {
                rename_group(pipeline, stage, group);
                check(pipeline, setting)?;
            }
        }
        let stages = &pipeline.stages;
        let names = [
            ("--topic-raw", Some(pipeline.raw.clone()), &self.raw),
            (
                "--topic-validated",
                Some(stages[last].reads.clone()),
                &self.validated,
            ),
            (
                "--topic-dlq",
                Some(pipeline.dead_letters.clone()),
                &self.dead_letters,
            ),
        ];
        for (setting, from, to) in names {
            if let (Some(from), Some(to)) = (from, to) {
                rename_topic(pipeline, setting, &from, to)?;
            }
        }
        rename_retries(
            pipeline,
            &[
                ("--validator-topic-retry", first, self.first_retry.as_ref()),
                ("--persistence-topic-retry", last, self.last_retry.as_ref()),
            ],
        )
    }
}

/// The retry topic of a group is named after it.
fn rename_group(pipeline: &mut Pipeline, stage: usize, group: &str) {
    let Some(stage) = pipeline.stages.get_mut(stage) else {
        return;
    };
    group.clone_into(&mut stage.group);
    if let Some(retry) = stage.retry.clone() {
        pipeline.rename_topic(&retry, &topics::retry(group));
    }
}

fn rename_topic(
    pipeline: &mut Pipeline,
    setting: &'static str,
    from: &str,
    to: &str,
) -> Result<(), ConfigError> {
    check_topic(setting, to)?;
    if from != to && pipeline.topics.contains_key(to) {
        return Err(taken(setting, to));
    }
    pipeline.rename_topic(from, to);
    check(pipeline, setting)
}

/// At once, since two stages may swap theirs.
fn rename_retries(
    pipeline: &mut Pipeline,
    wanted: &[(&'static str, usize, Option<&String>)],
) -> Result<(), ConfigError> {
    let mut renamed = Vec::new();
    for &(setting, stage, to) in wanted {
        let from = pipeline.stages[stage].retry.clone();
        if let (Some(from), Some(to)) = (from, to) {
            renamed.push((setting, stage, to, pipeline.topics.remove(&from)));
        }
    }
    for (setting, stage, to, topic) in renamed {
        check_topic(setting, to)?;
        if pipeline.topics.contains_key(to) {
            return Err(taken(setting, to));
        }
        pipeline.stages[stage].retry = Some(to.clone());
        pipeline
            .topics
            .extend(topic.map(|topic| (to.clone(), topic)));
    }
    Ok(())
}

fn taken(setting: &'static str, topic: &str) -> ConfigError {
    ConfigError::new(
        setting,
        format!("{topic} is another topic of the pipeline; give this one a name of its own"),
    )
}

fn check(pipeline: &Pipeline, setting: &'static str) -> Result<(), ConfigError> {
    pipeline
        .check()
        .map_err(|error| ConfigError::new(setting, error.to_string()))
}
