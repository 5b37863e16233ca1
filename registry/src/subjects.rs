//! The registry's data: subjects, their versions, and the pinned ids.

use contracts::event::{AvroSchema, Catalog, Contract};
use runtime::config::ConfigError;
use std::collections::BTreeMap;

/// One record name on one topic, in the versions of its contract; there is at least one.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(crate) name: String,
    /// The oldest first
    pub(crate) versions: Vec<Version>,
}

/// One schema of a subject.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// The contract's
    pub(crate) number: u32,
    pub(crate) id: i32,
    /// The contract's record
    pub(crate) avsc: String,
    pub(crate) schema: AvroSchema,
}

/// The subjects of these contracts on a topic, by name. The versions of a contract are those of its subject.
///
/// # Errors
/// A contract without a pinned id, with an id below 1, or with the record name of another contract.
pub fn subjects(contracts: &Catalog, topic: &str) -> Result<Vec<Subject>, ConfigError> {
    let mut oldest_first: Vec<&Contract> = contracts.iter().collect();
    oldest_first.sort_by_key(|contract| contract.version);
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut subjects: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for contract in oldest_first {
        let bad = |problem: String| {
            let problem = format!("contract {}: {problem}", contract.label);
            ConfigError::new("--contracts", problem)
        };
        let owner = owners
            .entry(&contract.record_name)
            .or_insert(&contract.name);
        if *owner != contract.name {
            return Err(bad(format!(
                "its record {} is that of contract {owner} too; give it another name in record.avsc",
                contract.record_name
            )));
        }
        let id = contract.schema_id.ok_or_else(|| {
            bad("has no pinned schema id; put a number that no other contract has into the file schema-id of its folder"
                .to_owned())
        })?;
        if id < 1 {
            return Err(bad(format!(
                "its schema id is {id}; write one of 1 or more into its file schema-id"
            )));
        }
        let schema = AvroSchema::new(&contract.record_avsc)
            .map_err(|problem| bad(format!("its record is not Avro: {problem}")))?;
        subjects
            .entry(format!("{topic}-{}", contract.record_name))
            .or_default()
            .push(Version {
                number: contract.version,
                id,
                avsc: contract.record_avsc.clone(),
                schema,
            });
    }
    Ok(subjects
        .into_iter()
        .map(|(name, versions)| Subject { name, versions })
        .collect())
}
