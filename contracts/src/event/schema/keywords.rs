//! The words of JSON Schema 2020-12: which have a plan, which are left to the crate jsonschema, and which are only notes.

use crate::json::Json;

/// Keywords that restrict nothing: they are for people. So is every `x-…` but our own.
const NOTES: &[&str] = &[
    "$comment",
    "$schema",
    "$id",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "example",
];

/// How the value of a keyword that jsonschema judges holds schemas.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Schema,
    List,
    ByName,
}

/// All keywords that are judged somewhere, by the plan or by jsonschema.
const JUDGED: &[(&str, Holds)] = &[
    ("type", Holds::Nothing),
    ("const", Holds::Nothing),
    ("enum", Holds::Nothing),
    ("format", Holds::Nothing),
    ("minLength", Holds::Nothing),
    ("maxLength", Holds::Nothing),
    ("pattern", Holds::Nothing),
    ("minimum", Holds::Nothing),
    ("maximum", Holds::Nothing),
    ("exclusiveMinimum", Holds::Nothing),
    ("exclusiveMaximum", Holds::Nothing),
    ("multipleOf", Holds::Nothing),
    ("required", Holds::Nothing),
    ("minProperties", Holds::Nothing),
    ("maxProperties", Holds::Nothing),
    ("minItems", Holds::Nothing),
    ("maxItems", Holds::Nothing),
    ("minContains", Holds::Nothing),
    ("maxContains", Holds::Nothing),
    ("uniqueItems", Holds::Nothing),
    ("dependentRequired", Holds::Nothing),
    ("items", Holds::Schema),
    ("contains", Holds::Schema),
    ("additionalProperties", Holds::Schema),
    ("propertyNames", Holds::Schema),
    ("unevaluatedItems", Holds::Schema),
    ("unevaluatedProperties", Holds::Schema),
    ("not", Holds::Schema),
    ("if", Holds::Schema),
    ("then", Holds::Schema),
    ("else", Holds::Schema),
    ("prefixItems", Holds::List),
    ("allOf", Holds::List),
    ("anyOf", Holds::List),
    ("oneOf", Holds::List),
    ("properties", Holds::ByName),
    ("patternProperties", Holds::ByName),
    ("dependentSchemas", Holds::ByName),
];

/// Formats that are asserted: a time, a date and a uuid by the plan, the others by jsonschema.
const FORMATS: &[&str] = &[
    "date-time",
    "date",
    "uuid",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uri-template",
    "iri",
    "iri-reference",
    "json-pointer",
    "relative-json-pointer",
    "regex",
];

const READ: &str = "docs/EXTEND.md, \"Add an event type\", lists what is";

/// The keyword restricts nothing.
pub(super) fn is_note(keyword: &str) -> bool {
    NOTES.contains(&keyword) || (keyword.starts_with("x-") && keyword != "x-eventflow")
}

/// A schema's rules alone, with references put in: what two texts with the same rules have in common.
///
/// # Errors
/// A reference that cannot be put in, or no JSON.
pub(crate) fn without_notes(text: &str) -> Result<Json, String> {
    fn strip(json: &Json) -> Json {
        match json {
            Json::Object(members) => {
                let rules = members.iter().filter(|(name, _)| !is_note(name));
                let stripped = rules.map(|(name, value)| {
                    let known = JUDGED.iter().find(|(known, _)| known == name);
                    let value = match (known.map(|(_, holds)| *holds), value) {
                        (Some(Holds::Schema), schema) => strip(schema),
                        (Some(Holds::List), Json::Array(schemas)) => {
                            Json::Array(schemas.iter().map(strip).collect())
                        }
                        (Some(Holds::ByName), Json::Object(schemas)) => {
                            let schemas = schemas.iter();
                            Json::Object(schemas.map(|(n, s)| (n.clone(), strip(s))).collect())
                        }
                        (_, other) => other.clone(),
                    };
                    (name.clone(), value)
                });
                Json::Object(stripped.collect())
            }
            Json::Array(_) | Json::Scalar(_) => json.clone(),
        }
    }
    Ok(strip(&super::expand::expand(&Json::parse(text)?)?))
}

/// A format is one that is asserted.
///
/// # Errors
/// A sentence without its place.
pub(super) fn check_format(format: &str) -> Result<(), String> {
    if FORMATS.contains(&format) {
        Ok(())
    } else {
        Err(format!(
            "{format:?} is not supported; {READ}: {}",
            FORMATS.join(", ")
        ))
    }
}

/// What a keyword that is left over is: not supported at all, or not beside the type.
pub(super) fn unsupported(keyword: &str) -> String {
    if JUDGED.iter().any(|(known, _)| *known == keyword) {
        format!("has no meaning for this type; remove it ({READ} supported)")
    } else {
        format!("is not supported, and a rule that is written must be applied; remove it ({READ})")
    }
}

/// A schema that jsonschema judges has only words that it applies.
///
/// # Errors
/// The keyword, and what is wrong with it.
pub(super) fn check_judged(json: &Json) -> Result<(), String> {
    let Json::Object(members) = json else {
        return Ok(());
    };
    for (keyword, value) in members {
        let known = JUDGED.iter().find(|(known, _)| known == keyword);
        let holds = match known {
            Some((_, holds)) => *holds,
            None if is_note(keyword) => Holds::Nothing,
            None if keyword == "x-eventflow" => {
                return Err("x-eventflow has no effect below a keyword that only jsonschema judges; put it beside a type".to_owned());
            }
            None => return Err(format!("{keyword} {}", unsupported(keyword))),
        };
        if keyword == "format" {
            check_format(&value.text().unwrap_or_default())?;
        }
        match (holds, value) {
            (Holds::Nothing, _) => {}
            (Holds::Schema, schema) => check_judged(schema)?,
            (Holds::List, Json::Array(schemas)) => {
                schemas.iter().try_for_each(check_judged)?;
            }
            (Holds::ByName, Json::Object(schemas)) => {
                schemas
                    .iter()
                    .try_for_each(|(_, schema)| check_judged(schema))?;
            }
            (Holds::List | Holds::ByName, _) => {
                return Err(format!("{keyword} is not written as JSON Schema has it"));
            }
        }
    }
    Ok(())
}
