//! From a payload's schema and its Avro record to a plan, or a sentence that says why there is none.

mod mark;
mod scalars;

use super::{Field, Node, Object, Plan, Rule, Shape, Write};
use crate::avro::datum::Decoder;
use crate::event::Role;
use crate::event::derive;
use crate::event::schema::{self, Case, Schema, TextKind, TextSchema};
use apache_avro::Schema as Avro;
use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, RecordSchema, UuidSchema};
use std::collections::HashMap;

/// A contract, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) plan: Plan,
    /// What only jsonschema can judge
    pub(crate) judge: Option<super::Judge>,
    /// The keywords it judges, with their pointers
    pub(crate) slow_keywords: Vec<String>,
    /// The Avro record's full name
    pub(crate) record_name: String,
    /// The record, with the roles of its fields as attributes
    pub(crate) record_avsc: String,
}

/// The fields of every record, in this order: `payload` has what the contract declares, `rest` what it does not.
const ENVELOPE: &[&str] = &["event_id", "event_type", "timestamp", "payload", "rest"];

/// Compiles a contract's files. Without a record it is derived from the schema.
///
/// # Errors
/// A sentence that names the file, the place, and what to do.
pub(crate) fn compile(
    name: &str,
    schema_json: &str,
    record_avsc: Option<&str>,
) -> Result<Compiled, String> {
    let payload = schema::read(schema_json)?;
    let written = match record_avsc {
        Some(text) => {
            serde_json::from_str(text).map_err(|error| format!("record.avsc: {error}"))?
        }
        None => derive::record(name, &payload.schema),
    };
    let avro = Avro::parse(&written).map_err(|error| format!("record.avsc: {error}"))?;
    let record = check_envelope(&avro)?;
    let payload_avro = record.fields.iter().find(|field| field.name == "payload");
    let mut compiler = Compiler::default();
    compiler.name_types(&avro, None);
    let root = compiler.root(payload.schema, payload_avro.map(|field| &field.schema))?;
    let record_avsc = compiler.marked(written, payload.kind.as_deref());
    // What is written must be readable.
    Decoder::new(&record_avsc).map_err(|error| format!("record.avsc: {error}"))?;
    let judge = payload.slow.as_ref().map(super::Judge::new).transpose()?;
    Ok(Compiled {
        plan: Plan { root },
        judge,
        slow_keywords: payload
            .slow_keywords
            .iter()
            .map(ToString::to_string)
            .collect(),
        record_name: record.name.fullname(None),
        record_avsc,
    })
}

/// The record has the fields that consumers find by name.
fn check_envelope(avro: &Avro) -> Result<&RecordSchema, String> {
    let Avro::Record(record) = avro else {
        return Err("record.avsc: is not a record; make it one".to_owned());
    };
    let names: Vec<&str> = record
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    let fits = |name: &str, schema: &Avro| match name {
        "timestamp" => matches!(schema, Avro::TimestampMicros),
        "payload" => matches!(schema, Avro::Record(_)),
        "rest" => {
            matches!(schema, Avro::Union(union) if union.variants() == [Avro::Null, Avro::String])
        }
        _ => matches!(schema, Avro::String),
    };
    let all_fit = record
        .fields
        .iter()
        .all(|field| fits(&field.name, &field.schema));
    if names == ENVELOPE && all_fit {
        return Ok(record);
    }
    Err(format!(
        "record.avsc: has the fields {}; every record has {}, in this order: strings, a timestamp-micros, a record, and [\"null\", \"string\"]",
        names.join(", "),
        ENVELOPE.join(", ")
    ))
}

/// An object around a value, while it is compiled.
struct Around {
    /// Where its currency is among its fields
    currency: Option<(usize, Case)>,
}

#[derive(Default)]
struct Compiler<'a> {
    /// The record's types that have a name
    named: HashMap<String, &'a Avro>,
    around: Vec<Around>,
    /// The roles of the record's fields: names of fields (an empty one steps into a list) and the role
    roles: Vec<(Vec<String>, Role)>,
    /// Pointers of what says something of the delivery
    delivery: Vec<String>,
    path: Vec<String>,
    lists: usize,
}

