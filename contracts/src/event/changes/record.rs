//! Changes of an Avro record that break a reader, and where. Whether one breaks is apache-avro's word (`can_read`); the walk only finds the
//! place.

use super::{Breaks, Change};
use crate::event::can_read;
use apache_avro::Schema;
use apache_avro::schema::{RecordField, RecordSchema};
use std::collections::HashMap;

/// Longest type that is shown, in characters.
const SHOWN: usize = 60;

pub(super) fn changes(old_avsc: &str, new_avsc: &str) -> Vec<Change> {
    let parsed = (Schema::parse_str(old_avsc), Schema::parse_str(new_avsc));
    let (old, new) = match &parsed {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => {
            return vec![change("", error.to_string(), Breaks::Undecided)];
        }
    };
    let (backward, forward) = (can_read(old, new), can_read(new, old));
    let mut walk = Walk {
        named: [names(old), names(new)],
        pointer: String::new(),
        found: Vec::new(),
        depth: 0,
    };
    walk.kinds(old, new);
    let mut found = walk.found;
    // The whole decides: the walk may only be more exact.
    found.retain_mut(|one| {
        one.breaks = Breaks::of(
            one.breaks.backward() && backward.is_err(),
            one.breaks.forward() && forward.is_err(),
        );
        one.breaks != Breaks::Nobody
    });
    for (why, of) in [(backward, Breaks::Backward), (forward, Breaks::Forward)] {
        let is_named = found
            .iter()
            .any(|one| one.breaks == of || one.breaks == Breaks::Both);
        if let Err(why) = why
            && !is_named
        {
            found.push(change("", why, of));
        }
    }
    found
}

fn change(pointer: &str, detail: String, breaks: Breaks) -> Change {
    Change {
        file: "record.avsc",
        pointer: pointer.to_owned(),
        detail,
        breaks,
    }
}

/// Deepest nesting that is walked: a record may contain itself.
const MAX_DEPTH: usize = 100;

struct Walk<'s> {
    /// Types that have a name, of the old and of the new record, by its last part: one of another namespace costs no more than a place
    named: [HashMap<&'s str, &'s Schema>; 2],
    pointer: String,
    found: Vec<Change>,
    depth: usize,
}

impl<'s> Walk<'s> {
    fn say(&mut self, breaks: Breaks, detail: String) {
        if breaks != Breaks::Nobody {
            self.found.push(change(&self.pointer, detail, breaks));
        }
    }

    fn at(&mut self, token: &str, work: impl FnOnce(&mut Self)) {
        if self.depth == MAX_DEPTH {
            return;
        }
        let length = self.pointer.len();
        crate::json::push_token(token, &mut self.pointer);
        self.depth += 1;
        work(self);
        self.depth -= 1;
        self.pointer.truncate(length);
    }

    fn resolved(&self, which: usize, schema: &'s Schema) -> &'s Schema {
        match schema {
            Schema::Ref { name } => self.named[which]
                .get(name.name())
                .copied()
                .unwrap_or(schema),
            other => other,
        }
    }

    fn kinds(&mut self, old: &'s Schema, new: &'s Schema) {
        let (old, new) = (self.resolved(0, old), self.resolved(1, new));
        let ((old, old_null), (new, new_null)) = (not_null(old), not_null(new));
        self.say(
            Breaks::of(old_null && !new_null, new_null && !old_null),
            if new_null {
                "may be null now"
            } else {
                "may no longer be null"
            }
            .to_owned(),
        );
        let (old, new) = (self.resolved(0, old), self.resolved(1, new));
        match (old, new) {
            (Schema::Record(old), Schema::Record(new)) => self.records(old, new),
            (Schema::Array(old), Schema::Array(new)) => {
                self.at("*", |walk| walk.kinds(&old.items, &new.items));
            }
            (Schema::Map(old), Schema::Map(new)) => {
                self.at("*", |walk| walk.kinds(&old.types, &new.types));
            }
            (old, new) => {
                let breaks = Breaks::of(can_read(old, new).is_err(), can_read(new, old).is_err());
                let text = |schema: &Schema| -> String {
                    let json = serde_json::to_string(schema).unwrap_or_default();
                    json.chars().take(SHOWN).collect()
                };
                self.say(breaks, format!("was {}, is {}", text(old), text(new)));
            }
        }
    }

    fn records(&mut self, old: &'s RecordSchema, new: &'s RecordSchema) {
        let (before, now) = (old.name.fullname(None), new.name.fullname(None));
        if before != now {
            self.say(Breaks::Both, format!("its record was {before}, is {now}"));
        }
        let known =
            |fields: &'s [RecordField], name: &str| fields.iter().find(|field| field.name == name);
        for field in &new.fields {
            self.at(&field.name, |walk| match known(&old.fields, &field.name) {
                Some(before) => walk.kinds(&before.schema, &field.schema),
                None => walk.say(
                    Breaks::of(field.default.is_none(), false),
                    "is new, without a default".to_owned(),
                ),
            });
        }
        for field in &old.fields {
            if known(&new.fields, &field.name).is_none() {
                self.at(&field.name, |walk| {
                    walk.say(
                        Breaks::of(false, field.default.is_none()),
                        "is gone, and had no default".to_owned(),
                    );
                });
            }
        }
    }
}

/// The type beside null.
fn not_null(schema: &Schema) -> (&Schema, bool) {
    if let Schema::Union(union) = schema
        && let [Schema::Null, other] | [other, Schema::Null] = union.variants()
    {
        return (other, true);
    }
    (schema, false)
}

/// The types of a schema that have a name.
fn names(schema: &Schema) -> HashMap<&str, &Schema> {
    fn collect<'s>(schema: &'s Schema, named: &mut HashMap<&'s str, &'s Schema>) {
        if let Some(name) = schema.name()
            && !matches!(schema, Schema::Ref { .. })
        {
            named.insert(name.name(), schema);
        }
        match schema {
            Schema::Record(record) => record
                .fields
                .iter()
                .for_each(|field| collect(&field.schema, named)),
            Schema::Array(array) => collect(&array.items, named),
            Schema::Map(map) => collect(&map.types, named),
            Schema::Union(union) => union.variants().iter().for_each(|one| collect(one, named)),
            _ => {}
        }
    }
    let mut named = HashMap::new();
    collect(schema, &mut named);
    named
}
