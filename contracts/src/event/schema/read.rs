//! From the text of `schema.json` to a [`Payload`].

use super::keywords::{check_judged, is_note, unsupported};
use super::{Case, Payload, Schema, Shape, SlowKeyword, Type, Types, Unit, expand};
use crate::event::Role;
use crate::json::Json;
use std::fmt;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Reads `schema.json`.
///
/// # Errors
/// A sentence that names the file, the field, the keyword, and what to do.
pub(crate) fn read(text: &str) -> Result<Payload, String> {
    let json = Json::parse(text).map_err(|error| format!("schema.json: {error}"))?;
    let dialect = json.get("$schema").and_then(Json::text);
    if dialect.is_some_and(|dialect| dialect.trim_end_matches('#') != DIALECT) {
        let problem =
            format!("names another dialect; write the schema in JSON Schema 2020-12 ({DIALECT})");
        return Err(fault("", "$schema", problem));
    }
    let json = expand::expand(&json).map_err(|problem| format!("schema.json: {problem}"))?;
    let mut reader = Reader::default();
    let (schema, slow) = reader.schema("", &json)?;
    Ok(Payload {
        schema,
        slow,
        slow_keywords: reader.slow_keywords,
        kind: reader.kind,
    })
}

pub(super) fn fault(pointer: &str, keyword: &str, problem: impl fmt::Display) -> String {
    let pointer = if pointer.is_empty() { "/" } else { pointer };
    format!("schema.json: {pointer}: {keyword} {problem}")
}

/// A schema, and what of it jsonschema must judge.
pub(super) type Read = (Schema, Option<Json>);

#[derive(Default)]
pub(super) struct Reader {
    pub(super) slow_keywords: Vec<SlowKeyword>,
    kind: Option<String>,
}

/// What `x-eventflow` says.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    pub(super) role: Option<Role>,
    pub(super) unit: Option<Unit>,
    pub(super) case: Option<Case>,
}

/// The keywords of one schema. Each is taken; what is left over is refused.
pub(super) struct Keywords<'p> {
    pub(super) pointer: &'p str,
    pub(super) left: Vec<(String, Json)>,
    /// What jsonschema judges here
    pub(super) slow: Vec<(String, Json)>,
}

impl Reader {
    pub(super) fn schema(&mut self, pointer: &str, json: &Json) -> Result<Read, String> {
        let raw = |types, slow| (Schema::of(Shape::Raw(types)), slow);
        let members = match json {
            Json::Object(members) => members,
            Json::Scalar(word) if word == "true" => return Ok(raw(Types::ANY, None)),
            Json::Scalar(word) if word == "false" => {
                self.slow(pointer, "false", json);
                return Ok(raw(Types::ANY, Some(json.clone())));
            }
            Json::Array(_) | Json::Scalar(_) => {
                return Err(fault(
                    pointer,
                    "the schema",
                    "is not usable: write an object",
                ));
            }
        };
        let left = members.iter().filter(|(name, _)| !is_note(name));
        let mut keywords = Keywords {
            pointer,
            left: left.cloned().collect(),
            slow: Vec::new(),
        };
        if let Some(other) = keywords.null_or() {
            let (mut schema, slow) = self.schema(pointer, &other)?;
            schema.nullable = true;
            let null = Json::object([("type", Json::Scalar("\"null\"".to_owned()))]);
            let slow = slow.map(|slow| Json::object([("anyOf", Json::Array(vec![null, slow]))]));
            return Ok((schema, slow));
        }
        let meaning = self.meaning(&mut keywords)?;
        let (schema, mut parts) = self.shape(&mut keywords, meaning, json)?;
        for (keyword, value) in std::mem::take(&mut keywords.slow) {
            let one = Json::Object(vec![(keyword.clone(), value.clone())]);
            check_judged(&one)
                .map_err(|problem| fault(pointer, &keyword, format_args!(": {problem}")))?;
            self.slow(pointer, &keyword, &value);
            parts.push((keyword, value));
        }
        if let Some((keyword, _)) = keywords.left.first() {
            return Err(fault(pointer, keyword, unsupported(keyword)));
        }
        let slow = (!parts.is_empty()).then(|| merge_parts(parts));
        Ok((schema, slow))
    }

