//! What a schema's type makes of its keywords.

mod scalars;

use super::numbers::decimal;
use super::read::{Keywords, Meaning, Reader, fault};
use super::{ArraySchema, FieldSchema, NumberSchema, ObjectSchema, Schema, Shape, Type, Types};
use crate::event::Role;
use crate::json::Json;
pub(crate) use scalars::MAX_ID_LENGTH;
use scalars::{allowed, amount, check_role, inferred, text};

/// Most fields of one object.
const MAX_FIELDS: usize = 1000;

/// What jsonschema judges beside any type.
const ANYWHERE: &[&str] = &["not", "anyOf", "oneOf", "allOf", "if", "then", "else"];
const OF_OBJECTS: &[&str] = &[
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "dependentSchemas",
];
const OF_ARRAYS: &[&str] = &["contains", "minContains", "maxContains", "uniqueItems"];

/// Keywords of what is inside, for jsonschema.
type Parts = Vec<(String, Json)>;

impl Reader {
    /// The shape of a schema, and what of its members jsonschema must judge.
    pub(super) fn shape(
        &mut self,
        keywords: &mut Keywords<'_>,
        meaning: Meaning,
        whole: &Json,
    ) -> Result<(Schema, Parts), String> {
        let written = keywords.types()?;
        let values = keywords.values()?;
        let null_allowed = match (&written, &values) {
            (types, Some((_, values))) => {
                values.iter().any(|value| value.is("null"))
                    && types
                        .as_ref()
                        .is_none_or(|types| types.contains(&Type::Null))
            }
            (Some(types), None) => types.contains(&Type::Null),
            (None, None) => false,
        };
        let mut types = written.clone().unwrap_or_else(|| inferred(values.as_ref()));
        types.retain(|one| *one != Type::Null);
        let role = meaning.role;
        if role == Some(Role::Amount) {
            if values.is_some() {
                return Err(keywords.fault("enum", "and const are not supported for an amount"));
            }
            let shape = amount(keywords, &types, meaning)?;
            keywords.leave(ANYWHERE);
            return Ok((
                Schema {
                    shape,
                    nullable: null_allowed,
                    role,
                },
                Vec::new(),
            ));
        }
        let mut parts = Parts::new();
        let shape = match types.as_slice() {
            [Type::Object] => self.object(keywords, &mut parts, whole)?,
            [Type::Array] => self.array(keywords, &mut parts, whole)?,
            [Type::String] => text(keywords, &meaning, values.as_ref())?,
            [one @ (Type::Integer | Type::Number)] => Shape::Number(NumberSchema {
                integer: *one == Type::Integer,
                bounds: keywords.bounds()?,
                allowed: allowed(
                    keywords,
                    values.as_ref(),
                    "numbers of at most 38 digits",
                    |json| {
                        decimal(json).filter(|one_of| types != [Type::Integer] || one_of.scale == 0)
                    },
                )?,
            }),
            [Type::Boolean] => Shape::Boolean {
                allowed: allowed(keywords, values.as_ref(), "true or false", |json| {
                    json.to_string().parse().ok()
                })?,
            },
            _ => {
                if let Some((keyword, found)) = &values {
                    let value = match found.as_slice() {
                        [only] if *keyword == "const" => only.clone(),
                        several => Json::Array(several.to_vec()),
                    };
                    keywords.slow.push(((*keyword).to_owned(), value));
                }
                return self.raw(keywords, written, role);
            }
        };
        if matches!(
            shape,
            Shape::Object(_) | Shape::Map(_) | Shape::Array(_) | Shape::Raw(_)
        ) && let Some((keyword, found)) = &values
        {
            let found = found.to_vec();
            let value = if *keyword == "const" {
                whole.get("const").cloned().unwrap_or(Json::Array(found))
            } else {
                Json::Array(found)
            };
            keywords.slow.push(((*keyword).to_owned(), value));
        }
        keywords.leave(ANYWHERE);
        check_role(keywords, &shape, role)?;
        Ok((
            Schema {
                shape,
                nullable: null_allowed,
                role,
            },
            parts,
        ))
    }

    /// A value without one type: it is kept whole, and what is written beside it is jsonschema's.
    fn raw(
        &mut self,
        keywords: &mut Keywords<'_>,
        types: Option<Vec<Type>>,
        role: Option<Role>,
    ) -> Result<(Schema, Parts), String> {
        let pointer = keywords.pointer;
        if types.is_none() && (keywords.has("properties") || keywords.has("items")) {
            return Err(fault(
                pointer,
                "type",
                "is missing beside properties or items; write \"object\" or \"array\"",
            ));
        }
        let shape = Shape::Raw(types.map_or(Types::ANY, Types::of));
        check_role(keywords, &shape, role)?;
        keywords.slow.append(&mut keywords.left);
        let nullable = matches!(&shape, Shape::Raw(types) if types.has(Type::Null));
        Ok((
            Schema {
                shape,
                nullable,
                role,
            },
            Parts::new(),
        ))
    }

