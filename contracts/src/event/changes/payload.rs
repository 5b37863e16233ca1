//! Changes of a payload's schema.

mod values;

use super::{Breaks, Change};
use crate::event::Role;
use crate::event::schema::{
    self, ArraySchema, FieldSchema, Payload, Schema, Shape, SlowKeyword, Type, Types,
};

pub(super) fn changes(old_json: &str, new_json: &str) -> Vec<Change> {
    let mut walk = Walk::default();
    match (schema::read(old_json), schema::read(new_json)) {
        (Ok(old), Ok(new)) => walk.payload(&old, &new),
        (Err(problem), _) | (_, Err(problem)) => walk.say(Breaks::Undecided, problem),
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    pointer: String,
    found: Vec<Change>,
    /// Pointers of what only one of the two declares
    of_one: Vec<String>,
}

impl Walk {
    fn say(&mut self, breaks: Breaks, detail: impl Into<String>) {
        self.found.push(Change {
            file: "schema.json",
            pointer: self.pointer.clone(),
            detail: detail.into(),
            breaks,
        });
    }

    /// Says which of two rules is the wider one; nothing if they are the same.
    fn compare(&mut self, narrower: bool, wider: bool, detail: impl FnOnce() -> String) {
        let breaks = Breaks::of(narrower, wider);
        if breaks != Breaks::Nobody {
            self.say(breaks, detail());
        }
    }

    fn at(&mut self, token: &str, work: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        crate::json::push_token(token, &mut self.pointer);
        work(self);
        self.pointer.truncate(length);
    }

    fn payload(&mut self, old: &Payload, new: &Payload) {
        if old.kind != new.kind {
            let name = |kind: &Option<String>| format!("{:?}", kind.as_deref().unwrap_or("none"));
            let detail = format!("kind was {}, is {}", name(&old.kind), name(&new.kind));
            self.say(Breaks::Nobody, detail);
        }
        self.schema((&old.schema, true), (&new.schema, true));
        self.slow(&old.slow_keywords, &new.slow_keywords);
    }

    /// A value and whether it must be there.
    fn schema(
        &mut self,
        (old, old_required): (&Schema, bool),
        (new, new_required): (&Schema, bool),
    ) {
        match (old_required, new_required) {
            (false, true) => self.say(Breaks::Backward, "is required now"),
            (true, false) => self.say(Breaks::Forward, "is no longer required"),
            (true, true) if old.nullable && !new.nullable => {
                self.say(Breaks::Backward, "may no longer be null");
            }
            (true, true) if !old.nullable && new.nullable => {
                self.say(Breaks::Forward, "may be null now");
            }
            // Null is as good as missing, so nobody sees the difference.
            (true, true) | (false, false) => {}
        }
        if old.role != new.role {
            let name = |role: Option<Role>| role.map_or("none", Role::name);
            let detail = format!("x-eventflow was {}, is {}", name(old.role), name(new.role));
            self.say(Breaks::Nobody, detail);
        }
        self.shape(&old.shape, &new.shape);
    }

    fn shape(&mut self, old: &Shape, new: &Shape) {
        match (old, new) {
            (Shape::Object(old), Shape::Object(new)) => {
                self.fields(&old.fields, old.closed, &new.fields, new.closed);
            }
            // An object without a word about its fields.
            (Shape::Raw(types), Shape::Object(new)) if *types == Types::of([Type::Object]) => {
                self.fields(&[], false, &new.fields, new.closed);
            }
            (Shape::Object(old), Shape::Raw(types)) if *types == Types::of([Type::Object]) => {
                self.fields(&old.fields, old.closed, &[], false);
            }
            (Shape::Map(old), Shape::Map(new)) => {
                self.at("*", |walk| walk.schema((old, true), (new, true)));
            }
            (Shape::Array(old), Shape::Array(new)) => self.array(old, new),
            (Shape::Text(old), Shape::Text(new)) => self.text(old, new),
            (Shape::Number(old), Shape::Number(new)) => self.number(old, new),
            (Shape::Amount(old), Shape::Amount(new)) => self.amount(old, new),
            (Shape::Boolean { allowed: old }, Shape::Boolean { allowed: new }) => {
                self.allowed(old.as_deref(), new.as_deref());
            }
            (old, new) => self.types(old, new),
        }
    }

    /// Values of different kinds.
    fn types(&mut self, old: &Shape, new: &Shape) {
        let (before, after) = (types_of(old), types_of(new));
        let was = format!("was {}, is {}", name(old), name(new));
        match (old, new) {
            (Shape::Raw(_), Shape::Raw(_)) => {
                self.compare(!before.within(after), !after.within(before), || was);
            }
            // Inside, an untyped value takes more than a typed one.
            (Shape::Raw(_), _) => {
                self.compare(true, !after.within(before), || was);
            }
            (_, Shape::Raw(_)) => {
                self.compare(!before.within(after), true, || was);
            }
            (_, _) => self.say(Breaks::Both, was),
        }
    }

    fn fields(
        &mut self,
        old: &[FieldSchema],
        old_closed: bool,
        new: &[FieldSchema],
        new_closed: bool,
    ) {
        if old_closed != new_closed {
            let detail = if new_closed {
                "refuses fields that it does not name now"
            } else {
                "takes fields that it does not name now"
            };
            self.compare(new_closed, old_closed, || detail.to_owned());
        }
        for field in new {
            let before = old.iter().find(|before| before.name == field.name);
            self.at(&field.name, |walk| match before {
                Some(before) => walk.schema(
                    (&before.schema, before.required),
                    (&field.schema, field.required),
                ),
                None => {
                    walk.of_one.push(walk.pointer.clone());
                    match (field.required, old_closed) {
                        (true, false) => walk.say(Breaks::Backward, "is new, and required"),
                        (true, true) => {
                            walk.say(Breaks::Both, "is new, and required; it was refused");
                        }
                        (false, false) => walk.say(Breaks::Nobody, "is new"),
                        (false, true) => walk.say(Breaks::Forward, "is new; it was refused"),
                    }
                }
            });
        }
        for field in old {
            if new.iter().any(|now| now.name == field.name) {
                continue;
            }
            self.at(&field.name, |walk| {
                walk.of_one.push(walk.pointer.clone());
                match (field.required, new_closed) {
                    (true, false) => walk.say(Breaks::Forward, "is gone, and was required"),
                    (true, true) => {
                        walk.say(Breaks::Both, "is gone, was required, and is refused now");
                    }
                    (false, false) => walk.say(Breaks::Nobody, "is gone; it travels in rest"),
                    (false, true) => walk.say(Breaks::Backward, "is gone, and refused now"),
                }
            });
        }
    }

    fn array(&mut self, old: &ArraySchema, new: &ArraySchema) {
        self.compare(new.least > old.least, new.least < old.least, || {
            format!("minItems was {}, is {}", old.least, new.least)
        });
        self.most("maxItems", old.most, new.most);
        self.at("*", |walk| {
            walk.schema((&old.items, true), (&new.items, true));
        });
    }

    /// Keywords that jsonschema judges. Those of a field that only one version declares are part of its being new, or gone.
    fn slow(&mut self, old: &[SlowKeyword], new: &[SlowKeyword]) {
        let of_one = std::mem::take(&mut self.of_one);
        let counts = |one: &&SlowKeyword| {
            !of_one.iter().any(|pointer| {
                let rest = one.pointer.strip_prefix(pointer.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let same = |one: &SlowKeyword, other: &SlowKeyword| {
            one.pointer == other.pointer && one.keyword == other.keyword
        };
        for now in new.iter().filter(counts) {
            self.pointer.clone_from(&now.pointer);
            let keyword = &now.keyword;
            match old.iter().find(|before| same(before, now)) {
                None => self.say(Breaks::Backward, format!("has the rule {keyword} now")),
                Some(before) if before.value != now.value => {
                    self.say(
                        Breaks::Undecided,
                        format!("the rule {keyword} is another one"),
                    );
                }
                Some(_) => {}
            }
        }
        for before in old.iter().filter(counts) {
            if !new.iter().any(|now| same(before, now)) {
                self.pointer.clone_from(&before.pointer);
                self.say(
                    Breaks::Forward,
                    format!("has the rule {} no longer", before.keyword),
                );
            }
        }
        self.pointer.clear();
    }
}

/// The JSON types of a value that is not null.
fn types_of(shape: &Shape) -> Types {
    match shape {
        Shape::Raw(types) => *types,
        Shape::Object(_) | Shape::Map(_) => Types::of([Type::Object]),
        Shape::Array(_) => Types::of([Type::Array]),
        Shape::Text(_) => Types::of([Type::String]),
        Shape::Number(number) if number.integer => Types::of([Type::Integer]),
        Shape::Number(_) => Types::of([Type::Number]),
        Shape::Amount(amount) => {
            let number = amount.number.then_some(Type::Number);
            Types::of(
                number
                    .into_iter()
                    .chain(amount.text.then_some(Type::String)),
            )
        }
        Shape::Boolean { .. } => Types::of([Type::Boolean]),
    }
}

/// For people.
fn name(shape: &Shape) -> String {
    match shape {
        Shape::Raw(types) if *types == Types::ANY => "anything".to_owned(),
        Shape::Map(_) => "a map".to_owned(),
        Shape::Amount(_) => "an amount".to_owned(),
        Shape::Raw(_)
        | Shape::Object(_)
        | Shape::Array(_)
        | Shape::Text(_)
        | Shape::Number(_)
        | Shape::Boolean { .. } => types_of(shape).names(),
    }
}
