//! Examples of a contract: payloads that it takes, and payloads that it refuses with the code that their file's name begins with.

use super::{Contract, Envelope};
use crate::{Rejection, RejectionCode};

impl Contract {
    /// Checks a payload alone, as if it came in EventFlow's own envelope.
    ///
    /// # Errors
    /// As [`Contract::validate`]; pointers are of the payload.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), Rejection> {
        let mut head =
            r#"{"event_id":"example","timestamp":"2026-01-02T03:04:05Z","event_type":"#.to_owned();
        crate::json::push_text(&self.label, &mut head);
        let body = [head.as_bytes(), br#","payload":"#, payload, b"}"].concat();
        let checked = Envelope::own(&body).and_then(|envelope| self.validate(envelope));
        checked.map(drop).map_err(|rejection| Rejection {
            pointer: rejection.pointer.map(|pointer| {
                let of_payload = pointer.strip_prefix("/payload");
                of_payload.unwrap_or(&pointer).to_owned()
            }),
            ..rejection
        })
    }

    /// Checks an example that must pass.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn check_valid_example(&self, payload: &[u8]) -> Result<(), String> {
        self.check_payload(payload)
            .map_err(|rejection| format!("must pass, and is refused: {}", shown(&rejection)))
    }

    /// Checks an example that must be refused; `name` is that of its file, without the extension. Gives the code.
    ///
    /// # Errors
    /// It passes, is refused with another code, or its name begins with none.
    pub fn check_invalid_example(
        &self,
        name: &str,
        payload: &[u8],
    ) -> Result<RejectionCode, String> {
        let wanted = name.split("--").next().unwrap_or_default();
        let Some(code) = RejectionCode::ALL.iter().find(|code| code.code() == wanted) else {
            return Err(format!(
                "{wanted:?} is no code: name the file CODE--WHAT.json, with a code of docs/reference/codes.md"
            ));
        };
        match self.check_payload(payload) {
            Ok(()) => Err(format!("must be refused with {wanted}, and passes")),
            Err(rejection) if rejection.code == *code => Ok(*code),
            Err(rejection) => Err(format!(
                "must be refused with {wanted}, and is with {}",
                shown(&rejection)
            )),
        }
    }
}

fn shown(rejection: &Rejection) -> String {
    let at = rejection.pointer.as_deref().filter(|at| !at.is_empty());
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{}{at}: {}", rejection.code.code(), rejection.detail)
}

/// Places of a schema where its author left a note that something is to do: a `$comment` that begins with `TODO`. JSON pointers into
/// `schema.json`, and the notes.
#[must_use]
pub fn notes_to_do(schema_json: &str) -> Vec<(String, String)> {
    fn collect(json: &crate::json::Json, pointer: &mut String, found: &mut Vec<(String, String)>) {
        use crate::json::Json;
        let length = pointer.len();
        match json {
            Json::Object(members) => {
                let note = json.get("$comment").and_then(Json::text);
                if let Some(note) = note.filter(|note| note.starts_with("TODO")) {
                    found.push((pointer.clone(), note));
                }
                for (name, value) in members {
                    crate::json::push_token(name, pointer);
                    collect(value, pointer, found);
                    pointer.truncate(length);
                }
            }
            Json::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    crate::json::push_token(&index.to_string(), pointer);
                    collect(value, pointer, found);
                    pointer.truncate(length);
                }
            }
            Json::Scalar(_) => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(json) = crate::json::Json::parse(schema_json) {
        collect(&json, &mut String::new(), &mut found);
    }
    found
}
