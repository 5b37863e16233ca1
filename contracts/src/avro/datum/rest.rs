//! What a contract does not declare, as the field `rest` of a record has it: one JSON object from pointer to value.

use super::DatumError;
use super::read::fault;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// The members, by where they belong.
#[derive(Debug)]
pub(super) struct Rest<'a> {
    by_pointer: HashMap<Cow<'a, str>, &'a str>,
    /// Names and values by the pointer of their object, in the order of the text
    by_parent: HashMap<String, Vec<(String, &'a str)>>,
}

impl<'a> Rest<'a> {
    /// Reads the field's text.
    pub(super) fn read(text: &'a str) -> Result<Self, DatumError> {
        #[derive(Deserialize)]
        struct Members<'a>(
            #[serde(borrow, deserialize_with = "crate::json::members")]
            Vec<(Cow<'a, str>, &'a RawValue)>,
        );
        let Members(members) = serde_json::from_str(text)
            .map_err(|error| fault(format!("the field rest is no JSON object: {error}")))?;
        let mut rest = Self {
            by_pointer: HashMap::with_capacity(members.len()),
            by_parent: HashMap::new(),
        };
        for (pointer, value) in members {
            if let Some((parent, token)) = pointer.rsplit_once('/') {
                let name = token.replace("~1", "/").replace("~0", "~");
                let siblings = rest.by_parent.entry(parent.to_owned()).or_default();
                siblings.push((name, value.get()));
            } else if !pointer.is_empty() {
                return Err(fault("the field rest has a key that is no JSON pointer"));
            }
            rest.by_pointer.insert(pointer, value.get());
        }
        Ok(rest)
    }

    /// What stands in the place of this value.
    pub(super) fn value(&self, pointer: &str) -> Option<&'a str> {
        self.by_pointer.get(pointer).copied()
    }

    /// What belongs into the object at this pointer.
    pub(super) fn members(&self, pointer: &str) -> &[(String, &'a str)] {
        self.by_parent.get(pointer).map_or(&[], Vec::as_slice)
    }
}