    fn object(
        &mut self,
        keywords: &mut Keywords<'_>,
        parts: &mut Parts,
        whole: &Json,
    ) -> Result<Shape, String> {
        let pointer = keywords.pointer;
        let required = match keywords.take("required") {
            None => Vec::new(),
            Some(Json::Array(names)) => names
                .iter()
                .map(Json::text)
                .collect::<Option<Vec<String>>>()
                .ok_or_else(|| keywords.fault("required", "must be a list of field names"))?,
            Some(_) => return Err(keywords.fault("required", "must be a list of field names")),
        };
        let properties = match keywords.take("properties") {
            None => Vec::new(),
            Some(Json::Object(properties)) => properties,
            Some(_) => return Err(keywords.fault("properties", "must be schemas by field name")),
        };
        if properties.len() > MAX_FIELDS {
            let problem = format!("name more than {MAX_FIELDS} fields; split the object");
            return Err(keywords.fault("properties", problem));
        }
        let patterns = keywords.has("patternProperties");
        let additional = keywords.take("additionalProperties");
        let unevaluated = keywords.take("unevaluatedProperties");
        keywords.leave(OF_OBJECTS);
        let mut fields = Vec::with_capacity(properties.len());
        let mut judged = Vec::new();
        for (name, json) in properties {
            let mut pointer = pointer.to_owned();
            crate::json::push_token(&name, &mut pointer);
            let (schema, slow) = self.schema(&pointer, &json)?;
            judged.push((name.clone(), slow));
            fields.push(FieldSchema {
                required: required.contains(&name),
                name,
                schema,
            });
        }
        let known = |name: &String| fields.iter().any(|field| field.name == *name);
        let elsewhere: Vec<Json> = required
            .iter()
            .filter(|name| !known(name))
            .map(|name| Json::Scalar(serde_json::Value::from(name.as_str()).to_string()))
            .collect();
        if !elsewhere.is_empty() {
            keywords
                .slow
                .push(("required".to_owned(), Json::Array(elsewhere)));
        }
        if unevaluated.is_some() {
            // It counts what other keywords looked at: jsonschema needs all of them.
            self.slow(pointer, "unevaluatedProperties", whole);
            let Json::Object(members) = whole else {
                return Err(keywords.fault("the schema", "is not usable"));
            };
            parts.push((
                "allOf".to_owned(),
                Json::Array(vec![Json::Object(members.clone())]),
            ));
        }
        let closed = additional.as_ref().is_some_and(|json| json.is("false"));
        let open = additional.as_ref().is_none_or(|json| json.is("true"));
        // As many properties as jsonschema needs to know.
        let mut list_all = false;
        let mut shape = None;
        if patterns && !open {
            keywords
                .slow
                .extend(additional.map(|json| ("additionalProperties".to_owned(), json)));
            list_all = true;
        } else if let Some(additional) = additional.filter(|_| !open && !closed) {
            let (values, slow) = self.schema(&format!("{pointer}/*"), &additional)?;
            if fields.is_empty() {
                let raw = matches!(values.shape, Shape::Raw(_));
                parts.extend(slow.map(|slow| ("additionalProperties".to_owned(), slow)));
                let types = match values.shape {
                    Shape::Raw(types) if types != Types::ANY => Some(additional.clone()),
                    _ => None,
                };
                if raw {
                    keywords
                        .slow
                        .extend(types.map(|json| ("additionalProperties".to_owned(), json)));
                    shape = Some(Shape::Raw(Types::of([Type::Object])));
                } else {
                    shape = Some(Shape::Map(Box::new(values)));
                }
            } else {
                keywords
                    .slow
                    .push(("additionalProperties".to_owned(), additional));
                list_all = true;
            }
        } else if fields.is_empty() && !closed {
            shape = Some(Shape::Raw(Types::of([Type::Object])));
        }
        let judged: Vec<(String, Json)> = judged
            .into_iter()
            .filter_map(|(name, slow)| match slow {
                Some(slow) => Some((name, slow)),
                None => list_all.then(|| (name, Json::Scalar("true".to_owned()))),
            })
            .collect();
        if !judged.is_empty() {
            parts.push(("properties".to_owned(), Json::Object(judged)));
        }
        Ok(shape.unwrap_or(Shape::Object(ObjectSchema {
            fields,
            closed: closed && !patterns,
        })))
    }

    fn array(
        &mut self,
        keywords: &mut Keywords<'_>,
        parts: &mut Parts,
        whole: &Json,
    ) -> Result<Shape, String> {
        let raw = Shape::Raw(Types::of([Type::Array]));
        if keywords.has("prefixItems") || keywords.has("unevaluatedItems") {
            // Items of several kinds: kept whole.
            let all = [
                "prefixItems",
                "items",
                "unevaluatedItems",
                "minItems",
                "maxItems",
            ];
            keywords.leave(&all);
            keywords.leave(OF_ARRAYS);
            return Ok(raw);
        }
        let pointer = format!("{}/*", keywords.pointer);
        let items = keywords.take("items");
        let (schema, slow) = match &items {
            None => (Schema::of(Shape::Raw(Types::ANY)), None),
            Some(items) => self.schema(&pointer, items)?,
        };
        keywords.leave(OF_ARRAYS);
        if let Shape::Raw(types) = schema.shape {
            keywords.leave(&["minItems", "maxItems"]);
            if types == Types::ANY {
                parts.extend(slow.map(|slow| ("items".to_owned(), slow)));
            } else {
                let whole = whole.get("items").cloned();
                keywords
                    .slow
                    .extend(whole.map(|items| ("items".to_owned(), items)));
            }
            return Ok(raw);
        }
        parts.extend(slow.map(|slow| ("items".to_owned(), slow)));
        Ok(Shape::Array(ArraySchema {
            items: Box::new(schema),
            least: keywords.length("minItems")?.unwrap_or(0),
            most: keywords.length("maxItems")?.unwrap_or(usize::MAX),
        }))
    }
}