impl<'a> Compiler<'a> {
    fn name_types(&mut self, avro: &'a Avro, namespace: Option<&str>) {
        match avro {
            Avro::Record(record) => {
                let name = record.name.fully_qualified_name(namespace);
                self.named.insert(name.fullname(None), avro);
                for field in &record.fields {
                    self.name_types(&field.schema, name.namespace());
                }
            }
            Avro::Enum(symbols) => {
                let name = symbols.name.fullname(namespace);
                self.named.insert(name, avro);
            }
            Avro::Fixed(fixed)
            | Avro::Duration(fixed)
            | Avro::Uuid(UuidSchema::Fixed(fixed))
            | Avro::Decimal(DecimalSchema {
                inner: InnerDecimalSchema::Fixed(fixed),
                ..
            }) => {
                let name = fixed.name.fullname(namespace);
                self.named.insert(name, avro);
            }
            Avro::Union(union) => union
                .variants()
                .iter()
                .for_each(|variant| self.name_types(variant, namespace)),
            Avro::Array(array) => self.name_types(&array.items, namespace),
            Avro::Map(map) => self.name_types(&map.types, namespace),
            _ => {}
        }
    }

    /// What a type is, by name or not.
    fn resolved(&self, avro: &'a Avro) -> &'a Avro {
        match avro {
            Avro::Ref { name } => {
                let short = name.fullname(None);
                let ends = format!(".{short}");
                let found = self.named.get(&short).or_else(|| {
                    let mut names = self.named.iter().filter(|(name, _)| name.ends_with(&ends));
                    names.next().map(|(_, avro)| avro)
                });
                found.copied().unwrap_or(avro)
            }
            other => other,
        }
    }

    fn root(&mut self, schema: Schema, avro: Option<&'a Avro>) -> Result<Node, String> {
        if matches!(schema.shape, schema::Shape::Object(_)) {
            return self.node(schema, avro, true);
        }
        if let Some(Avro::Record(record)) = avro
            && let Some(field) = record.fields.first()
        {
            let problem = "the schema declares no such field of the payload; remove it, or describe the payload as an object with properties";
            return Err(format!("record.avsc: /payload/{}: {problem}", field.name));
        }
        // All of it is kept whole.
        self.node(schema, None, true)
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            crate::json::push_token(step, &mut pointer);
        }
        if pointer.is_empty() {
            "/".to_owned()
        } else {
            pointer
        }
    }

    /// Compiles a value; `sure`: it is always there.
    fn node(&mut self, schema: Schema, avro: Option<&'a Avro>, sure: bool) -> Result<Node, String> {
        let Schema {
            shape,
            nullable,
            role,
        } = schema;
        if role == Some(Role::Delivery) {
            if self.lists > 0 {
                return Err(format!(
                    "schema.json: {}: x-eventflow \"delivery\" has no effect within a list; give it to the whole list",
                    self.pointer()
                ));
            }
            self.delivery.push(self.pointer());
        }
        let (write, avro) = match avro.map(|avro| self.resolved(avro)) {
            None => (Write::Whole, None),
            Some(Avro::Union(union)) => {
                let null = union.variants().iter().position(|one| *one == Avro::Null);
                match (null, union.variants()) {
                    (Some(null), [first, second]) => {
                        let other = if null == 0 { second } else { first };
                        let branch = i64::from(null == 1);
                        (Write::OrNull(branch), Some(self.resolved(other)))
                    }
                    (_, _) => {
                        return Err(self.unfit("only a union of null and one type is supported"));
                    }
                }
            }
            Some(other) => (Write::Plain, Some(other)),
        };
        if write == Write::Plain && (!sure || nullable) {
            return Err(self.unfit(
                "is always written, so schema.json must require it, and not allow null (or make it a union with null)",
            ));
        }
        if let (Some(role), true) = (role, avro.is_some()) {
            self.roles.push((self.path.clone(), role));
        }
        let shape = match shape {
            schema::Shape::Raw(_) if avro.is_some() => {
                return Err(self.unfit(
                    "the schema does not say of which one type it is, so it travels in the field rest; remove it here",
                ));
            }
            schema::Shape::Raw(types) => Shape::Raw(types),
            schema::Shape::Object(object) => self.object(object, avro)?,
            schema::Shape::Map(values) => {
                let inner = match avro {
                    None => None,
                    Some(Avro::Map(map)) => Some(&*map.types),
                    Some(other) => return Err(self.mismatch("a map", other)),
                };
                Shape::Map(Box::new(self.listed(*values, inner)?))
            }
            schema::Shape::Array(array) => {
                let inner = match avro {
                    None => None,
                    Some(Avro::Array(items)) => Some(&*items.items),
                    Some(other) => return Err(self.mismatch("an array", other)),
                };
                Shape::Array {
                    items: Box::new(self.listed(*array.items, inner)?),
                    least: array.least,
                    most: array.most,
                }
            }
            schema::Shape::Text(text) => Shape::Value(self.text(text, avro)?),
            schema::Shape::Number(number) => {
                let write = self.number(number.integer, avro)?;
                Shape::Value(Rule::Number {
                    integer: number.integer,
                    bounds: number.bounds,
                    allowed: number.allowed,
                    write,
                })
            }
            schema::Shape::Amount(amount) => Shape::Value(self.amount(amount, avro)?),
            schema::Shape::Boolean { allowed } => match avro {
                None | Some(Avro::Boolean) => Shape::Value(Rule::Boolean { allowed }),
                Some(other) => return Err(self.mismatch("a boolean", other)),
            },
        };
        Ok(Node {
            nullable,
            shape,
            write,
        })
    }

