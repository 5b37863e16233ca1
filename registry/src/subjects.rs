//! The registry's data: subjects, their versions, and the pinned ids.

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use contracts::event::{Catalog, Contract};
use runtime::config::ConfigError;
use std::collections::BTreeMap;

/// One record name on one topic. Its versions are numbered from 1, in the order of their ids; there is at least one.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(crate) name: String,
    pub(crate) versions: Vec<Version>,
}

/// One schema of a subject.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) id: i32,
    /// As written in the contract
    pub(crate) avsc: String,
    pub(crate) schema: Parsed,
}

/// A schema, and its canonical form: equal however the text is written.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    schema: Schema,
    canonical: String,
}

impl Parsed {
    /// Reads Avro's JSON.
    pub(crate) fn new(avsc: &str) -> Result<Self, String> {
        let schema = Schema::parse_str(avsc).map_err(|error| error.to_string())?;
        // Parsing Canonical Form strips logical types and defaults, and both matter here: the whole parsed schema is compared.
        let canonical = serde_json::to_string(&schema).map_err(|error| error.to_string())?;
        Ok(Self { schema, canonical })
    }

    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// Backward compatible: consumers of this schema can read what was written with `old`.
    pub(crate) fn can_read(&self, old: &Self) -> Result<(), String> {
        SchemaCompatibility::can_read(&old.schema, &self.schema)
            .map(drop)
            .map_err(|error| {
                let mut sentence = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(inner) = cause {
                    sentence = format!("{sentence}: {inner}");
                    cause = inner.source();
                }
                sentence
            })
    }
}

/// The subjects of these contracts on a topic, by name. Contracts that share a record name are versions of one subject.
///
/// # Errors
/// A contract without a pinned id, with an id below 1, or that cannot read its subject's version before it.
pub fn subjects(contracts: &Catalog, topic: &str) -> Result<Vec<Subject>, ConfigError> {
    let mut by_id: Vec<&Contract> = contracts.iter().collect();
    by_id.sort_by_key(|contract| contract.schema_id);
    let mut subjects: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for contract in by_id {
        let bad = |problem: String| {
            ConfigError::new(
                "--contracts",
                format!("contract {}: {problem}", contract.event_type),
            )
        };
        let id = contract.schema_id.ok_or_else(|| {
            bad("has no pinned schema id; put a number that no other contract has into the file schema-id of its folder"
                .to_owned())
        })?;
        if id < 1 {
            return Err(bad(format!(
                "its schema id is {id}; write one of 1 or more into its file schema-id"
            )));
        }
        let schema = Parsed::new(&contract.record_avsc)
            .map_err(|problem| bad(format!("record.avsc is not Avro: {problem}")))?;
        let versions = subjects
            .entry(format!("{topic}-{}", contract.record_name))
            .or_default();
        if let Some(before) = versions.last() {
            schema.can_read(&before.schema).map_err(|why| {
                bad(format!("cannot read what was written with schema {}: {why}; keep it backward compatible or give the record another name", before.id))
            })?;
        }
        versions.push(Version {
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
