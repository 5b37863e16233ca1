//! Contracts and payloads near them, made from a tape of choices: the first choice is always the plainest, so proptest shrinks towards it.

use serde_json::{Map, Value, json};

/// Choices, used up from the front; then all are the first.
pub(crate) struct Tape<'t>(pub(crate) std::slice::Iter<'t, u8>);

impl Tape<'_> {
    pub(crate) fn pick(&mut self, of: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % of
    }

    pub(crate) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.pick(of.len())].clone()
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.pick(one_in) == one_in - 1
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// A string with these keywords; those with `true` are an id
    Text(Value, bool),
    Currency,
    Time,
    /// A format, and texts that have it or not
    Format(&'static str, &'static [&'static str]),
    /// As a number, as a string
    Amount(bool, bool),
    /// An object with an amount in minor units and a lower-case currency
    Money,
    /// An integer or a number with these keywords
    Number(bool, Value),
    Boolean,
    Object {
        members: Vec<Member>,
        closed: bool,
    },
    Map(Box<Shape>, bool),
    Array {
        item: Box<Shape>,
        nullable: bool,
        keywords: Value,
    },
    /// A schema without one type, kept whole
    Raw(Value),
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    pub(crate) nullable: bool,
}

/// JSON to be sent, before it is written one way or another.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Word(String),
    Array(Vec<Sent>),
    Object(Vec<(String, Sent)>),
}

impl Sent {
    fn word(word: &str) -> Self {
        Self::Word(word.to_owned())
    }

    fn text(text: &str) -> Self {
        Self::Word(json!(text).to_string())
    }

    /// As JSON; `other`: with white space, and members in another order.
    pub(crate) fn written(&self, other: bool) -> String {
        let gap = if other { " \n" } else { "" };
        match self {
            Self::Word(word) => word.clone(),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| item.written(other)).collect();
                format!("[{gap}{}]", items.join(&format!("{gap},")))
            }
            Self::Object(members) => {
                let mut members: Vec<String> = members
                    .iter()
                    .map(|(name, value)| {
                        format!("{}{gap}:{gap}{}", json!(name), value.written(other))
                    })
                    .collect();
                if other {
                    members.reverse();
                }
                format!("{{{}{gap}}}", members.join(","))
            }
        }
    }
}

const TEXTS: &[&str] = &[
    "a", "ab", "é", "😀", "abc", "", " ", "éé", "😀😀", "a é😀", "abcde", "\u{0}", "a\u{0}b",
];

pub(crate) fn members(tape: &mut Tape<'_>, depth: usize) -> Vec<Member> {
    let mut all: Vec<Member> = Vec::new();
    for index in 0..=tape.pick(5) {
        let mut shape = shape(tape, depth);
        let is_currency = |member: &Member| matches!(member.shape, Shape::Currency);
        if matches!(shape, Shape::Currency) && all.iter().any(is_currency) {
            shape = Shape::Time;
        }
        // In an order of their own: nothing may depend on the alphabet. Some are no Avro names.
        all.push(Member {
            name: format!("{}{index}", tape.one(&["m", "z", "a", "q/", "r~", "x-"])),
            required: !tape.chance(3),
            nullable: !matches!(shape, Shape::Raw(_)) && tape.chance(4),
            shape,
        });
    }
    all
}

