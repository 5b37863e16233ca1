//! From what was seen to a schema.

use super::{Seen, guess};
use crate::json::Json;

/// Samples from which on it means something that a field had few values.
const ENOUGH: usize = 3;
/// So few.
const FEW_TEXTS: usize = 5;

/// The schema of a payload.
pub(super) fn schema(title: &str, seen: &Seen, samples: usize) -> Json {
    let mut members = vec![
        (
            "$schema".to_owned(),
            text("https://json-schema.org/draft/2020-12/schema"),
        ),
        ("title".to_owned(), text(title)),
    ];
    let mut writer = Writer { currency: false };
    let mut place = writer.place(seen);
    if samples == 1 && seen.objects == 1 {
        place.note("from one sample, so every field that it has is required: take out of \"required\" what may be missing");
    }
    members.extend(place.members());
    Json::Object(members)
}

/// A schema under construction.
#[derive(Default)]
struct Place {
    rules: Vec<(String, Json)>,
    notes: Vec<String>,
}

impl Place {
    fn rule(&mut self, keyword: &str, value: Json) {
        self.rules.push((keyword.to_owned(), value));
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn members(self) -> Vec<(String, Json)> {
        let comment = (!self.notes.is_empty()).then(|| {
            let notes = format!("TODO: {}", self.notes.join("; "));
            ("$comment".to_owned(), text(&notes))
        });
        comment.into_iter().chain(self.rules).collect()
    }
}

struct Writer {
    /// A currency is beside, or around, what is written
    currency: bool,
}

impl Writer {
    fn place(&mut self, seen: &Seen) -> Place {
        let mut place = Place::default();
        let types = seen.types();
        match types.as_slice() {
            [] if seen.nulls > 0 => {
                place.note("null in every sample: say what it is when it is there");
            }
            [] => place.note("in no sample: say what it is"),
            [(only, _)] => {
                place.rule("type", nullable(&[only], seen.nulls > 0));
                match *only {
                    "object" => self.object(seen, &mut place),
                    "array" => self.array(seen, &mut place),
                    "string" => strings(seen, &mut place),
                    "number" if seen.wide => {
                        place.note("an integer of more than 64 bits, so it is a number; a minimum or maximum beyond 64 bits makes it an integer again");
                    }
                    _ => {}
                }
            }
            several => {
                let counted: Vec<String> = several
                    .iter()
                    .map(|(name, count)| format!("{name} in {count}"))
                    .collect();
                place.note(format!(
                    "samples disagree: {}; with several types it is kept whole, and consumers find it in rest",
                    counted.join(", ")
                ));
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                place.rule("type", nullable(&names, seen.nulls > 0));
            }
        }
        place
    }

    fn object(&mut self, seen: &Seen, place: &mut Place) {
        let named = |(name, _): &(String, Seen)| guess::looks_like_an_id(name);
        if seen.fields.len() > 1 && seen.fields.iter().all(named) {
            let mut values = Seen::default();
            seen.fields
                .iter()
                .for_each(|(_, value)| values.merge(value));
            place.note("its names look like ids, so it is a map");
            let values = self.listed(&values);
            place.rule("additionalProperties", values);
            return;
        }
        if seen.fields.is_empty() {
            return;
        }
        let outside = self.currency;
        let currency = seen.fields.iter().any(|(name, field)| {
            field.types().as_slice() == [("string", field.strings)]
                && guess::currency(name, &field.texts).is_some()
        });
        self.currency |= currency;
        // Null is as good as missing where the schema does not say otherwise.
        let required = seen
            .fields
            .iter()
            .filter(|(_, field)| field.count() == seen.objects && field.values() > 0);
        let required: Vec<Json> = required.map(|(name, _)| text(name)).collect();
        if !required.is_empty() {
            place.rule("required", Json::Array(required));
        }
        let fields = seen.fields.iter().map(|(name, field)| {
            let mut place = self.place(field);
            self.money(name, field, &mut place);
            (name.clone(), Json::Object(place.members()))
        });
        let fields = fields.collect();
        place.rule("properties", Json::Object(fields));
        self.currency = outside;
    }

    fn array(&mut self, seen: &Seen, place: &mut Place) {
        match seen.items.as_deref().filter(|items| items.count() > 0) {
            None => place.note("empty in every sample: say what its items are"),
            Some(items) => {
                let items = self.listed(items);
                place.rule("items", items);
            }
        }
    }

    /// The items of an array, or the values of a map. Of several types they are left open, since only jsonschema could judge them.
    fn listed(&mut self, seen: &Seen) -> Json {
        let mut place = self.place(seen);
        if seen.types().len() > 1 {
            place.rules.clear();
        }
        Json::Object(place.members())
    }

    /// Suggests what only a person can know: that a number is money, and of which unit.
    fn money(&self, name: &str, seen: &Seen, place: &mut Place) {
        let types = seen.types();
        let [(only, _)] = types.as_slice() else {
            return;
        };
        if *only == "string"
            && let Some(role) = guess::currency(name, &seen.texts)
        {
            place.note(format!(
                "looks like a currency: if so, \"x-eventflow\": {role}"
            ));
            return;
        }
        if !self.currency || !guess::sounds_like_money(name) {
            return;
        }
        match *only {
            "integer" => place.note(
                "money? \"x-eventflow\": \"amount-minor\" if it counts cents (4990 is 49.90), or type number and \"x-eventflow\": \"amount\"; it must then be above zero, unless \"minimum\" says otherwise",
            ),
            "number" => place.note("money? then \"x-eventflow\": \"amount\", which keeps every digit; a double does not"),
            "string" if seen.texts.iter().all(|text| guess::is_decimal(text)) => {
                place.note("money? then \"x-eventflow\": \"amount\"");
            }
            _ => {}
        }
    }
}

fn strings(seen: &Seen, place: &mut Place) {
    let format = guess::format(&seen.texts).filter(|_| !seen.more_texts);
    if let Some(format) = format {
        place.rule("format", text(format));
        return;
    }
    let few = seen.texts.len() <= FEW_TEXTS && seen.texts.len() < seen.strings;
    if seen.strings >= ENOUGH && few && !seen.texts.iter().any(|text| text.len() > 40) {
        let values: Vec<String> = seen
            .texts
            .iter()
            .map(|value| text(value).to_string())
            .collect();
        place.note(format!(
            "only {} in {} samples: \"enum\": [{}] if there are no others",
            values.join(", "),
            seen.strings,
            values.join(", ")
        ));
    }
}

fn nullable(types: &[&str], null: bool) -> Json {
    let mut types: Vec<Json> = types.iter().map(|name| text(name)).collect();
    if null {
        types.push(text("null"));
    }
    match types.as_slice() {
        [only] => only.clone(),
        _ => Json::Array(types),
    }
}

fn text(text: &str) -> Json {
    Json::Scalar(serde_json::Value::from(text).to_string())
}
