//! Events made of contracts' examples: each in the envelope that the source's preset shows.

use anyhow::Context;
use contracts::webhook::draft::{Draft, Place};
use contracts::webhook::preset;
use contracts::webhook::scheme::TimestampFormat;
use contracts::webhook::source::Source;
use std::path::{Path, PathBuf};

/// A valid payload of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractExample {
    /// The contract's name
    pub contract: String,
    /// JSON
    pub payload: String,
}

/// What events are made of, besides the presets' examples.
#[derive(Debug, Default)]
pub struct Examples {
    /// Whole requests, by the source that posts them
    pub requests: Vec<(String, Draft)>,
    /// Payloads, for whichever source has the contract
    pub payloads: Vec<ContractExample>,
}

impl Examples {
    /// Those of a source: its requests; else what its contracts' payloads make in its preset's envelope; else its preset's own.
    pub(super) fn of(&self, source: &Source) -> Vec<Draft> {
        let own = self
            .requests
            .iter()
            .filter(|(name, _)| *name == source.name);
        let own: Vec<_> = own.map(|(_, draft)| draft.clone()).collect();
        if !own.is_empty() {
            return own;
        }
        let is_custom = preset::examples(&source.scheme_name).is_empty();
        let preset = if is_custom {
            "eventflow"
        } else {
            &source.scheme_name
        };
        let of_preset = preset::examples(preset);
        let made = of_source(source, &of_preset, &self.payloads);
        if !made.is_empty() {
            return made;
        }
        // A vendor's own example is sent even where nothing is found in it: that is what the vendor sends.
        of_preset
            .into_iter()
            .filter(|draft| !is_custom || is_event(source, draft))
            .collect()
    }
}

/// The valid examples of a directory of contracts, `NAME/vN/examples/valid/*.json`: of each contract its newest version's.
///
/// # Errors
/// Names the folder or file that cannot be read.
pub fn contract_examples(directory: &Path) -> anyhow::Result<Vec<ContractExample>> {
    let mut found = Vec::new();
    for contract in entries(directory)? {
        let numbered =
            |folder: PathBuf| Some((contracts::event::version_of(&name(&folder))?, folder));
        let Some((_, newest)) = entries(&contract)?.into_iter().filter_map(numbered).max() else {
            continue;
        };
        let folder = newest.join("examples/valid");
        if !folder.is_dir() {
            continue;
        }
        for file in entries(&folder)? {
            let payload = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            found.push(ContractExample {
                contract: name(&contract),
                payload: payload.trim().to_owned(),
            });
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        found.push(entry.with_context(cannot)?.path());
    }
    found.sort();
    Ok(found)
}

/// The events of a source that these payloads can be, each in the first envelope of the preset in which the source's mapping finds the
/// contract, and what the source's events are about.
fn of_source(source: &Source, envelopes: &[Draft], examples: &[ContractExample]) -> Vec<Draft> {
    if source.body.has_items() {
        return Vec::new();
    }
    let event = |example: &ContractExample| {
        envelopes
            .iter()
            .find_map(|envelope| in_envelope(source, envelope, example))
    };
    examples.iter().filter_map(event).collect()
}

fn in_envelope(source: &Source, envelope: &Draft, example: &ContractExample) -> Option<Draft> {
    let event_type = source.event.type_of_contract(&example.contract)?;
    let mut draft = envelope.clone();
    let place_of_type = |draft: &Draft| {
        let body = draft.json();
        match source.event.written(draft, &body).event_type.as_slice() {
            [place] => Some(place.clone()),
            _ => None,
        }
    };
    draft.set_json(source.event.payload_path(), &example.payload);
    let place = place_of_type(&draft)?;
    draft.set(&place, &event_type);
    let (signed, body) = (as_signed(source, &draft), draft.json());
    let envelope = source.event.find(&signed, Some(0), &body).ok()?;
    let version = contracts::event::version_of;
    let named = match envelope.contract.rsplit_once('.') {
        Some((name, number)) if version(number).is_some() => name,
        _ => &*envelope.contract,
    };
    let has_entity = source.event.entity.is_empty() || envelope.entity.is_some();
    (named == example.contract && has_entity).then_some(draft)
}

/// With the headers that signing makes, which the mapping may read.
fn as_signed(source: &Source, draft: &Draft) -> Draft {
    let mut signed = draft.clone();
    let scheme = source.verifier.scheme();
    let time = match scheme.timestamp_format {
        TimestampFormat::Rfc3339 => "1970-01-01T00:00:00Z",
        TimestampFormat::UnixSeconds | TimestampFormat::UnixMillis => "0",
    };
    for (names, text) in [(&scheme.id_header, "id"), (&scheme.timestamp_header, time)] {
        if let Some(name) = names.0.first() {
            signed.set(&Place::Header(name.to_ascii_lowercase()), text);
        }
    }
    signed
}

/// Whether the source's mapping finds an event in it.
fn is_event(source: &Source, draft: &Draft) -> bool {
    let (signed, body) = (as_signed(source, draft), draft.json());
    source.event.find(&signed, Some(0), &body).is_ok()
}
