//! `eventflow contracts check`: everything that can be wrong with contracts before they are released.

mod against;

use super::published::Registry;
use super::report::{Checked, Kind, Report};
use super::tree;
use against::{against_files, against_registry, check_pairs};
use contracts::Secret;
use contracts::event::{Catalog, Compatibility, Contract, ContractFiles, notes_to_do};
use contracts::kafka::topics;
use runtime::config::ConfigError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an event of one contract is measured.
const MEASURED: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// Directory of contracts, one folder per event type
    #[arg(env = "EVENTFLOW_CONTRACTS", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// What is published: a git ref of the directory's repository (origin/main), another directory, or the URL of a schema registry, which has
    /// records only. A published version may not change, except in its notes and examples, nor go
    #[arg(long, value_name = "GIT-REF|DIR|URL")]
    against: Option<String>,
    /// What a new version must keep: backward (it takes what the one before it took, and its consumers read what that wrote), forward (the
    /// reverse), full (both), or none
    #[arg(long, default_value = "backward", value_parser = compatibility)]
    compatibility: Compatibility,
    /// A version that may go although it is published, as NAME/vN; may be given several times. Remove it only when no topic has a record of it
    #[arg(long, value_name = "NAME/vN")]
    removed: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// With --against URL: topic of validated events, the first part of a subject's name
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = topics::VALIDATED)]
    topic_validated: String,
    /// With --against URL: user name for the registry (basic authentication)
    #[arg(long, env = "EVENTFLOW_REGISTRY_USERNAME")]
    registry_username: Option<String>,
    /// With --against URL: password for the registry
    #[arg(long, env = "EVENTFLOW_REGISTRY_PASSWORD", hide_env_values = true)]
    registry_password: Option<Secret>,
}

fn compatibility(name: &str) -> Result<Compatibility, String> {
    let found = Compatibility::ALL
        .into_iter()
        .find(|one| one.name() == name);
    found.ok_or_else(|| "write backward, forward, full or none".to_owned())
}

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let directory = super::needed("DIR", config.directory.as_deref())?;
    let files = runtime::files::read_contracts(directory)?;
    if files.is_empty() {
        let problem = format!(
            "{} has no contract: one is a folder NAME/v1",
            directory.display()
        );
        return Err(ConfigError::new("DIR", problem).into());
    }
    let mut report = Report::default();
    let mut compiled = Vec::new();
    for one in &files {
        compiled.extend(version(one, directory, &mut report)?);
    }
    let against = config.against.as_deref();
    let (unchanged, gone) = match against {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let (name, password) = (
                config.registry_username.as_deref(),
                config.registry_password.as_ref(),
            );
            let registry = Registry::new(url, &config.topic_validated, name, password)?;
            (
                against_registry(&compiled, &registry, config.compatibility, &mut report).await?,
                Vec::new(),
            )
        }
        Some(place) => {
            let published = if Path::new(place).is_dir() {
                runtime::files::read_contracts(Path::new(place))?
            } else {
                tree::of_commit(directory, place).await?
            };
            against_files(&files, &compiled, published, &config.removed, &mut report)
        }
        None => (Vec::new(), Vec::new()),
    };
    check_pairs(
        &compiled,
        &gone,
        &unchanged,
        config.compatibility,
        &mut report,
    );
    if report.errors() == 0 {
        whole(&files, &mut report);
    }
    if config.json {
        let shown = directory.display().to_string();
        let against = against.map(without_login);
        let json = report.json(&shown, against.as_deref(), config.compatibility.name());
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        report.print();
    }
    match report.errors() {
        0 => Ok(()),
        errors => anyhow::bail!("{}", super::report::counted(errors, "error")),
    }
}

/// A URL's user name and password are not shown.
fn without_login(against: &str) -> String {
    match against
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)))
    {
        Some((scheme, (_, rest))) => format!("{scheme}://{rest}"),
        None => against.to_owned(),
    }
}

fn label(contract: &Contract) -> String {
    format!("{}/v{}", contract.name, contract.version)
}

/// One version alone: its rules, its examples, what it costs, its notes.
fn version(
    files: &ContractFiles,
    directory: &Path,
    report: &mut Report,
) -> anyhow::Result<Option<Contract>> {
    let shown = format!("{}/v{}", files.name, files.version);
    for (pointer, note) in notes_to_do(&files.schema_json) {
        report.say(Kind::ToDo, &shown, "schema.json", &pointer, note);
    }
    let contract = match Contract::alone(files.clone()) {
        Ok(contract) => contract,
        Err(error) => {
            report.say(Kind::Unusable, &shown, "", "", error.to_string());
            return Ok(None);
        }
    };
    if files.schema_id.is_none_or(|id| id < 1) {
        let problem = "a number from 1 on that no other version has is missing";
        report.say(Kind::NoSchemaId, &shown, "schema-id", "", problem);
    }
    let folder = directory
        .join(&files.name)
        .join(format!("v{}", files.version));
    let examples = tree::examples(&folder)?;
    let mut missing = contract.codes();
    for example in &examples {
        let judged = if example.valid {
            contract.check_valid_example(&example.payload)
        } else {
            contract
                .check_invalid_example(&example.name, &example.payload)
                .map(|code| {
                    missing.remove(&code);
                })
        };
        if let Err(problem) = judged {
            let file = example.path.strip_prefix(&folder).unwrap_or(&example.path);
            report.say(
                Kind::ExampleFails,
                &shown,
                &file.to_string_lossy(),
                "",
                problem,
            );
        }
    }
    let valid: Vec<&[u8]> = examples
        .iter()
        .filter(|example| example.valid)
        .map(|example| example.payload.as_slice())
        .collect();
    if valid.is_empty() {
        let advice = "has none: put a payload that must pass into examples/valid";
        report.say(Kind::NoExamples, &shown, "", "", advice);
    }
    report.checked.push(Checked {
        name: files.name.clone(),
        version: files.version,
        schema_id: files.schema_id,
        record: contract.record_name.clone(),
        slow_keywords: contract.slow_keywords().to_vec(),
        micros: micros(&contract, &valid),
        invalid: examples.len() - valid.len(),
        valid: valid.len(),
        codes_without_example: missing
            .into_iter()
            .map(contracts::RejectionCode::code)
            .collect(),
    });
    Ok(Some(contract))
}

/// What checking an event takes, in microseconds: the best of many rounds, since other work only adds to it.
fn micros(contract: &Contract, valid: &[&[u8]]) -> Option<f64> {
    let began = Instant::now();
    let mut best: Option<Duration> = None;
    while !valid.is_empty() && began.elapsed() < MEASURED {
        let round = Instant::now();
        for payload in valid {
            std::hint::black_box(contract.check_payload(payload)).ok();
        }
        let took = round.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
    }
    let events = u32::try_from(valid.len()).ok()?;
    let micros = best?.as_secs_f64() * 1e6 / f64::from(events);
    Some((micros * 10.0).round() / 10.0)
}

/// All of them together, as validator and registry load them: what only shows there, such as a schema id that is there twice.
fn whole(files: &[ContractFiles], report: &mut Report) {
    let mut all = files.to_vec();
    if !tree::has_builtin(files) {
        all.extend(Catalog::builtin_files());
    }
    let subjects = Catalog::compile(all)
        .map_err(|error| error.to_string())
        .and_then(|all| {
            registry::subjects(&all, topics::VALIDATED).map_err(|error| error.to_string())
        });
    if let Err(problem) = subjects {
        report.say(Kind::Unusable, "", "", "", problem);
    }
}
