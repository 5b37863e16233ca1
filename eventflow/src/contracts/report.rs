//! What a check found, for people and as JSON. The JSON's members and the codes stay as they are.

use contracts::event::{Breaks, Change};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What kind of thing was found. Its code does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unusable,
    NoSchemaId,
    ExampleFails,
    Incompatible,
    ChangedInPlace,
    VersionRemoved,
    Undecided,
    NoExamples,
    ToDo,
}

impl Kind {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Unusable => "unusable",
            Self::NoSchemaId => "no_schema_id",
            Self::ExampleFails => "example_fails",
            Self::Incompatible => "incompatible",
            Self::ChangedInPlace => "changed_in_place",
            Self::VersionRemoved => "version_removed",
            Self::Undecided => "undecided",
            Self::NoExamples => "no_examples",
            Self::ToDo => "to_do",
        }
    }

    fn is_error(self) -> bool {
        match self {
            Self::Unusable
            | Self::NoSchemaId
            | Self::ExampleFails
            | Self::Incompatible
            | Self::ChangedInPlace
            | Self::VersionRemoved => true,
            Self::Undecided | Self::NoExamples | Self::ToDo => false,
        }
    }
}

/// One thing that was found.
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// Name and version; empty where it is of all
    pub(super) contract: String,
    /// In the contract's folder
    pub(super) file: String,
    pub(super) pointer: String,
    pub(super) detail: String,
    pub(super) breaks: Option<Breaks>,
}

/// One contract that can be used.
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) schema_id: Option<i32>,
    pub(super) record: String,
    pub(super) slow_keywords: Vec<String>,
    /// What checking one event takes on this machine, measured with the valid examples
    pub(super) micros: Option<f64>,
    pub(super) valid: usize,
    pub(super) invalid: usize,
    pub(super) codes_without_example: Vec<&'static str>,
}

#[derive(Default)]
pub(super) struct Report {
    pub(super) checked: Vec<Checked>,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn say(
        &mut self,
        kind: Kind,
        contract: &str,
        file: &str,
        pointer: &str,
        detail: impl Into<String>,
    ) {
        self.findings.push(Finding {
            kind,
            contract: contract.to_owned(),
            file: file.to_owned(),
            pointer: pointer.to_owned(),
            detail: detail.into(),
            breaks: None,
        });
    }

    /// A change that may not be; `why` says against what.
    pub(super) fn say_change(&mut self, kind: Kind, contract: &str, change: Change, why: &str) {
        self.findings.push(Finding {
            kind,
            contract: contract.to_owned(),
            file: change.file.to_owned(),
            pointer: change.pointer,
            detail: format!("{}{why}", change.detail),
            breaks: Some(change.breaks),
        });
    }

    pub(super) fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|one| one.kind.is_error())
            .count()
    }

    fn warnings(&self) -> usize {
        self.findings.len() - self.errors()
    }

    pub(super) fn json(
        &self,
        directory: &str,
        against: Option<&str>,
        compatibility: &str,
    ) -> Value {
        let contracts: Vec<Value> = self.checked.iter().map(Checked::json).collect();
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        json!({
            "directory": directory,
            "against": against,
            "compatibility": compatibility,
            "contracts": contracts,
            "findings": findings,
            "errors": self.errors(),
            "warnings": self.warnings(),
        })
    }

    /// The contracts as a table, what they cost and lack, then what was found, contract by contract, errors first.
    pub(super) fn print(&self) {
        let mut rows =
            crate::oncall::TextTable::new(&["CONTRACT", "SCHEMA ID", "COST", "EXAMPLES"]);
        for one in &self.checked {
            rows.add(&[
                one.label(),
                one.schema_id.map(|id| id.to_string()).unwrap_or_default(),
                one.cost(),
                format!("{} valid, {} invalid", one.valid, one.invalid),
            ]);
        }
        print!("{rows}");
        for one in &self.checked {
            if !one.slow_keywords.is_empty() {
                println!(
                    "{}: jsonschema judges {}; every event of it costs several times as much",
                    one.label(),
                    one.slow_keywords.join(", ")
                );
            }
            if !one.codes_without_example.is_empty() && one.invalid > 0 {
                println!(
                    "{}: no example for {}",
                    one.label(),
                    one.codes_without_example.join(", ")
                );
            }
        }
        let mut by_contract: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for one in &self.findings {
            by_contract.entry(&one.contract).or_default().push(one);
        }
        for mut found in by_contract.into_values() {
            found.sort_by_key(|one| !one.kind.is_error());
            for one in found {
                println!("{}", crate::oncall::line(&one.line()));
            }
        }
        println!(
            "{}, {}, {}",
            counted(self.checked.len(), "contract"),
            counted(self.errors(), "error"),
            counted(self.warnings(), "warning")
        );
    }
}

pub(super) fn counted(count: usize, what: &str) -> String {
    let more = if count == 1 { "" } else { "s" };
    format!("{count} {what}{more}")
}

impl Checked {
    fn label(&self) -> String {
        format!("{}/v{}", self.name, self.version)
    }

    fn cost(&self) -> String {
        let class = if self.slow_keywords.is_empty() {
            "fast"
        } else {
            "slow"
        };
        match self.micros {
            Some(micros) => format!("{class}, {micros:.1} µs"),
            None => class.to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "version": self.version,
            "schema_id": self.schema_id,
            "record": self.record,
            "cost": if self.slow_keywords.is_empty() { "fast" } else { "slow" },
            "slow_keywords": self.slow_keywords,
            "micros_per_event": self.micros,
            "examples": {"valid": self.valid, "invalid": self.invalid},
            "codes_without_example": self.codes_without_example,
        })
    }
}

impl Finding {
    fn level(&self) -> &'static str {
        if self.kind.is_error() {
            "error"
        } else {
            "warning"
        }
    }

    fn line(&self) -> String {
        let mut at = [self.contract.as_str(), self.file.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        if !self.pointer.is_empty() {
            at = format!("{at} {}", self.pointer);
        }
        let breaks = match self.breaks {
            Some(Breaks::Both) => ", breaks backward and forward",
            Some(Breaks::Backward) => ", breaks backward",
            Some(Breaks::Forward) => ", breaks forward",
            Some(Breaks::Nobody | Breaks::Undecided) | None => "",
        };
        let separator = if at.is_empty() { "" } else { ": " };
        format!(
            "{} {}{breaks}: {at}{separator}{}",
            self.level(),
            self.kind.code(),
            self.detail
        )
    }

    fn json(&self) -> Value {
        json!({
            "level": self.level(),
            "code": self.kind.code(),
            "contract": self.contract,
            "file": self.file,
            "pointer": self.pointer,
            "detail": self.detail,
            "breaks": self.breaks.map(Breaks::name),
        })
    }
}