fn shape(tape: &mut Tape<'_>, depth: usize) -> Shape {
    match tape.pick(if depth < 3 { 18 } else { 13 }) {
        0 | 1 => {
            let mut keywords = json!({});
            if let Some(least) = tape.one(&[None, Some(0), Some(1), Some(2)]) {
                keywords["minLength"] = json!(least);
            }
            if let Some(most) = tape.one(&[None, Some(2), Some(3), Some(5)]) {
                keywords["maxLength"] = json!(most);
            }
            match tape.pick(6) {
                0..=2 => {}
                3 => keywords["enum"] = json!(["a", "ab", "abc"]),
                4 => keywords["const"] = json!("é"),
                _ => keywords["pattern"] = json!("^a"),
            }
            Shape::Text(keywords, tape.chance(3))
        }
        2 | 3 => {
            let mut keywords = json!({});
            match tape.pick(6) {
                0 | 1 => {}
                2 => keywords["enum"] = json!([1, -7, 2.0, 100]),
                3 => keywords["minimum"] = json!(1),
                4 => keywords["exclusiveMaximum"] = json!(100),
                _ => keywords["multipleOf"] = json!(2),
            }
            Shape::Number(tape.chance(2), keywords)
        }
        4 => Shape::Boolean,
        5 => Shape::Time,
        6 => Shape::Currency,
        7 => tape.one(&[
            Shape::Format(
                "date",
                &["2026-02-28", "2024-02-29", "2026-02-29", "2026-2-1", "soon", "2026-01-01T00:00:00Z"],
            ),
            Shape::Format(
                "uuid",
                &["5b1f0c9e-0d1c-7f3a-9c59-1d2f6a7b8c90", "5B1F0C9E-0D1C-7F3A-9C59-1D2F6A7B8C90", "5b1f0c9e0d1c7f3a9c591d2f6a7b8c90", "x"],
            ),
            Shape::Format("email", &["a@example.org", "a", "@", "a b@c"]),
            Shape::Format("uri", &["https://example.org/a?b#c", "a", "//x", "mailto:a@b.c"]),
        ]),
        8 => match tape.pick(3) {
            0 => Shape::Amount(true, true),
            1 => Shape::Amount(true, false),
            _ => Shape::Amount(false, true),
        },
        9 => Shape::Money,
        10..=12 => Shape::Raw(tape.one(&[
            json!({}),
            json!(true),
            json!({"type": "object"}),
            json!({"type": ["string", "integer", "null"]}),
            json!({"type": ["string", "integer"], "minLength": 2, "minimum": 3}),
            json!({"type": "array"}),
            json!({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "array", "items": {"type": "integer"}}]}),
            json!({"oneOf": [{"type": "object", "required": ["kind"]}, {"enum": [1, "a"]}]}),
            json!({"not": {"type": "string"}}),
            json!({"const": {"a": [1, null]}}),
            json!({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}}),
        ])),
        13 | 14 => Shape::Object {
            members: members(tape, depth + 1),
            closed: tape.chance(4),
        },
        15 => Shape::Map(Box::new(shape(tape, depth + 1)), tape.chance(3)),
        _ => {
            let mut keywords = json!({});
            match tape.pick(5) {
                0..=1 => {}
                2 => keywords["minItems"] = json!(1),
                3 => keywords["maxItems"] = json!(2),
                _ => keywords["uniqueItems"] = json!(true),
            }
            Shape::Array {
                item: Box::new(shape(tape, depth + 1)),
                nullable: tape.chance(4),
                keywords,
            }
        }
    }
}

/// A schema that allows null too.
fn or_null(schema: Value, nullable: bool, tape: bool) -> Value {
    if !nullable {
        return schema;
    }
    if tape {
        return json!({"anyOf": [{"type": "null"}, schema]});
    }
    let mut schema = schema;
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    match schema.get("type").cloned() {
        Some(Value::String(one)) if schema.get("const").is_none() => {
            schema["type"] = json!([one, "null"]);
            schema
        }
        _ => json!({"oneOf": [schema, {"type": "null"}]}),
    }
}

