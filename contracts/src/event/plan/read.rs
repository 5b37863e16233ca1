//! From a body to slots: one pass over the JSON.

use super::rules::{BROKEN_TEXT, check_presence, check_rules};
use super::{Kind, Object, Plan, Slot};
use crate::json::{self, Name};
use crate::{Rejection, RejectionCode};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The body's first event type. What is wrong with the rest is found when it is read.
pub(crate) fn sniff_event_type(text: &str) -> Option<Cow<'_, str>> {
    json::text(find_event_type(text)?)
}

fn find_event_type(text: &str) -> Option<&RawValue> {
    json::find(&["event_type"], serde_json::Deserializer::from_str(text))
}

/// The event type of a body that names no contract; for a body without one, what is wrong with it.
pub(crate) fn event_type(text: &str) -> Result<Cow<'_, str>, Rejection> {
    if let Err(error) = serde_json::from_str::<HashMap<String, IgnoredAny>>(text) {
        return Err(
            if error.is_data() && serde_json::from_str::<IgnoredAny>(text).is_ok() {
                Rejection::new(
                    RejectionCode::NotAnObject,
                    None,
                    "the body is JSON, but not an object",
                )
            } else {
                not_json(&error)
            },
        );
    }
    let at = Some("/event_type".to_owned());
    let found = find_event_type(text)
        .ok_or_else(|| Rejection::new(RejectionCode::MissingField, at.clone(), "is required"))?;
    json::text(found).ok_or_else(|| {
        if found.get().starts_with('"') {
            Rejection::new(RejectionCode::UnpairedSurrogate, at, BROKEN_TEXT)
        } else {
            Rejection::new(RejectionCode::WrongType, at, "must be a string")
        }
    })
}

fn not_json(error: &serde_json::Error) -> Rejection {
    let at = format!("line {} column {}", error.line(), error.column());
    Rejection::new(RejectionCode::NotJson, None, format!("not JSON at {at}"))
}

impl Plan {
    /// Reads a body into slots and applies the rules.
    pub(crate) fn read<'a>(&self, text: &'a str) -> Result<Vec<Slot<'a>>, Rejection> {
        let mut filling = Filling {
            slots: vec![Slot::Missing; self.slots],
            rejection: None,
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let read = Fill {
            object: &self.root,
            pointer: "",
            filling: &mut filling,
        }
        .deserialize(&mut json)
        .and_then(|()| json.end());
        if let Err(error) = read {
            return Err(filling.rejection.unwrap_or_else(|| {
                if serde_json::from_str::<IgnoredAny>(text).is_ok() {
                    return Rejection::new(
                        RejectionCode::WrongType,
                        None,
                        "a number stands where an object must be",
                    );
                }
                not_json(&error)
            }));
        }
        let mut slots = filling.slots;
        check_presence(&self.root, &slots)?;
        check_rules(&self.root, &mut slots)?;
        Ok(slots)
    }
}

struct Filling<'a> {
    slots: Vec<Slot<'a>>,
    rejection: Option<Rejection>,
}

impl Filling<'_> {
    /// Notes the first broken rule; reading ends.
    fn refuse<E: serde::de::Error>(
        &mut self,
        code: RejectionCode,
        pointer: &str,
        detail: &str,
    ) -> E {
        self.rejection
            .get_or_insert_with(|| Rejection::new(code, Some(pointer.to_owned()), detail));
        E::custom(detail)
    }
}

/// Reads one object, and those inside it, in one pass.
struct Fill<'p, 'f, 'a> {
    object: &'p Object,
    pointer: &'p str,
    filling: &'f mut Filling<'a>,
}

impl Fill<'_, '_, '_> {
    fn wrong_type<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self
            .filling
            .refuse(RejectionCode::WrongType, self.pointer, "must be an object"))
    }
}

impl<'a> DeserializeSeed<'a> for Fill<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Fill<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut seen: u64 = 0;
        while let Some(Name(key)) = map.next_key()? {
            let Some(index) = self
                .object
                .fields
                .iter()
                .position(|field| field.name == key)
            else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &self.object.fields[index];
            let bit = 1_u64 << (index % 64);
            if seen & bit != 0 {
                return Err(self.filling.refuse(
                    RejectionCode::DuplicateField,
                    &field.pointer,
                    "appears more than once",
                ));
            }
            seen |= bit;
            match &field.kind {
                Kind::Value { slot, .. } => {
                    self.filling.slots[*slot] = self::slot(map.next_value()?);
                }
                Kind::Object(object) => {
                    map.next_value_seed(Fill {
                        object,
                        pointer: &field.pointer,
                        filling: &mut *self.filling,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Null is as good as missing.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.wrong_type()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.wrong_type()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.wrong_type()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.wrong_type()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.wrong_type()
    }

    fn visit_seq<S: SeqAccess<'a>>(self, _: S) -> Result<(), S::Error> {
        self.wrong_type()
    }
}

/// What a raw JSON value is, before any rule.
fn slot(raw: &RawValue) -> Slot<'_> {
    match raw.get().as_bytes().first() {
        Some(b'"') => json::text(raw).map_or(Slot::BrokenText, Slot::Text),
        Some(b't') => Slot::Boolean(true),
        Some(b'f') => Slot::Boolean(false),
        Some(b'n') | None => Slot::Missing,
        Some(b'-' | b'0'..=b'9') => Slot::Number(raw.get()),
        Some(_) => Slot::Other,
    }
}
