//! Whether consumers with one record can read what was written with another.

use super::changes::record_changes;
use super::contract::Contract;
use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use std::error::Error;

/// An Avro schema, and its whole text in one form: equal however it was written.
#[derive(Debug, Clone)]
pub struct AvroSchema {
    schema: Schema,
    canonical: String,
}

impl AvroSchema {
    /// Reads Avro's JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(avsc: &str) -> Result<Self, String> {
        let schema = Schema::parse_str(avsc).map_err(|error| error.to_string())?;
        // Parsing Canonical Form strips logical types and defaults, and both matter here: the whole parsed schema is compared.
        let canonical = serde_json::to_string(&schema).map_err(|error| error.to_string())?;
        Ok(Self { schema, canonical })
    }

    /// It is the same schema.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// Backward compatible: consumers of this schema can read what was written with `old`.
    ///
    /// # Errors
    /// What breaks.
    pub fn can_read(&self, old: &Self) -> Result<(), String> {
        can_read(&old.schema, &self.schema)
    }
}

/// Whether consumers of `new` can read what was written with `old`: what a changed contract must keep.
///
/// # Errors
/// What breaks.
pub fn backward_compatible(old_avsc: &str, new_avsc: &str) -> Result<(), String> {
    AvroSchema::new(new_avsc)?.can_read(&AvroSchema::new(old_avsc)?)
}

/// Whether consumers with the schema `reader` can read what was written with `writer`.
///
/// # Errors
/// What breaks.
pub fn can_read(writer: &Schema, reader: &Schema) -> Result<(), String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => Ok(()),
        // What some values can be read with is not what all can.
        Ok(Compatibility::Partial) => Err(
            "some of what was written cannot be read: a value that may be null, a symbol of an enum, or a type of a union is missing"
                .to_owned(),
        ),
        Err(error) => {
            let mut sentence = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                sentence = format!("{sentence}: {inner}");
                cause = inner.source();
            }
            Err(sentence)
        }
    }
}

/// Each version's consumers can read what the version before it wrote; given the oldest first.
///
/// # Errors
/// Which version breaks what, and what to do.
pub(super) fn check_versions<'c>(
    versions: impl Iterator<Item = &'c Contract>,
) -> Result<(), String> {
    let mut before: Option<&Contract> = None;
    for contract in versions {
        if let Some(old) = before {
            let bad = |problem: String| Err(format!("contract {}: {problem}", contract.label));
            if old.record_name != contract.record_name {
                return bad(format!(
                    "its record is {}, that of {} is {}; versions of a contract have one record name, so that they are one subject in the registry",
                    contract.record_name, old.label, old.record_name
                ));
            }
            let broken: Vec<String> = record_changes(&old.record_avsc, &contract.record_avsc)
                .into_iter()
                .filter(|change| change.breaks.backward())
                .map(|change| format!("{} {}", change.pointer, change.detail))
                .collect();
            if !broken.is_empty() {
                return bad(format!(
                    "consumers that read it cannot read what {} wrote: {}; add fields as optional ones, and change no type (or begin a contract with another name)",
                    old.label,
                    broken.join(", ")
                ));
            }
        }
        before = Some(contract);
    }
    Ok(())
}
