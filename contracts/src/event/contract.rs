//! One version of a contract: what a payload must be, and what is written of an event.

use super::catalog::{ContractError, ContractFiles};
use super::mapping::Envelope;
use super::plan::{self, Compiled, DeclaredField, Judge, Plan, Satisfied};
use crate::avro::datum::{push_bytes, push_long};
use crate::{Rejection, RejectionCode};

/// One version of a contract, compiled.
#[derive(Debug)]
pub struct Contract {
    /// What sources call it
    pub name: String,
    /// From 1 on
    pub version: u32,
    /// Name and version: `payment.authorized.v1`
    pub label: String,
    /// Its place among the contracts of its catalog, from 0 on
    pub index: usize,
    /// JSON Schema as written
    pub schema_json: String,
    /// Avro record, written or derived, with the roles of its fields as attributes
    pub record_avsc: String,
    /// The Avro record's full name
    pub record_name: String,
    /// Pinned id
    pub schema_id: Option<i32>,
    plan: Plan,
    judge: Option<Judge>,
    slow_keywords: Vec<String>,
}

/// An event that satisfies its contract.
#[derive(Debug)]
pub struct Validated<'a> {
    contract: &'a Contract,
    envelope: Envelope<'a>,
    payload: Satisfied<'a>,
}

impl<'a> Validated<'a> {
    /// The contract it satisfies.
    #[must_use]
    pub fn contract(&self) -> &'a Contract {
        self.contract
    }

    /// What its source's mapping found.
    #[must_use]
    pub fn envelope(&self) -> &Envelope<'a> {
        &self.envelope
    }

    /// What the contract does not declare: the text of one JSON object from pointer to value; `None` when there is nothing.
    #[must_use]
    pub fn rest(&self) -> Option<&str> {
        self.payload.rest.as_deref()
    }

    /// Appends the Avro datum, without a frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        push_bytes(self.envelope.id.as_bytes(), out);
        push_bytes(self.envelope.event_type.as_bytes(), out);
        push_long(self.envelope.time_micros, out);
        self.contract.plan.encode(&self.payload, out);
        match &self.payload.rest {
            None => push_long(0, out),
            Some(rest) => {
                push_long(1, out);
                push_bytes(rest.as_bytes(), out);
            }
        }
    }
}

impl Contract {
    /// Compiles its files. Its place in a catalog is `index`.
    ///
    /// # Errors
    /// The file, the field, the keyword, and what to do.
    pub(super) fn compile(files: ContractFiles, index: usize) -> Result<Self, String> {
        let ContractFiles {
            name,
            version,
            schema_json,
            record_avsc,
            schema_id,
        } = files;
        let Compiled {
            plan,
            judge,
            slow_keywords,
            record_name,
            record_avsc,
        } = plan::compile(&name, &schema_json, record_avsc.as_deref())?;
        Ok(Self {
            label: format!("{name}.v{version}"),
            name,
            version,
            index,
            schema_json,
            record_avsc,
            record_name,
            schema_id,
            plan,
            judge,
            slow_keywords,
        })
    }

    /// Compiles one version of a contract alone.
    ///
    /// # Errors
    /// As [`Catalog::compile`](super::Catalog::compile), of what one version's files can tell.
    pub fn alone(files: ContractFiles) -> Result<Self, ContractError> {
        let label = format!("{}.v{}", files.name, files.version);
        Self::compile(files, 0)
            .map_err(|problem| ContractError(format!("contract {label}: {problem}")))
    }

    /// Keywords that the crate jsonschema judges, each with its pointer: events of this contract take longer. None of most contracts.
    #[must_use]
    pub fn slow_keywords(&self) -> &[String] {
        &self.slow_keywords
    }

    /// The payload's own fields that it declares, in the order of `schema.json`.
    pub fn fields(&self) -> impl Iterator<Item = DeclaredField<'_>> {
        self.plan.fields()
    }

    /// Whether an event of it can have an amount, which is then the row's.
    #[must_use]
    pub fn has_amount(&self) -> bool {
        self.plan.has_amount()
    }

    /// Checks an event against it.
    ///
    /// # Errors
    /// `unsupported_schema_version`, or the first rule the payload breaks: what cannot be read first (a field that is there twice), then in the
    /// order of the fields in `schema.json`, then fields that it does not allow, then what jsonschema judges. Pointers are of the body.
    pub fn validate<'a>(&'a self, envelope: Envelope<'a>) -> Result<Validated<'a>, Rejection> {
        if let Some(version) = &envelope.version
            && version.parse() != Ok(self.version)
        {
            let shown: String = version.chars().take(40).collect();
            return Err(Rejection::new(
                RejectionCode::UnsupportedSchemaVersion,
                envelope.version_at.pointers().next(),
                format!(
                    "schema version is {shown:?}; contract {} has {}",
                    self.label, self.version
                ),
            ));
        }
        // The whole body has no pointer.
        let of_body = |rejection: Rejection| Rejection {
            pointer: rejection.pointer.filter(|pointer| !pointer.is_empty()),
            ..rejection
        };
        let (text, at) = (envelope.payload, envelope.payload_at);
        let payload = self.plan.check(text, at).map_err(of_body)?;
        if let Some(judge) = &self.judge {
            judge.check(&self.plan, text, at).map_err(of_body)?;
        }
        Ok(Validated {
            contract: self,
            envelope,
            payload,
        })
    }
}