    /// Notes a keyword that jsonschema judges.
    pub(super) fn slow(&mut self, pointer: &str, keyword: &str, value: &Json) {
        self.slow_keywords.push(SlowKeyword {
            pointer: pointer.to_owned(),
            keyword: keyword.to_owned(),
            value: value.clone(),
        });
    }

    /// Reads `x-eventflow`.
    fn meaning(&mut self, keywords: &mut Keywords<'_>) -> Result<Meaning, String> {
        let pointer = keywords.pointer;
        let Some(json) = keywords.take(Role::ATTRIBUTE) else {
            return Ok(Meaning::default());
        };
        let wrong = |problem: String| Err(fault(pointer, Role::ATTRIBUTE, problem));
        let names = Role::ALL.map(Role::name).join("\", \"");
        let mut meaning = Meaning::default();
        let members = match &json {
            Json::Object(members) => members.as_slice(),
            Json::Array(_) | Json::Scalar(_) => &[],
        };
        if let ("", [(name, kind)]) = (pointer, members)
            && name == "kind"
        {
            self.kind = kind.text().filter(|kind| !kind.trim().is_empty());
            return match self.kind {
                Some(_) => Ok(meaning),
                None => wrong("kind must be a text that is not blank".to_owned()),
            };
        }
        let role = json
            .text()
            .or_else(|| json.get("role").and_then(Json::text));
        if role.as_deref() == Some("amount-minor") {
            meaning.role = Some(Role::Amount);
            meaning.unit = Some(Unit::Minor(Vec::new()));
        } else {
            meaning.role = role.as_deref().and_then(Role::parse);
        }
        if meaning.role.is_none() {
            return wrong(format!(
                "must be \"{names}\" or \"amount-minor\", or {{\"role\": one of them, ...}}"
            ));
        }
        for (name, value) in members {
            match (name.as_str(), meaning.role) {
                ("role", _) => {}
                ("unit", Some(Role::Amount)) => {
                    meaning.unit = match value.text().as_deref() {
                        Some("major") => Some(Unit::Major),
                        // Digits say it more exactly, wherever they stand.
                        Some("minor") => meaning.unit.or(Some(Unit::Minor(Vec::new()))),
                        Some(_) | None => {
                            return wrong("unit must be \"major\" or \"minor\"".to_owned());
                        }
                    };
                }
                ("digits", Some(Role::Amount)) => {
                    let digits = |json: &Json| match json {
                        Json::Scalar(text) => {
                            text.parse().ok().filter(|digits: &u32| *digits <= 12)
                        }
                        Json::Array(_) | Json::Object(_) => None,
                    };
                    let unit = match value {
                        Json::Object(each) => each
                            .iter()
                            .map(|(currency, count)| Some((currency.clone(), digits(count)?)))
                            .collect::<Option<_>>()
                            .map(Unit::Minor),
                        Json::Scalar(_) | Json::Array(_) => digits(value).map(Unit::Fixed),
                    };
                    match unit {
                        Some(unit) => meaning.unit = Some(unit),
                        None => {
                            return wrong("digits must be a number from 0 to 12, or such a number for each currency that is not as ISO 4217 has it: {\"MGA\": 0}".to_owned());
                        }
                    }
                }
                ("case", Some(Role::Currency)) => {
                    meaning.case = match value.text().as_deref() {
                        Some("upper") => Some(Case::Upper),
                        Some("lower") => Some(Case::Lower),
                        Some("any") => Some(Case::Any),
                        Some(_) | None => {
                            return wrong(
                                "case must be \"upper\", \"lower\" or \"any\"".to_owned(),
                            );
                        }
                    };
                }
                (other, _) => {
                    return wrong(format!(
                        "has no {other:?} here: an amount has \"unit\" and \"digits\", a currency \"case\""
                    ));
                }
            }
        }
        Ok(meaning)
    }
}

/// One schema of all parts; `required`, `properties` and the like of several sources are of one object.
fn merge_parts(parts: Vec<(String, Json)>) -> Json {
    let mut merged: Vec<(String, Json)> = Vec::with_capacity(parts.len());
    let mut all_of = Vec::new();
    for (keyword, value) in parts {
        if merged.iter().any(|(known, _)| *known == keyword) {
            all_of.push(Json::Object(vec![(keyword, value)]));
        } else {
            merged.push((keyword, value));
        }
    }
    if !all_of.is_empty() {
        all_of.push(Json::Object(std::mem::take(&mut merged)));
        merged.push(("allOf".to_owned(), Json::Array(all_of)));
    }
    Json::Object(merged)
}

