//! A schema from samples: what all payloads of an event type have in common, as far as some of them show it.
//!
//! It is a proposal for a person. What the samples leave open, or disagree on, becomes a `$comment` that begins with TODO, and is left open in
//! the schema: a rule that was guessed would dead-letter genuine events.

mod guess;
mod write;

use crate::json::Json;

/// Distinct texts that are remembered of one place: enough to see that there are few.
const MAX_TEXTS: usize = 50;

/// Writes a schema that every sample satisfies, if any does. Samples are payloads.
///
/// # Errors
/// Which sample is no JSON, or has a field twice.
pub fn infer(title: &str, samples: &[&str]) -> Result<String, String> {
    let mut seen = Seen::default();
    for (index, sample) in samples.iter().enumerate() {
        let json = Json::parse(sample).map_err(|error| format!("sample {}: {error}", index + 1))?;
        seen.add(&json);
    }
    Ok(write::schema(title, &seen, samples.len()).pretty())
}

/// What was seen at one place.
#[derive(Debug, Default)]
struct Seen {
    nulls: usize,
    booleans: usize,
    integers: usize,
    /// Numbers with a fraction, and integers of more than 64 bits
    numbers: usize,
    strings: usize,
    arrays: usize,
    objects: usize,
    /// Distinct texts, and whether there were more than are kept
    texts: Vec<String>,
    more_texts: bool,
    /// An integer of more than 64 bits was among the numbers
    wide: bool,
    /// Fields of the objects, in the order in which they came
    fields: Vec<(String, Seen)>,
    /// Items of the arrays
    items: Option<Box<Seen>>,
}

impl Seen {
    /// How often there was a value, null or not.
    fn count(&self) -> usize {
        self.nulls + self.values()
    }

    /// How often there was a value that is not null.
    fn values(&self) -> usize {
        self.booleans + self.integers + self.numbers + self.strings + self.arrays + self.objects
    }

    fn add(&mut self, json: &Json) {
        match json {
            Json::Object(members) => {
                self.objects += 1;
                for (name, value) in members {
                    match self.fields.iter_mut().find(|(known, _)| known == name) {
                        Some((_, field)) => field.add(value),
                        None => {
                            let mut field = Self::default();
                            field.add(value);
                            self.fields.push((name.clone(), field));
                        }
                    }
                }
            }
            Json::Array(items) => {
                self.arrays += 1;
                let seen = self.items.get_or_insert_default();
                items.iter().for_each(|item| seen.add(item));
            }
            Json::Scalar(text) => self.add_scalar(json, text),
        }
    }

    fn add_scalar(&mut self, json: &Json, text: &str) {
        match text.as_bytes().first() {
            Some(b'"') => {
                self.strings += 1;
                self.add_text(&json.text().unwrap_or_default());
            }
            Some(b't' | b'f') => self.booleans += 1,
            Some(b'n') | None => self.nulls += 1,
            Some(_) if text.parse::<i64>().is_ok() => self.integers += 1,
            Some(_) => {
                self.numbers += 1;
                self.wide |= !text.contains(['.', 'e', 'E']);
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        if self.texts.iter().any(|known| known == text) {
        } else if self.texts.len() < MAX_TEXTS {
            self.texts.push(text.to_owned());
        } else {
            self.more_texts = true;
        }
    }

    /// The same places of two values as one: of the values of a map.
    fn merge(&mut self, other: &Self) {
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.integers += other.integers;
        self.numbers += other.numbers;
        self.strings += other.strings;
        self.arrays += other.arrays;
        self.objects += other.objects;
        self.wide |= other.wide;
        self.more_texts |= other.more_texts;
        other.texts.iter().for_each(|text| self.add_text(text));
        for (name, field) in &other.fields {
            match self.fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.merge(field),
                None => {
                    let mut new = Self::default();
                    new.merge(field);
                    self.fields.push((name.clone(), new));
                }
            }
        }
        if let Some(items) = &other.items {
            self.items.get_or_insert_default().merge(items);
        }
    }

    /// JSON Schema's names of what was seen, without null. An integer is a number where numbers were seen.
    fn types(&self) -> Vec<(&'static str, usize)> {
        let (integers, numbers) = match self.numbers {
            0 => (self.integers, 0),
            numbers => (0, numbers + self.integers),
        };
        [
            ("object", self.objects),
            ("array", self.arrays),
            ("string", self.strings),
            ("integer", integers),
            ("number", numbers),
            ("boolean", self.booleans),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}