impl Shape {
    /// As `schema.json` has it; for the judge, the rules that a role adds are written out in JSON Schema.
    pub(crate) fn schema(&self, judge: bool) -> Value {
        match self {
            Self::Text(keywords, id) => {
                let mut schema = keywords.clone();
                schema["type"] = json!("string");
                if judge {
                    let mut rules = vec![json!({"not": {"pattern": "\\u0000"}})];
                    if *id {
                        rules.push(json!({"pattern": "[^ ]", "maxLength": 256}));
                    }
                    rules.push(schema);
                    json!({"type": "string", "allOf": rules})
                } else {
                    if *id {
                        schema["x-eventflow"] = json!("id");
                    }
                    schema
                }
            }
            Self::Currency if judge => json!({"type": "string", "pattern": "^(EUR|USD)$"}),
            Self::Currency => json!({"type": "string", "x-eventflow": "currency"}),
            Self::Time => json!({"type": "string", "format": "date-time", "title": "when"}),
            Self::Format(name, _) => json!({"type": "string", "format": name}),
            Self::Amount(number, text) => {
                let types = match (number, text) {
                    (true, true) => json!(["number", "string"]),
                    (true, false) => json!("number"),
                    (false, _) => json!("string"),
                };
                if judge {
                    json!({"type": types})
                } else {
                    json!({"type": types, "x-eventflow": "amount"})
                }
            }
            Self::Money if judge => {
                json!({"type": "object", "required": ["currency", "minor"], "properties": {
                    "minor": {"type": "integer", "minimum": -5},
                    "currency": {"type": "string", "pattern": "^(eur|usd)$"},
                }})
            }
            Self::Money => {
                json!({"type": "object", "required": ["currency", "minor"], "properties": {
                    "minor": {"type": "integer", "minimum": -5, "x-eventflow": "amount-minor"},
                    "currency": {"type": "string", "x-eventflow": {"role": "currency", "case": "lower"}},
                }})
            }
            Self::Number(integer, keywords) => {
                let mut schema = keywords.clone();
                schema["type"] = json!(if *integer { "integer" } else { "number" });
                if *integer && judge {
                    json!({"type": "integer", "allOf": [schema, {"minimum": i64::MIN, "maximum": i64::MAX}]})
                } else {
                    schema
                }
            }
            Self::Boolean => json!({"type": "boolean"}),
            Self::Object { members, closed } => {
                let required: Vec<&str> = members
                    .iter()
                    .filter(|member| member.required)
                    .map(|member| member.name.as_str())
                    .collect();
                let properties: Map<String, Value> = members
                    .iter()
                    .map(|member| {
                        let schema = member.shape.schema(judge);
                        let as_any_of = member.name.len() % 2 == 0;
                        (
                            member.name.clone(),
                            or_null(schema, member.nullable, as_any_of || judge),
                        )
                    })
                    .collect();
                let mut schema =
                    json!({"type": "object", "required": required, "properties": properties});
                if *closed {
                    schema["additionalProperties"] = json!(false);
                }
                schema
            }
            Self::Map(values, bounded) => {
                let mut schema =
                    json!({"type": "object", "additionalProperties": values.schema(judge)});
                if *bounded {
                    schema["maxProperties"] = json!(2);
                }
                schema
            }
            Self::Array {
                item,
                nullable,
                keywords,
            } => {
                let mut schema = keywords.clone();
                schema["type"] = json!("array");
                let nullable = *nullable && !matches!(**item, Shape::Raw(_));
                schema["items"] = or_null(item.schema(judge), nullable, true);
                schema
            }
            Self::Raw(schema) => schema.clone(),
        }
    }

