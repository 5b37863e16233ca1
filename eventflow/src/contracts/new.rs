//! `eventflow contracts new`: a contract from samples of a vendor's requests.

use super::{Directory, report::counted};
use crate::oncall::line;
use crate::sources::offline::{self, Offline};
use anyhow::{Context, bail, ensure};
use contracts::event::{
    Breaks, Catalog, Contract, ContractFiles, changes, infer, notes_to_do, pinned,
};
use contracts::{Rejection, RejectionCode};
use runtime::config::ConfigError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lower schema ids are left to the built-in contracts.
const FIRST_SCHEMA_ID: i32 = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// The source, as the sources file names it; without a file, a preset
    #[arg(long)]
    source: String,
    /// Files with bodies of its requests, as they were posted. More of them show what may be missing
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// TOML file of sources
    #[arg(long, env = "EVENTFLOW_SOURCES", value_name = "FILE")]
    sources: Option<PathBuf>,
    #[command(flatten)]
    directory: Directory,
    /// File with the headers of the requests, for vendors whose event type is in one; one "name: value" a line
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// The event type of all samples, instead of the one that the source's mapping finds
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// The version to write: 2 is compared with the one before it
    #[arg(long)]
    version: Option<u32>,
    /// Overwrite the version if it is there
    #[arg(long)]
    force: bool,
}

/// One event of a sample.
struct Event {
    /// For the file of its example
    name: String,
    file: PathBuf,
    payload: String,
}

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let directory = config.directory.needed()?;
    if config.version == Some(0) {
        return Err(ConfigError::new("--version", "versions begin with 1".to_owned()).into());
    }
    let by_contract = events(config)?;
    let known = known(directory)?;
    let mut next_id = free_id(&known);
    let mut written = Vec::new();
    for (name, events) in &by_contract {
        let draft = draft(config, name, events, directory, &known, &mut next_id)?;
        written.push(draft);
    }
    // All or nothing: what cannot be used stops it before anything is written.
    for (draft, events) in written.iter().zip(by_contract.values()) {
        draft.write(events)?;
        draft.report(&known);
    }
    let shown = directory.display();
    println!(
        "Examples hold what the samples hold: replace what belongs to real people before you commit them."
    );
    println!("Next: settle what is marked TODO, then run  eventflow contracts check {shown}");
    Ok(())
}

/// The events of all samples, by the name of their contract.
fn events(config: &Config) -> anyhow::Result<BTreeMap<String, Vec<Event>>> {
    let offline = Offline::read_or_preset(config.sources.as_deref(), &config.source)?;
    let source = offline.source(&config.source)?;
    let mapping = offline
        .mappings
        .get(&source.name)
        .context("the source has no mapping")?;
    let request = offline::read_headers(config.headers.as_deref())?;
    let mut by_contract: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for file in &config.from {
        let body = crate::send::read(file)?;
        let records = offline::records(source, &request, &body)?
            .with_context(|| format!("{}: is a handshake, which is no event", file.display()))?;
        let headers = &records.headers[..];
        for value in &records.values {
            let of_file = |rejection: Rejection| {
                anyhow::anyhow!("{}: {}", file.display(), advice(&rejection))
            };
            let opened = offline.mappings.open(&headers, value).map_err(of_file)?;
            let sample = mapping
                .sample(headers, config.event_type.as_deref(), &opened)
                .map_err(of_file)?;
            let event = Event {
                name: unused_name(file, &mut names),
                file: file.clone(),
                payload: sample.payload.to_owned(),
            };
            by_contract
                .entry(sample.contract.into_owned())
                .or_default()
                .push(event);
        }
    }
    Ok(by_contract)
}

fn advice(rejection: &Rejection) -> String {
    let advice = match rejection.code {
        RejectionCode::NoEventType => "; give the request's headers with --headers, or say --type",
        _ => "",
    };
    format!("{rejection}{advice}")
}

/// A name for an example: its file's, and a number where that is taken.
fn unused_name(file: &Path, names: &mut BTreeSet<String>) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem: String = stem
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let mut name = stem.clone();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{stem}-{number}");
    }
    name
}

/// The contracts that are there: the built-in ones, and the directory's, which may not be there yet.
fn known(directory: &Path) -> Result<Vec<ContractFiles>, ConfigError> {
    let mut files = if directory.exists() {
        runtime::files::read_contracts(directory)?
    } else {
        Vec::new()
    };
    if !super::tree::has_builtin(&files) {
        files.extend(Catalog::builtin_files());
    }
    Ok(files)
}

fn free_id(known: &[ContractFiles]) -> i32 {
    let highest = known.iter().filter_map(|one| one.schema_id).max();
    highest.map_or(FIRST_SCHEMA_ID, |id| {
        FIRST_SCHEMA_ID.max(id.saturating_add(1))
    })
}

/// A version that can be written.
struct Draft {
    folder: PathBuf,
    files: ContractFiles,
    contract: Contract,
}