    /// The items of a list.
    fn listed(&mut self, schema: Schema, avro: Option<&'a Avro>) -> Result<Node, String> {
        self.path.push("*".to_owned());
        self.lists += 1;
        let node = self.node(schema, avro, true)?;
        self.lists -= 1;
        self.path.pop();
        Ok(node)
    }

    fn object(
        &mut self,
        schema: schema::ObjectSchema,
        avro: Option<&'a Avro>,
    ) -> Result<Shape, String> {
        let record = match avro {
            None => None,
            Some(Avro::Record(record)) => Some(record),
            Some(other) => return Err(self.mismatch("an object", other)),
        };
        let currency = self.currency_of(&schema)?;
        self.around.push(Around { currency });
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in schema.fields {
            let avro = record
                .and_then(|record| record.fields.iter().find(|avro| avro.name == field.name))
                .map(|avro| &avro.schema);
            self.path.push(field.name.clone());
            let node = self.node(field.schema, avro, field.required)?;
            self.path.pop();
            fields.push(Field {
                name: field.name,
                required: field.required,
                node,
            });
        }
        self.around.pop();
        let mut order = Vec::new();
        for avro in record.into_iter().flat_map(|record| &record.fields) {
            match fields.iter().position(|field| field.name == avro.name) {
                Some(index) => order.push(index),
                None => {
                    self.path.push(avro.name.clone());
                    return Err(
                        self.unfit("is not in schema.json; describe it there, or remove it here")
                    );
                }
            }
        }
        let mut by_name: Vec<usize> = (0..fields.len()).collect();
        by_name.sort_by(|one, other| fields[*one].name.cmp(&fields[*other].name));
        Ok(Shape::Object(Object {
            fields,
            by_name,
            order,
            closed: schema.closed,
        }))
    }

    /// Where an object's currency is among its fields.
    fn currency_of(&self, object: &schema::ObjectSchema) -> Result<Option<(usize, Case)>, String> {
        let mut currencies = object
            .fields
            .iter()
            .enumerate()
            .filter_map(|(index, field)| match &field.schema.shape {
                schema::Shape::Text(TextSchema {
                    kind: TextKind::Currency(case),
                    ..
                }) => Some((index, *case)),
                _ => None,
            });
        let first = currencies.next();
        let has_amount = object
            .fields
            .iter()
            .any(|field| matches!(field.schema.shape, schema::Shape::Amount(_)));
        match currencies.next() {
            Some((second, _)) if has_amount => Err(format!(
                "schema.json: {}: x-eventflow \"currency\" is there twice beside an amount (again at {:?}); put each amount and its currency into an object of their own",
                self.pointer(),
                object.fields[second].name
            )),
            Some(_) | None => Ok(first),
        }
    }

    fn unfit(&self, problem: &str) -> String {
        format!("record.avsc: /payload{}: {problem}", self.pointer())
    }

    fn mismatch(&self, what: &str, avro: &Avro) -> String {
        let kind = serde_json::to_string(avro).unwrap_or_default();
        let kind: String = kind.chars().take(80).collect();
        format!(
            "schema.json: {}: is {what}, which does not fit {kind} in record.avsc; change one of them",
            self.pointer()
        )
    }
}