    /// A value, of this shape or near it.
    pub(crate) fn value(&self, tape: &mut Tape<'_>) -> Sent {
        if tape.chance(40) {
            let wrong = [
                "true",
                "17",
                "\"w\"",
                "[]",
                "[{\"a\":null}]",
                "{}",
                "1.5",
                "\"\"",
            ];
            let word = tape.one(&wrong);
            // No number to our rules of money, which JSON Schema cannot say.
            return Sent::word(match self {
                Self::Amount(..) => "[]",
                Self::Money => "{}",
                _ => word,
            });
        }
        match self {
            Self::Text(keywords, _) => {
                let text = match tape.pick(3) {
                    0 => tape.one(TEXTS),
                    _ if keywords.get("enum").is_some() => tape.one(&["a", "ab", "abc"]),
                    _ if keywords.get("const").is_some() => "é",
                    _ => tape.one(&["ab", "abc"]),
                };
                match text {
                    "😀" if tape.chance(2) => Sent::word(r#""\ud83d\ude00""#),
                    text => Sent::text(text),
                }
            }
            Self::Currency => Sent::text(tape.one(&["EUR", "USD", "EUR", "eur", ""])),
            Self::Time => Sent::text(tape.one(&[
                "1970-01-01T00:00:01Z",
                "1970-01-01T01:00:00.25+01:00",
                "1969-12-31T23:59:59.999999z",
                "1970-01-02t00:00:00.0000001Z",
                "1970-01-01T00:00:01",
                "1970-13-01T00:00:01Z",
                "1970-01-01 00:00:01",
                "1970-02-30T00:00:01Z",
                "soon",
            ])),
            Self::Format(_, texts) => match tape.pick(3) {
                0 | 1 => Sent::text(texts[0]),
                _ => Sent::text(tape.one(texts)),
            },
            Self::Amount(..) => Sent::word(tape.one(&["49.90", "\"49.90\"", "1e2", "7", "\"7\""])),
            Self::Money => Sent::Object(vec![
                (
                    "minor".to_owned(),
                    Sent::word(tape.one(&["4990", "1", "0", "-5", "-6", "12e1"])),
                ),
                (
                    "currency".to_owned(),
                    Sent::text(tape.one(&["eur", "usd", "eur", "eur", "EUR"])),
                ),
                ("note".to_owned(), Sent::word("[0.10]")),
            ]),
            Self::Number(..) => Sent::word(tape.one(&[
                "2",
                "100",
                "98",
                "-7",
                "1",
                "2.0",
                "0",
                "-0",
                "3e2",
                "2147483648",
                "9223372036854775806",
                "2.5",
                "25e-1",
                "0.1",
                "1e30",
                "18446744073709551615",
            ])),
            Self::Boolean => Sent::word(tape.one(&["true", "false"])),
            Self::Object { members, .. } => object(members, tape),
            Self::Map(values, _) => Sent::Object(
                (0..tape.pick(4))
                    .map(|index| {
                        (
                            format!("{}{index}", tape.one(&["k", "a/b", "é"])),
                            values.value(tape),
                        )
                    })
                    .collect(),
            ),
            Self::Array { item, nullable, .. } => Sent::Array(
                (0..tape.pick(4))
                    .map(|_| {
                        if *nullable && tape.chance(3) {
                            Sent::word("null")
                        } else {
                            item.value(tape)
                        }
                    })
                    .collect(),
            ),
            Self::Raw(_) => Sent::word(tape.one(&[
                "1",
                "\"a\"",
                "[1,2]",
                "{}",
                "{\"kind\":1.50}",
                "{\"a\":[1,null]}",
                "[1,\"x\",\"y\"]",
                "null",
                "\"abc\"",
                "5",
            ])),
        }
    }
}

/// A payload near the schema of these members.
pub(crate) fn object(members: &[Member], tape: &mut Tape<'_>) -> Sent {
    let mut parts = Vec::new();
    if tape.chance(5) {
        let value = Sent::word(r#"{"a":[1,null,2.50],"Z":"\u00fc"}"#);
        parts.push(("unknown".to_owned(), value));
    }
    for member in members {
        if tape.chance(if member.required { 30 } else { 3 }) {
            if tape.chance(2) {
                parts.push((member.name.clone(), Sent::word("null")));
            }
        } else if member.nullable && tape.chance(3) {
            parts.push((member.name.clone(), Sent::word("null")));
        } else {
            parts.push((member.name.clone(), member.shape.value(tape)));
        }
    }
    let turn = tape.pick(parts.len().max(1));
    parts.rotate_left(turn);
    Sent::Object(parts)
}
