//! Which fields of a value are ids. An id belongs to one event or one entity, so one literal in many of them is seldom meant.

use super::{exact_json, value};
use crate::context::Context;
use crate::replay::runner::replay_letter::ReplayLetter;
use json_patch::{Patch, PatchOperation};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// The ids of contracts and sources, by pointer. A contract's are looked up once.
pub(super) struct IdFields<'a> {
    context: &'a Context,
    of_contracts: HashMap<usize, Vec<String>>,
}

/// An id that a patch writes as it stands.
pub(super) struct LiteralId {
    pub(super) pointer: String,
    /// As JSON
    pub(super) value: String,
}

impl<'a> IdFields<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self {
            context,
            of_contracts: HashMap::new(),
        }
    }

    /// What the contract of a text and the source of its dead letter call an id.
    pub(super) fn of(&mut self, letter: &ReplayLetter, text: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        if let Some((id, entity)) = value::places(self.context, letter) {
            ids.extend(id.pointers());
            ids.extend(entity.pointers());
        }
        let vendors = self.context.vendors.get();
        if let Ok(envelope) = value::envelope(self.context, &vendors.mappings, letter, text)
            && let Ok(contract) = self.context.contracts.contract_of(&envelope)
        {
            let of_contract = self
                .of_contracts
                .entry(contract.index)
                .or_insert_with(|| of_schema(&contract.schema_json));
            let in_body = |pointer: &String| format!("{}{pointer}", envelope.payload_at);
            ids.extend(of_contract.iter().map(in_body));
        }
        ids
    }
}

fn of_schema(schema: &str) -> Vec<String> {
    fn walk(schema: &Value, pointer: &str, ids: &mut Vec<String>) {
        if schema["x-eventflow"] == "id" {
            ids.push(pointer.to_owned());
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let name = name.replace('~', "~0").replace('/', "~1");
            walk(property, &format!("{pointer}/{name}"), ids);
        }
    }
    let mut ids = Vec::new();
    walk(
        &serde_json::from_str(schema).unwrap_or_default(),
        "",
        &mut ids,
    );
    ids
}

/// The first id of a document that a patch replaced by a value that stands in the patch itself.
pub(super) fn literal(
    patch: &Patch,
    ids: &BTreeSet<String>,
    before: &Value,
    after: &Value,
) -> Option<LiteralId> {
    ids.iter().find_map(|id| {
        let (was, is) = (before.pointer(id), after.pointer(id)?);
        let stands = was != Some(is)
            && patch
                .iter()
                .any(|operation| writes(operation, id) == Some(is));
        stands.then(|| LiteralId {
            pointer: id.clone(),
            value: exact_json::write(is),
        })
    })
}

/// What an operation writes at a pointer, when that stands in the operation.
fn writes<'p>(operation: &'p PatchOperation, pointer: &str) -> Option<&'p Value> {
    let (path, value) = match operation {
        PatchOperation::Add(add) => (&add.path, &add.value),
        PatchOperation::Replace(replace) => (&replace.path, &replace.value),
        PatchOperation::Remove(_)
        | PatchOperation::Move(_)
        | PatchOperation::Copy(_)
        | PatchOperation::Test(_) => return None,
    };
    let rest = pointer.strip_prefix(path.as_str())?;
    (rest.is_empty() || rest.starts_with('/')).then(|| value.pointer(rest))?
}
