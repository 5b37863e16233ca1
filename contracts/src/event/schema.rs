//! `schema.json`, read: what the payload must be. Every keyword is applied by the plan, left to the crate jsonschema, or stops the boot.

mod expand;
mod keywords;
mod numbers;
mod read;
mod shape;

pub(crate) use keywords::without_notes;
pub(crate) use read::read;
pub(crate) use shape::MAX_ID_LENGTH;

use super::Role;
use super::money::Decimal;
use crate::json::Json;

/// A payload's schema.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) schema: Schema,
    /// What jsonschema must judge, without what the plan does
    pub(crate) slow: Option<Json>,
    /// The keywords that jsonschema judges
    pub(crate) slow_keywords: Vec<SlowKeyword>,
    /// The kind of all events of the contract
    pub(crate) kind: Option<String>,
}

/// A keyword that jsonschema judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowKeyword {
    /// Of the place in the payload; `*` is every item of a list
    pub(crate) pointer: String,
    pub(crate) keyword: String,
    pub(crate) value: Json,
}

impl std::fmt::Display for SlowKeyword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.pointer, self.keyword)
    }
}

/// What a value must be.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) shape: Shape,
    /// It may be null
    pub(crate) nullable: bool,
    pub(crate) role: Option<Role>,
}

#[derive(Debug)]
pub(crate) enum Shape {
    /// Of one of these types, and kept whole
    Raw(Types),
    Object(ObjectSchema),
    Map(Box<Schema>),
    Array(ArraySchema),
    Text(TextSchema),
    Number(NumberSchema),
    Amount(AmountSchema),
    Boolean {
        allowed: Option<Vec<bool>>,
    },
}

/// An object whose fields are listed.
#[derive(Debug)]
pub(crate) struct ObjectSchema {
    /// In the order of the file, which is the order in which they are checked
    pub(crate) fields: Vec<FieldSchema>,
    /// Fields that are not listed are refused
    pub(crate) closed: bool,
}

#[derive(Debug)]
pub(crate) struct FieldSchema {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) schema: Schema,
}

#[derive(Debug)]
pub(crate) struct ArraySchema {
    pub(crate) items: Box<Schema>,
    pub(crate) least: usize,
    pub(crate) most: usize,
}

#[derive(Debug)]
pub(crate) struct TextSchema {
    pub(crate) kind: TextKind,
    /// Length in characters
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) allowed: Option<Vec<String>>,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    Plain,
    /// Not blank
    Id,
    /// ISO 4217
    Currency(Case),
    /// RFC 3339, with date and zone
    Time,
    /// RFC 3339's full-date
    Date,
    /// RFC 4122
    Uuid,
}

/// The letters of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Upper,
    Lower,
    Any,
}

#[derive(Debug)]
pub(crate) struct NumberSchema {
    /// It has no fraction
    pub(crate) integer: bool,
    pub(crate) bounds: Bounds,
    pub(crate) allowed: Option<Vec<Decimal>>,
}

/// Bounds of a number, exact.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    pub(crate) least: Option<Bound>,
    pub(crate) most: Option<Bound>,
    pub(crate) multiple_of: Option<Decimal>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) at: Decimal,
    /// The bound itself is out of bounds
    pub(crate) exclusive: bool,
}

/// Money: an exact decimal in a currency.
#[derive(Debug)]
pub(crate) struct AmountSchema {
    /// JSON types it may have
    pub(crate) number: bool,
    pub(crate) text: bool,
    pub(crate) bounds: Bounds,
    pub(crate) unit: Unit,
}

/// What an amount counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Euros
    Major,
    /// Cents: whole numbers, of as many fraction digits as the currency has, or as this vendor says it has
    Minor(Vec<(String, u32)>),
    /// A whole number of a unit with this many fraction digits, whatever the currency
    Fixed(u32),
}

/// JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Types(u8);

/// One JSON type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Number,
    Integer,
    String,
    Array,
    Object,
}

impl Type {
    const ALL: [(&'static str, Self); 7] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("string", Self::String),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, found)| *found)
    }
}

impl Types {
    pub(crate) const ANY: Self = Self(0x7f);

    pub(crate) fn of(types: impl IntoIterator<Item = Type>) -> Self {
        Self(types.into_iter().fold(0, |all, one| all | (1 << one as u8)))
    }

    pub(crate) fn has(self, one: Type) -> bool {
        self.0 & (1 << one as u8) != 0
    }

    /// Every value of one of these types is of one of the others.
    pub(crate) fn within(self, others: Self) -> bool {
        let whole = if others.has(Type::Number) {
            1 << Type::Integer as u8
        } else {
            0
        };
        self.0 & !(others.0 | whole) == 0
    }

    /// For people: "a string or null".
    pub(crate) fn names(self) -> String {
        let names = Type::ALL.iter().filter(|(_, one)| self.has(*one));
        names
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(" or ")
    }
}