impl Schema {
    pub(super) fn of(shape: Shape) -> Self {
        Self {
            shape,
            nullable: false,
            role: None,
        }
    }
}

impl Keywords<'_> {
    pub(super) fn take(&mut self, keyword: &str) -> Option<Json> {
        let at = self.left.iter().position(|(name, _)| name == keyword)?;
        Some(self.left.remove(at).1)
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.left.iter().any(|(name, _)| name == keyword)
    }

    pub(super) fn fault(&self, keyword: &str, problem: impl fmt::Display) -> String {
        fault(self.pointer, keyword, problem)
    }

    /// Leaves these keywords to jsonschema.
    pub(super) fn leave(&mut self, keywords: &[&str]) {
        for keyword in keywords {
            if let Some(value) = self.take(keyword) {
                self.slow.push(((*keyword).to_owned(), value));
            }
        }
    }

    /// `anyOf` or `oneOf` of null and one other schema, and nothing else: that other one.
    fn null_or(&self) -> Option<Json> {
        let rules = || self.left.iter().filter(|(name, _)| name != Role::ATTRIBUTE);
        let (keyword, branches) = rules().next().filter(|_| rules().count() == 1)?;
        let Json::Array(branches) = branches else {
            return None;
        };
        let is_null = |branch: &Json| {
            let Json::Object(members) = branch else {
                return false;
            };
            let mut rules = members.iter().filter(|(name, _)| !is_note(name));
            let only = rules
                .next()
                .is_some_and(|(name, value)| name == "type" && value.is("\"null\""));
            only && rules.next().is_none()
        };
        let other = match (keyword.as_str(), branches.as_slice()) {
            ("anyOf" | "oneOf", [null, other]) if is_null(null) && !is_null(other) => other,
            ("anyOf" | "oneOf", [other, null]) if is_null(null) && !is_null(other) => other,
            (_, _) => return None,
        };
        let Json::Object(members) = other else {
            return None;
        };
        // oneOf refuses null if both allow it: the other one must say of what type it is.
        if keyword == "oneOf"
            && other
                .get("type")
                .is_none_or(|types| types.to_string().contains("null"))
        {
            return None;
        }
        let mut members = members.clone();
        let role = self.left.iter().find(|(name, _)| name == Role::ATTRIBUTE);
        members.extend(
            role.filter(|_| other.get(Role::ATTRIBUTE).is_none())
                .cloned(),
        );
        Some(Json::Object(members))
    }

    pub(super) fn types(&mut self) -> Result<Option<Vec<Type>>, String> {
        let names = match self.take("type") {
            None => return Ok(None),
            Some(Json::Array(names)) => names,
            Some(only) => vec![only],
        };
        let types = names.iter().map(|name| Type::parse(&name.text()?));
        match types.collect::<Option<Vec<_>>>() {
            Some(types) if !types.is_empty() => Ok(Some(types)),
            Some(_) | None => Err(self.fault(
                "type",
                "must be \"object\", \"array\", \"string\", \"integer\", \"number\", \"boolean\" or \"null\", or a list of them",
            )),
        }
    }

    pub(super) fn length(&mut self, keyword: &str) -> Result<Option<usize>, String> {
        let Some(json) = self.take(keyword) else {
            return Ok(None);
        };
        super::numbers::integer(&json)
            .and_then(|length| usize::try_from(length).ok())
            .map(Some)
            .ok_or_else(|| self.fault(keyword, "must be a whole number, 0 or more"))
    }

    /// The values that `const` or `enum` allows; `None` when neither is there.
    pub(super) fn values(&mut self) -> Result<Option<(&'static str, Vec<Json>)>, String> {
        match (self.take("const"), self.take("enum")) {
            (None, None) => Ok(None),
            (Some(only), None) => Ok(Some(("const", vec![only]))),
            (None, Some(Json::Array(several))) if !several.is_empty() => {
                Ok(Some(("enum", several)))
            }
            (None, Some(_)) => Err(self.fault("enum", "must be a list of at least one value")),
            (Some(_), Some(_)) => Err(self.fault("const", "and enum are both there; keep one")),
        }
    }
}
