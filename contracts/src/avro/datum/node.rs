//! A writer's schema, compiled: what to read next.

use super::DatumError;
use super::read::fault;
use crate::event::Role;
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UuidSchema};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Schemas nest at most this deep, as they are written; data of a recursive schema as deep as JSON bodies.
const MAX_DEPTH: usize = 64;

/// Part of a second that a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    /// `size` of a fixed; bytes have none
    Decimal {
        scale: u32,
        size: Option<usize>,
    },
    BigDecimal,
    /// As 16 bytes; `fixed`, or with their length before them. A uuid that is a string is [`Node::Text`].
    Uuid {
        fixed: bool,
    },
    Date,
    Time(Unit),
    /// An instant; `local`: without a zone
    Timestamp {
        unit: Unit,
        local: bool,
    },
    Duration,
    Enum(Vec<String>),
    Union(Vec<Node>),
    Array(Box<Node>),
    Map(Box<Node>),
    /// An index into [`Nodes::records`], so that a record can hold itself
    Record(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) role: Option<Role>,
}

/// The nodes of one schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    pub(super) records: Vec<Vec<Field>>,
}

/// Compiles a schema; gives the nodes and the place of the outermost record.
pub(super) fn compile(schema: &Schema) -> Result<(Nodes, usize), DatumError> {
    let mut compiler = Compiler {
        nodes: Nodes::default(),
        named: HashMap::new(),
    };
    match compiler.node(schema, None, 0)? {
        Node::Record(root) => Ok((compiler.nodes, root)),
        _ => Err(fault("the schema is not a record")),
    }
}

struct Compiler {
    nodes: Nodes,
    /// Records, enums and fixed types by full name
    named: HashMap<String, Node>,
}

impl Compiler {
    fn node(
        &mut self,
        schema: &Schema,
        namespace: Option<&str>,
        depth: usize,
    ) -> Result<Node, DatumError> {
        if depth > MAX_DEPTH {
            return Err(fault(format!(
                "the schema is nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::Text,
            Schema::Bytes => Node::Bytes,
            Schema::BigDecimal => Node::BigDecimal,
            Schema::Uuid(UuidSchema::Bytes) => Node::Uuid { fixed: false },
            Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                self.name(fixed.name.fullname(namespace), Node::Uuid { fixed: true })
            }
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::Time(Unit::Millis),
            Schema::TimeMicros => Node::Time(Unit::Micros),
            Schema::TimestampMillis => timestamp(Unit::Millis, false),
            Schema::TimestampMicros => timestamp(Unit::Micros, false),
            Schema::TimestampNanos => timestamp(Unit::Nanos, false),
            Schema::LocalTimestampMillis => timestamp(Unit::Millis, true),
            Schema::LocalTimestampMicros => timestamp(Unit::Micros, true),
            Schema::LocalTimestampNanos => timestamp(Unit::Nanos, true),
            Schema::Duration(fixed) => self.name(fixed.name.fullname(namespace), Node::Duration),
            Schema::Fixed(fixed) => {
                self.name(fixed.name.fullname(namespace), Node::Fixed(fixed.size))
            }
            Schema::Decimal(decimal) => {
                let scale =
                    u32::try_from(decimal.scale).map_err(|_| fault("scale is out of range"))?;
                match &decimal.inner {
                    InnerDecimalSchema::Bytes => Node::Decimal { scale, size: None },
                    InnerDecimalSchema::Fixed(fixed) => {
                        let size = Some(fixed.size);
                        self.name(
                            fixed.name.fullname(namespace),
                            Node::Decimal { scale, size },
                        )
                    }
                }
            }
            Schema::Enum(symbols) => self.name(
                symbols.name.fullname(namespace),
                Node::Enum(symbols.symbols.clone()),
            ),
            Schema::Union(union) => Node::Union(
                union
                    .variants()
                    .iter()
                    .map(|variant| self.node(variant, namespace, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            Schema::Array(array) => {
                Node::Array(Box::new(self.node(&array.items, namespace, depth + 1)?))
            }
            Schema::Map(map) => Node::Map(Box::new(self.node(&map.types, namespace, depth + 1)?)),
            Schema::Record(record) => self.record(record, namespace, depth)?,
            Schema::Ref { name } => {
                let name = name.fullname(namespace);
                let known = self.named.get(&name).cloned();
                known.ok_or_else(|| fault(format!("{name} is named before it is described")))?
            }
        })
    }

    fn name(&mut self, name: String, node: Node) -> Node {
        self.named.insert(name, node.clone());
        node
    }

    fn record(
        &mut self,
        record: &RecordSchema,
        namespace: Option<&str>,
        depth: usize,
    ) -> Result<Node, DatumError> {
        let name = record.name.fully_qualified_name(namespace);
        let at = self.nodes.records.len();
        self.nodes.records.push(Vec::new());
        // Known before its fields are read: one of them may be the record again.
        let node = self.name(name.fullname(None), Node::Record(at));
        let inner = name.namespace().map(str::to_owned);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            fields.push(Field {
                name: field.name.clone(),
                node: self.node(&field.schema, inner.as_deref(), depth + 1)?,
                role: role(&field.custom_attributes),
            });
        }
        self.nodes.records[at] = fields;
        Ok(node)
    }
}

fn timestamp(unit: Unit, local: bool) -> Node {
    Node::Timestamp { unit, local }
}

/// The role of a record's field.
fn role(attributes: &BTreeMap<String, Value>) -> Option<Role> {
    attributes
        .get(Role::ATTRIBUTE)
        .and_then(Value::as_str)
        .and_then(Role::parse)
}
