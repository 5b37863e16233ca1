//! `eventflow contracts diff`: what changed, and whom it breaks.

use super::{Directory, show, tree};
use contracts::event::{Change, Contract, ContractFiles, changes, version_of};
use runtime::config::ConfigError;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// A folder (of a version, or of contracts), NAME/vN, or a git ref
    old: String,
    /// The same of what is newer
    new: String,
    #[command(flatten)]
    directory: Directory,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
}

/// Two versions that are compared.
struct Pair {
    old: String,
    new: String,
    changes: Vec<Change>,
}

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let old = side(&config.old, config).await?;
    let new = side(&config.new, config).await?;
    let (pairs, only) = match (old.as_slice(), new.as_slice()) {
        ([old], [new]) => (vec![pair(old, new)], Vec::new()),
        (old, new) => pairs(old, new),
    };
    if config.json {
        let pairs: Vec<_> = pairs.iter().map(json).collect();
        println!("{}", serde_json::to_string_pretty(&pairs)?);
        return Ok(());
    }
    for pair in &pairs {
        println!("{} -> {}", pair.old, pair.new);
        for change in &pair.changes {
            println!("  {}", crate::oncall::line(&change.to_string()));
        }
        if pair.changes.is_empty() {
            println!("  the same");
        }
    }
    for line in &only {
        println!("{line}");
    }
    if pairs.is_empty() && only.is_empty() {
        println!("the same");
    }
    Ok(())
}

fn json(pair: &Pair) -> serde_json::Value {
    let changes: Vec<_> = pair
        .changes
        .iter()
        .map(|change| {
            serde_json::json!({
                "file": change.file,
                "pointer": change.pointer,
                "detail": change.detail,
                "breaks": change.breaks.name(),
            })
        })
        .collect();
    serde_json::json!({"old": pair.old, "new": pair.new, "changes": changes})
}

fn label(contract: &Contract) -> String {
    format!("{}/v{}", contract.name, contract.version)
}

fn pair(old: &Contract, new: &Contract) -> Pair {
    Pair {
        old: label(old),
        new: label(new),
        changes: changes(old, new),
    }
}

/// The versions of both sides that changed; a version that only one side has, with the one before it on the other.
fn pairs(old: &[Contract], new: &[Contract]) -> (Vec<Pair>, Vec<String>) {
    let (mut pairs, mut only) = (Vec::new(), Vec::new());
    for now in new {
        let earlier = old
            .iter()
            .filter(|one| one.name == now.name && one.version <= now.version);
        match earlier.max_by_key(|one| one.version) {
            Some(before) => {
                let pair = pair(before, now);
                if !pair.changes.is_empty() || before.version != now.version {
                    pairs.push(pair);
                }
            }
            None => only.push(format!("{} is new", label(now))),
        }
    }
    for before in old {
        let is_there = |now: &Contract| (&now.name, now.version) == (&before.name, before.version);
        if !new.iter().any(is_there) {
            only.push(format!("{} is gone", label(before)));
        }
    }
    (pairs, only)
}

/// The versions that an argument names.
async fn side(argument: &str, config: &Config) -> anyhow::Result<Vec<Contract>> {
    let path = Path::new(argument);
    if path.join("schema.json").is_file() {
        return Ok(vec![compile(one_version(path)?)?]);
    }
    if path.is_dir() {
        return all(runtime::files::read_contracts(path)?);
    }
    let version = argument.rsplit(['/', '.']).next().unwrap_or_default();
    if version_of(version).is_some() {
        let catalog = config.directory.catalog()?;
        match show::find(&catalog, argument) {
            Ok(found) => return Ok(vec![compile(files_of(found))?]),
            // A branch may be called so, too.
            Err(problem) if config.directory.path.is_none() => {
                return Err(ConfigError::new("OLD, NEW", problem).into());
            }
            Err(_) => {}
        }
    }
    let directory = config.directory.needed()?;
    all(tree::of_commit(directory, argument).await?)
}

fn files_of(contract: &Contract) -> ContractFiles {
    ContractFiles {
        name: contract.name.clone(),
        version: contract.version,
        schema_json: contract.schema_json.clone(),
        record_avsc: Some(contract.record_avsc.clone()),
        schema_id: contract.schema_id,
    }
}

fn compile(files: ContractFiles) -> Result<Contract, ConfigError> {
    Contract::alone(files).map_err(|error| ConfigError::new("OLD, NEW", error.to_string()))
}

fn all(files: Vec<ContractFiles>) -> anyhow::Result<Vec<Contract>> {
    Ok(files.into_iter().map(compile).collect::<Result<_, _>>()?)
}

/// A folder `<name>/v<N>`.
fn one_version(folder: &Path) -> anyhow::Result<ContractFiles> {
    let bad = |problem: String| ConfigError::new("OLD, NEW", problem);
    let folder = folder
        .canonicalize()
        .map_err(|error| bad(format!("{}: {error}", folder.display())))?;
    let directory = folder.parent().and_then(Path::parent);
    let files = directory.map(runtime::files::read_contracts).transpose()?;
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned())
    };
    let (wanted, version) = (name(folder.parent()), name(Some(&folder)));
    let version = version.as_deref().and_then(version_of);
    let found = files
        .into_iter()
        .flatten()
        .find(|one| wanted.as_ref() == Some(&one.name) && version == Some(one.version));
    found.ok_or_else(|| bad(format!("{} is no folder NAME/vN", folder.display())).into())
}
