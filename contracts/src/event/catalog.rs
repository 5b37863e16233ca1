//! Contracts are data: an event type is a folder with `schema.json` (what a vendor must send) and `record.avsc` (what consumers get).
//!
//! [`Catalog::compile`] turns both into one flat plan, once at start; [`Catalog::validate`] then reads a body in one pass into a slot
//! a field, checks the rules, and [`Validated::encode`] writes the Avro. No tree is built and no float is touched.

use crate::event::plan::{self, Plan, Slot};
use crate::{Rejection, RejectionCode};
use include_dir::{Dir, include_dir};
use std::collections::HashMap;

static BUILTIN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/events");

/// A contract that cannot be used. Names the event type and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContractError(pub String);

/// The files of one event type.
#[derive(Debug, Clone)]
pub struct ContractFiles {
    /// The folder's name
    pub event_type: String,
    /// JSON Schema 2020-12
    pub schema_json: String,
    /// Avro record
    pub record_avsc: String,
    /// Pinned id for `eventflow registry`
    pub schema_id: Option<i32>,
}

/// One event type, compiled.
#[derive(Debug)]
pub struct Contract {
    /// What an envelope's `event_type` must be to be checked against it
    pub event_type: String,
    /// JSON Schema as written
    pub schema_json: String,
    /// Avro record as written
    pub record_avsc: String,
    /// The Avro record's full name
    pub record_name: String,
    /// Pinned id
    pub schema_id: Option<i32>,
    plan: Plan,
}

/// All event types.
#[derive(Debug)]
pub struct Catalog {
    by_type: HashMap<String, Contract>,
}

/// A body that satisfies its contract.
#[derive(Debug)]
pub struct Validated<'a> {
    contract: &'a Contract,
    slots: Vec<Slot<'a>>,
}

impl<'a> Validated<'a> {
    /// The contract it satisfies.
    #[must_use]
    pub fn contract(&self) -> &'a Contract {
        self.contract
    }

    /// The envelope's `event_id`, verbatim.
    #[must_use]
    pub fn event_id(&self) -> &str {
        match &self.slots[self.contract.plan.event_id] {
            Slot::Text(text) => text,
            Slot::Missing
            | Slot::Number(_)
            | Slot::Boolean(_)
            | Slot::BrokenText
            | Slot::Other
            | Slot::Long(_)
            | Slot::Decimal(_) => "",
        }
    }

    /// Appends the Avro datum, without a frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.contract.plan.encode(&self.slots, out);
    }
}

impl Catalog {
    /// The files of the built-in event types.
    ///
    /// # Panics
    /// Never: they are compiled in, and a test reads them.
    #[must_use]
    pub fn builtin_files() -> Vec<ContractFiles> {
        let text = |path: std::path::PathBuf| {
            BUILTIN
                .get_file(path)
                .and_then(|file| file.contents_utf8())
                .map(str::to_owned)
        };
        BUILTIN
            .dirs()
            .map(|folder| ContractFiles {
                event_type: folder.path().to_string_lossy().into_owned(),
                schema_json: text(folder.path().join("schema.json")).unwrap_or_default(),
                record_avsc: text(folder.path().join("record.avsc")).unwrap_or_default(),
                schema_id: text(folder.path().join("schema-id"))
                    .and_then(|id| id.trim().parse().ok()),
            })
            .collect()
    }

    /// The built-in event types.
    ///
    /// # Panics
    /// Never: a test compiles them.
    #[must_use]
    pub fn builtin() -> Self {
        Self::compile(Self::builtin_files())
            .unwrap_or_else(|error| panic!("built-in contracts: {error}"))
    }

    /// Compiles event types.
    ///
    /// # Errors
    /// [`ContractError`] for an unknown keyword, a schema and record that do not match, or an event type or schema id that appears twice.
    pub fn compile(files: impl IntoIterator<Item = ContractFiles>) -> Result<Self, ContractError> {
        let mut by_type: HashMap<String, Contract> = HashMap::new();
        for files in files {
            let event_type = files.event_type.clone();
            let bad = |problem: String| ContractError(format!("contract {event_type}: {problem}"));
            let (plan, record_name) =
                plan::compile(&files.event_type, &files.schema_json, &files.record_avsc)
                    .map_err(bad)?;
            if let Some(id) = files.schema_id
                && let Some(other) = by_type.values().find(|other| other.schema_id == Some(id))
            {
                return Err(bad(format!(
                    "schema id {id} is used by {} too; give each its own",
                    other.event_type
                )));
            }
            let ContractFiles {
                event_type: name,
                schema_json,
                record_avsc,
                schema_id,
            } = files;
            let contract = Contract {
                event_type: name.clone(),
                schema_json,
                record_avsc,
                record_name,
                schema_id,
                plan,
            };
            if by_type.insert(name, contract).is_some() {
                return Err(bad("appears twice; remove one of its folders".to_owned()));
            }
        }
        Ok(Self { by_type })
    }

    /// All event types, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.by_type.values()
    }

    /// The contract of an event type; `None` when there is none.
    #[must_use]
    pub fn get(&self, event_type: &str) -> Option<&Contract> {
        self.by_type.get(event_type)
    }

    /// Checks a body against the contract its `event_type` names.
    ///
    /// # Errors
    /// The first rule it breaks: syntax first, then the envelope, then the payload in the schema's order.
    pub fn validate<'a>(&'a self, body: &'a [u8]) -> Result<Validated<'a>, Rejection> {
        if body.is_empty() {
            return Err(Rejection::new(
                RejectionCode::EmptyBody,
                None,
                "the record has no value",
            ));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            Rejection::new(
                RejectionCode::NotUtf8,
                None,
                format!("byte {} is not UTF-8", error.valid_up_to()),
            )
        })?;
        crate::json::check_depth(body)?;
        let Some(contract) =
            plan::sniff_event_type(text).and_then(|event_type| self.by_type.get(&*event_type))
        else {
            let event_type = plan::event_type(text)?;
            let shown: String = event_type.chars().take(100).collect();
            let detail = format!("no contract for {shown:?}");
            return Err(Rejection::new(
                RejectionCode::UnknownEventType,
                Some("/event_type".to_owned()),
                detail,
            ));
        };
        let slots = contract.plan.read(text)?;
        Ok(Validated { contract, slots })
    }
}

/// Whether consumers of `new` can read what was written with `old`: what a changed contract must keep.
///
/// # Errors
/// What breaks.
pub fn backward_compatible(old_avsc: &str, new_avsc: &str) -> Result<(), String> {
    use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};
    let parse = |text: &str| Schema::parse_str(text).map_err(|error| error.to_string());
    SchemaCompatibility::can_read(&parse(old_avsc)?, &parse(new_avsc)?)
        .map(drop)
        .map_err(|error| error.to_string())
}