fn draft(
    config: &Config,
    name: &str,
    events: &[Event],
    directory: &Path,
    known: &[ContractFiles],
    next_id: &mut i32,
) -> anyhow::Result<Draft> {
    let (name, version) = pinned(name).unwrap_or((name, 1));
    let version = config.version.unwrap_or(version);
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain),
        "a contract cannot be called {name:?}, which is the name of its folder: say --type, or change contract in the source's mapping"
    );
    let folder = directory.join(name).join(format!("v{version}"));
    let there = known
        .iter()
        .find(|one| one.name == name && one.version == version);
    ensure!(
        there.is_none() || folder.exists(),
        "{name}/v{version} is built in: say --version for a further one"
    );
    if folder.exists() && !config.force {
        let newest = known
            .iter()
            .filter(|one| one.name == name)
            .map(|one| one.version)
            .max();
        bail!(
            "{name}/v{version} is there: say --version {} for a new version, or --force to overwrite it",
            newest.unwrap_or(version) + 1
        );
    }
    let payloads: Vec<&str> = events.iter().map(|event| event.payload.as_str()).collect();
    let of_samples = || format!("{} for {name}", counted(events.len(), "sample"));
    let schema_json = infer(name, &payloads)
        .map_err(anyhow::Error::msg)
        .with_context(of_samples)?;
    let schema_id = there.and_then(|one| one.schema_id).unwrap_or_else(|| {
        *next_id += 1;
        *next_id - 1
    });
    let files = ContractFiles {
        name: name.to_owned(),
        version,
        schema_json,
        record_avsc: None,
        schema_id: Some(schema_id),
    };
    let contract = Contract::alone(files.clone())?;
    for event in events {
        contract
            .check_payload(event.payload.as_bytes())
            .map_err(|rejection| {
                let at = rejection.pointer.as_deref().unwrap_or_default();
                anyhow::anyhow!(
                    "{}: no contract can take it: {rejection}, at {at:?}",
                    event.file.display()
                )
            })?;
    }
    Ok(Draft {
        folder,
        files,
        contract,
    })
}

impl Draft {
    fn write(&self, events: &[Event]) -> anyhow::Result<()> {
        let schema_id = self.files.schema_id.unwrap_or_default();
        self.put("schema.json", &self.files.schema_json)?;
        self.put("schema-id", &format!("{schema_id}\n"))?;
        // One that was written would be another than the schema's own.
        let record = self.folder.join("record.avsc");
        if record.exists() {
            std::fs::remove_file(&record)
                .with_context(|| format!("cannot remove {}", record.display()))?;
        }
        for event in events {
            let text = contracts::json::pretty(&event.payload);
            self.put(&format!("examples/valid/{}.json", event.name), &text)?;
        }
        if let Some((name, payload)) = events.first().and_then(|event| self.without_a_field(event))
        {
            self.put(
                &format!("examples/invalid/missing_field--{name}.json"),
                &payload,
            )?;
        }
        Ok(())
    }

    fn put(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
        Ok(())
    }

    /// The first example for what must be refused: a payload without a field that is required.
    fn without_a_field(&self, event: &Event) -> Option<(String, String)> {
        let mut payload: serde_json::Value = serde_json::from_str(&event.payload).ok()?;
        let members = payload.as_object_mut()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = self.contract.describe().into_iter().find_map(|field| {
            let name = field.pointer.strip_prefix('/')?.to_owned();
            (field.required && !name.is_empty() && name.chars().all(plain)).then_some(name)
        })?;
        members.remove(&name)?;
        let text = format!("{}\n", serde_json::to_string_pretty(&payload).ok()?);
        let refused = self.contract.check_payload(text.as_bytes()).err()?;
        (refused.code == RejectionCode::MissingField).then_some((name, text))
    }

    fn report(&self, known: &[ContractFiles]) {
        let Contract { name, version, .. } = &self.contract;
        for (pointer, note) in notes_to_do(&self.files.schema_json) {
            // What it quotes is the vendor's.
            println!(
                "{}",
                line(&format!("{name}/v{version} schema.json {pointer}: {note}"))
            );
        }
        if !self.contract.slow_keywords().is_empty() {
            println!(
                "{name}/v{version}: jsonschema judges {}; every event of it costs several times as much: remove what you do not need",
                self.contract.slow_keywords().join(", ")
            );
        }
        println!("consumers read: eventflow contracts show {name}/v{version} --avro");
        let before = known
            .iter()
            .filter(|one| one.name == *name && one.version < *version);
        let Some(before) = before.max_by_key(|one| one.version) else {
            return;
        };
        let Ok(old) = Contract::alone(before.clone()) else {
            return;
        };
        println!("compared with v{}:", old.version);
        let found = changes(&old, &self.contract);
        for change in &found {
            println!("  {}", line(&change.to_string()));
        }
        if found.iter().all(|change| change.breaks == Breaks::Nobody) {
            println!("  nothing breaks");
        }
    }
}
