//! Contracts are data: an event type is a folder with its versions, each with `schema.json` (what a payload must be) and `record.avsc` (what
//! consumers get).
//!
//! [`Catalog::compile`] turns both into a plan, once at start, and checks that each version's consumers can read what the one before wrote.

use super::compatibility::check_versions;
use super::contract::Contract;
use include_dir::{Dir, include_dir};
use std::collections::HashMap;

static BUILTIN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/events");

/// A contract that cannot be used. Names the contract and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContractError(pub String);

/// The files of one version of a contract.
#[derive(Debug, Clone)]
pub struct ContractFiles {
    /// The name of its folder
    pub name: String,
    /// The number of its folder `v<N>`
    pub version: u32,
    /// JSON Schema 2020-12, of the payload
    pub schema_json: String,
    /// Avro record; without one it is derived from the schema
    pub record_avsc: Option<String>,
    /// Pinned id for `eventflow registry`
    pub schema_id: Option<i32>,
}

/// All contracts, in all versions.
#[derive(Debug)]
pub struct Catalog {
    contracts: Vec<Contract>,
    /// Indexes by name, the newest version first
    by_name: HashMap<String, Vec<usize>>,
}

impl Catalog {
    /// The files of the built-in contracts.
    #[must_use]
    pub fn builtin_files() -> Vec<ContractFiles> {
        files_in(&BUILTIN)
    }

    /// The built-in contracts.
    ///
    /// # Panics
    /// Never: a test compiles them.
    #[must_use]
    pub fn builtin() -> Self {
        Self::compile(Self::builtin_files())
            .unwrap_or_else(|error| panic!("built-in contracts: {error}"))
    }

    /// Compiles contracts.
    ///
    /// # Errors
    /// [`ContractError`] for a rule that cannot be applied, a schema and record that do not match, or a contract or schema id that appears
    /// twice. It names the contract, the file, the field, the keyword, and what to do.
    pub fn compile(files: impl IntoIterator<Item = ContractFiles>) -> Result<Self, ContractError> {
        let mut contracts: Vec<Contract> = Vec::new();
        for ContractFiles {
            name,
            version,
            schema_json,
            record_avsc,
            schema_id,
        } in files
        {
            let label = format!("{name}.v{version}");
            let bad = |problem: String| ContractError(format!("contract {label}: {problem}"));
            if name.is_empty() || pinned(&name).is_some() {
                return Err(bad(
                    "its folder must have a name that does not end in a version (.v1); versions are the folders in it".to_owned(),
                ));
            }
            if version == 0 {
                return Err(bad("versions begin with 1; name its folder v1".to_owned()));
            }
            if let Some(id) = schema_id
                && let Some(other) = contracts.iter().find(|other| other.schema_id == Some(id))
            {
                return Err(bad(format!(
                    "schema id {id} is used by {} too; give each its own",
                    other.label
                )));
            }
            if contracts.iter().any(|other| other.label == label) {
                return Err(bad("appears twice; remove one of its folders".to_owned()));
            }
            let index = contracts.len();
            let files = ContractFiles {
                name,
                version,
                schema_json,
                record_avsc,
                schema_id,
            };
            contracts.push(Contract::compile(files, index).map_err(bad)?);
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for contract in &contracts {
            let indexes = by_name.entry(contract.name.clone()).or_default();
            indexes.push(contract.index);
            indexes.sort_by_key(|&index| std::cmp::Reverse(contracts[index].version));
        }
        for versions in by_name.values() {
            let oldest_first = versions.iter().rev().map(|index| &contracts[*index]);
            check_versions(oldest_first).map_err(ContractError)?;
        }
        Ok(Self { contracts, by_name })
    }

    /// All contracts in all versions, by their index.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.contracts.iter()
    }

    /// Names these contracts: others have another digest. Hexadecimal, 16 characters.
    #[must_use]
    pub fn digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut contracts: Vec<&Contract> = self.iter().collect();
        contracts.sort_unstable_by_key(|contract| &contract.label);
        let mut digest = Sha256::new();
        for contract in contracts {
            let Contract {
                label,
                schema_json,
                record_avsc,
                ..
            } = contract;
            for text in [label, schema_json, record_avsc] {
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
        hex::encode(&digest.finalize()[..8])
    }

    /// The contract of this name, in its newest version; with `.v<N>` after the name, in that version. `None` when there is none.
    #[must_use]
    pub fn contract(&self, name: &str) -> Option<&Contract> {
        let index = match (self.by_name.get(name), pinned(name)) {
            (Some(versions), _) => versions.first(),
            (None, Some((name, version))) => self
                .by_name
                .get(name)?
                .iter()
                .find(|&&index| self.contracts[index].version == version),
            (None, None) => None,
        };
        index.map(|&index| &self.contracts[index])
    }
}

/// The contracts in a folder that is compiled in: `<name>/v<N>`.
pub(crate) fn files_in(folder: &Dir<'_>) -> Vec<ContractFiles> {
    let versions = folder.dirs().flat_map(Dir::dirs);
    versions
        .map(|version| {
            let part = |component: Option<&std::ffi::OsStr>| {
                component.unwrap_or_default().to_string_lossy().into_owned()
            };
            let path = version.path();
            let text = |name: &str| {
                let file = version.get_file(path.join(name))?;
                file.contents_utf8().map(str::to_owned)
            };
            ContractFiles {
                name: part(path.parent().and_then(std::path::Path::file_name)),
                version: version_of(&part(path.file_name())).unwrap_or_default(),
                schema_json: text("schema.json").unwrap_or_default(),
                record_avsc: text("record.avsc"),
                schema_id: text("schema-id").and_then(|id| id.trim().parse().ok()),
            }
        })
        .collect()
}

/// Name and version of a name that pins a version: `payment.authorized.v1`.
#[must_use]
pub fn pinned(name: &str) -> Option<(&str, u32)> {
    let (name, version) = name.rsplit_once('.')?;
    Some((name, version_of(version)?))
}

/// The number in `v1`, the name of a version's folder.
#[must_use]
pub fn version_of(folder: &str) -> Option<u32> {
    let digits = folder.strip_prefix('v')?;
    let shape = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if shape { digits.parse().ok() } else { None }
}
