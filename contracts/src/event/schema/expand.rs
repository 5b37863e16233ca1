//! `$ref` into the same file, put in where it stands. A schema that refers to itself has no end that way, and is refused.

use crate::json::Json;

/// Deepest nesting of a schema once its references are put in.
const MAX_DEPTH: usize = 100;
/// Most places of a schema once its references are put in.
const MAX_PLACES: usize = 50_000;
/// Keywords whose values are data, not schemas.
const DATA: &[&str] = &["const", "enum", "default", "examples", "example"];
/// Keywords whose values are schemas by name.
const BY_NAME: &[&str] = &["properties", "patternProperties", "dependentSchemas"];
/// Where definitions stand; what refers to them has them put in.
const DEFINITIONS: &[&str] = &["$defs", "definitions"];

/// The schema without references and definitions.
///
/// # Errors
/// A reference that cannot be put in.
pub(super) fn expand(root: &Json) -> Result<Json, String> {
    let mut expansion = Expansion {
        root,
        open: Vec::new(),
        places: 0,
    };
    expansion.of(root, 0)
}

struct Expansion<'r> {
    root: &'r Json,
    /// References being put in
    open: Vec<String>,
    places: usize,
}

impl Expansion<'_> {
    fn of(&mut self, json: &Json, depth: usize) -> Result<Json, String> {
        self.places += 1;
        if self.places > MAX_PLACES || depth > MAX_DEPTH {
            return Err(format!(
                "with its $ref put in, the schema has more than {MAX_PLACES} places or {MAX_DEPTH} levels; split the contract, or leave a part open as {{}}"
            ));
        }
        let members = match json {
            Json::Object(members) => members,
            Json::Array(items) => {
                let items = items.iter().map(|item| self.of(item, depth + 1));
                return items.collect::<Result<_, _>>().map(Json::Array);
            }
            Json::Scalar(_) => return Ok(json.clone()),
        };
        let mut own = Vec::with_capacity(members.len());
        let mut reference = None;
        for (name, value) in members {
            let value = match (name.as_str(), value) {
                ("$ref", Json::Scalar(_)) => {
                    reference = Some(value.text().unwrap_or_default());
                    continue;
                }
                (name, _) if DEFINITIONS.contains(&name) => continue,
                (name, _) if DATA.contains(&name) => value.clone(),
                (name, Json::Object(members)) if BY_NAME.contains(&name) => {
                    let members = members.iter();
                    let members =
                        members.map(|(name, value)| Ok((name.clone(), self.of(value, depth + 1)?)));
                    Json::Object(members.collect::<Result<_, String>>()?)
                }
                (_, _) => self.of(value, depth + 1)?,
            };
            own.push((name.clone(), value));
        }
        match reference {
            None => Ok(Json::Object(own)),
            Some(reference) => {
                let target = self.target(&reference, depth)?;
                merge(target, own, &reference)
            }
        }
    }

    /// What a reference stands for, its own references put in.
    fn target(&mut self, reference: &str, depth: usize) -> Result<Json, String> {
        let fault = |problem: &str| Err(format!("$ref {reference:?} {problem}"));
        if self.open.iter().any(|open| open == reference) {
            return fault(
                "leads to itself; a recursive schema is not supported: leave that place open as {}, and it is kept whole",
            );
        }
        let Some(pointer) = reference.strip_prefix('#') else {
            return fault(
                "is outside the file; copy what it names into $defs, and write #/$defs/NAME",
            );
        };
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return fault("is an anchor; write a JSON pointer, such as #/$defs/NAME");
        }
        let mut found = Some(self.root);
        for token in pointer.split('/').skip(1) {
            let name = token.replace("~1", "/").replace("~0", "~");
            found = found.and_then(|json| match json {
                Json::Array(items) => name.parse().ok().and_then(|index: usize| items.get(index)),
                Json::Object(_) | Json::Scalar(_) => json.get(&name),
            });
        }
        let Some(found) = found else {
            return fault("names nothing; describe it under $defs");
        };
        self.open.push(reference.to_owned());
        let expanded = self.of(found, depth + 1);
        self.open.pop();
        expanded
    }
}

/// What a reference stands for, with the keywords beside the reference.
fn merge(target: Json, own: Vec<(String, Json)>, reference: &str) -> Result<Json, String> {
    let mut members = match target {
        Json::Object(members) => members,
        other if own.is_empty() => return Ok(other),
        Json::Array(_) | Json::Scalar(_) => {
            return Err(format!("$ref {reference:?} names no schema with keywords"));
        }
    };
    for (name, value) in own {
        match members.iter_mut().find(|(known, _)| *known == name) {
            None => members.push((name, value)),
            Some((_, known)) if super::keywords::is_note(&name) || *known == value => {
                *known = value;
            }
            Some(_) => {
                return Err(format!(
                    "beside $ref {reference:?} stands {name}, which the schema it names has too; write the rule in one of them"
                ));
            }
        }
    }
    Ok(Json::Object(members))
}
