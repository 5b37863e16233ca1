//! From a body to slots: one pass over the JSON, then the rules.

use super::{Kind, Object, Plan, Rule, Slot};
use crate::event::money::{check_amount, minor_digits};
use crate::{Rejection, RejectionCode};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Deepest nesting of a body.
const MAX_DEPTH: usize = 128;

/// Refuses bodies nested deeper than 128 levels. Few bodies have so many brackets at all, so most are only counted.
pub(crate) fn check_depth(body: &[u8]) -> Result<(), Rejection> {
    if memchr::memchr2_iter(b'{', b'[', body)
        .take(MAX_DEPTH + 1)
        .count()
        <= MAX_DEPTH
    {
        return Ok(());
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Rejection::new(
                RejectionCode::TooDeep,
                None,
                format!("nested more than {MAX_DEPTH} levels deep"),
            ));
        }
    }
    Ok(())
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The body's first event type, found without reading further than it must. What is wrong with the rest is found when it is read.
pub(crate) fn peek_event_type(text: &str) -> Option<Cow<'_, str>> {
    struct Peek<'f, 'de>(&'f mut Option<&'de RawValue>);
    impl<'de> Visitor<'de> for Peek<'_, 'de> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
            while let Some(Text(key)) = map.next_key()? {
                if key == "event_type" {
                    *self.0 = Some(map.next_value()?);
                    return Ok(());
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut found = None;
    // It ends in an error wherever something comes after the event type.
    drop(serde_json::Deserializer::from_str(text).deserialize_map(Peek(&mut found)));
    match slot(found?) {
        Slot::Text(text) => Some(text),
        Slot::Missing | Slot::Number(_) | Slot::Boolean(_) | Slot::Long(_) | Slot::Decimal(_) => {
            None
        }
    }
}

/// The event type of a body that names no contract; for a body without one, what is wrong with it.
pub(crate) fn event_type(text: &str) -> Result<Cow<'_, str>, Rejection> {
    struct Find;
    impl<'de> Visitor<'de> for Find {
        type Value = Option<&'de RawValue>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut found = None;
            while let Some(Text(key)) = map.next_key()? {
                if found.is_none() && key == "event_type" {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let found = json
        .deserialize_map(Find)
        .and_then(|found| json.end().map(|()| found))
        .map_err(|error| {
            let at = format!("line {} column {}", error.line(), error.column());
            if error.is_data() && serde_json::from_str::<IgnoredAny>(text).is_ok() {
                Rejection::new(
                    RejectionCode::NotAnObject,
                    None,
                    "the body is JSON, but not an object",
                )
            } else {
                Rejection::new(RejectionCode::NotJson, None, format!("not JSON at {at}"))
            }
        })?;
    let at = Some("/event_type".to_owned());
    let raw = found
        .ok_or_else(|| Rejection::new(RejectionCode::MissingField, at.clone(), "is required"))?;
    match slot(raw) {
        Slot::Text(text) => Ok(text),
        Slot::Missing | Slot::Number(_) | Slot::Boolean(_) | Slot::Long(_) | Slot::Decimal(_) => {
            Err(Rejection::new(
                RejectionCode::WrongType,
                at,
                "must be a string",
            ))
        }
    }
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
                        "an object is expected where a number is",
                    );
                }
                let at = format!("line {} column {}", error.line(), error.column());
                Rejection::new(RejectionCode::NotJson, None, format!("not JSON at {at}"))
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
        while let Some(Text(key)) = map.next_key()? {
            let Some(place) = self
                .object
                .fields
                .iter()
                .position(|field| field.name == key)
            else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &self.object.fields[place];
            let bit = 1_u64 << (place % 64);
            if seen & bit != 0 {
                return Err(self.filling.refuse(
                    RejectionCode::DuplicateField,
                    &field.pointer,
                    "is there twice",
                ));
            }
            seen |= bit;
            match &field.kind {
                Kind::Value { slot, .. } => {
                    self.filling.slots[*slot] = self::slot(map.next_value()?)
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

/// What a raw JSON value is. Objects and arrays become a boolean's opposite: nothing a rule takes.
fn slot(raw: &RawValue) -> Slot<'_> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') if !text.contains('\\') => Slot::Text(Cow::Borrowed(&text[1..text.len() - 1])),
        Some(b'"') => serde_json::from_str(text).map_or(Slot::Number(text), |text: String| {
            Slot::Text(Cow::Owned(text))
        }),
        Some(b't') => Slot::Boolean(true),
        Some(b'f') => Slot::Boolean(false),
        Some(b'n') | None => Slot::Missing,
        // Numbers, and what is no value at all: the rules tell them apart.
        Some(_) => Slot::Number(text),
    }
}

fn check_presence(object: &Object, slots: &[Slot<'_>]) -> Result<(), Rejection> {
    for field in &object.fields {
        match &field.kind {
            Kind::Value { slot, .. } if field.required && slots[*slot] == Slot::Missing => {
                return Err(Rejection::new(
                    RejectionCode::MissingField,
                    Some(field.pointer.clone()),
                    "is required",
                ));
            }
            Kind::Value { .. } => {}
            Kind::Object(inner) => check_presence(inner, slots)?,
        }
    }
    Ok(())
}

fn check_rules(object: &Object, slots: &mut [Slot<'_>]) -> Result<(), Rejection> {
    for field in &object.fields {
        match &field.kind {
            Kind::Object(inner) => check_rules(inner, slots)?,
            Kind::Value { slot, rule } => {
                if let Some(replaced) = check(rule, *slot, slots).map_err(|mut rejection| {
                    rejection.pointer = Some(field.pointer.clone());
                    rejection
                })? {
                    slots[*slot] = replaced;
                }
            }
        }
    }
    Ok(())
}

/// Applies one rule; answers what the slot becomes, where it changes.
fn check<'a>(rule: &Rule, at: usize, slots: &[Slot<'a>]) -> Result<Option<Slot<'a>>, Rejection> {
    let reject = |code, detail: String| Err(Rejection::new(code, None, detail));
    let wrong = |expected: &str| {
        Err(Rejection::new(
            RejectionCode::WrongType,
            None,
            format!("must be {expected}"),
        ))
    };
    if slots[at] == Slot::Missing {
        return Ok(None);
    }
    match rule {
        Rule::Text {
            blank,
            max_length,
            allowed,
        } => {
            let Slot::Text(text) = &slots[at] else {
                return wrong("a string");
            };
            if !blank && text.trim().is_empty() {
                return reject(RejectionCode::BlankField, "is blank".to_owned());
            }
            if let Some(most) = max_length
                && text.len() > *most
            {
                return reject(
                    RejectionCode::TooLong,
                    format!("is {} bytes long, more than {most}", text.len()),
                );
            }
            if let Some(allowed) = allowed
                && !allowed.iter().any(|value| value == text)
            {
                return reject(
                    RejectionCode::ValueNotAllowed,
                    format!("must be one of {allowed:?}"),
                );
            }
            Ok(None)
        }
        Rule::Currency => {
            let Slot::Text(text) = &slots[at] else {
                return wrong("a string");
            };
            if minor_digits(text).is_none() {
                let shown: String = text.chars().take(20).collect();
                return reject(
                    RejectionCode::UnknownCurrency,
                    format!("{shown:?} is no ISO 4217 currency in capitals"),
                );
            }
            Ok(None)
        }
        Rule::Amount {
            currency,
            precision,
            scale,
        } => {
            let text = match &slots[at] {
                Slot::Number(text) if !text.starts_with(['{', '[']) => *text,
                Slot::Text(text) => text,
                Slot::Missing
                | Slot::Number(_)
                | Slot::Boolean(_)
                | Slot::Long(_)
                | Slot::Decimal(_) => {
                    return wrong("a number, or a string of one");
                }
            };
            let currency = currency.and_then(|slot| match &slots[slot] {
                Slot::Text(text) => Some(&**text),
                Slot::Missing
                | Slot::Number(_)
                | Slot::Boolean(_)
                | Slot::Long(_)
                | Slot::Decimal(_) => None,
            });
            check_amount(text, currency, *precision, *scale)
                .map(|unscaled| Some(Slot::Decimal(unscaled)))
        }
        Rule::Time => {
            let Slot::Text(text) = &slots[at] else {
                return wrong("a string");
            };
            Ok(Some(Slot::Long(parse_time(text)?)))
        }
        Rule::Integer { version } => {
            let Slot::Number(text) = &slots[at] else {
                return wrong("an integer");
            };
            let Ok(number) = text.parse::<i64>() else {
                return wrong("an integer");
            };
            if version.is_some_and(|version| version != number) {
                return reject(
                    RejectionCode::UnsupportedSchemaVersion,
                    format!("{number} is not {}", version.unwrap_or_default()),
                );
            }
            Ok(Some(Slot::Long(number)))
        }
        Rule::Boolean => match &slots[at] {
            Slot::Boolean(_) => Ok(None),
            Slot::Missing | Slot::Text(_) | Slot::Number(_) | Slot::Long(_) | Slot::Decimal(_) => {
                wrong("true or false")
            }
        },
    }
}

/// RFC 3339 with its zone, as microseconds since the epoch. Digits beyond microseconds are cut; a leap second (:60) counts as the second before.
fn parse_time(text: &str) -> Result<i64, Rejection> {
    let parse = |text: &str| {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).ok())
    };
    let shown: String = text.chars().take(40).collect();
    parse(text).ok_or_else(|| {
        if !text.ends_with(['Z', 'z']) && parse(&format!("{text}Z")).is_some() {
            Rejection::new(
                RejectionCode::TimestampWithoutZone,
                None,
                format!("{shown:?} has no zone; end it with Z or an offset"),
            )
        } else {
            Rejection::new(
                RejectionCode::InvalidTimestamp,
                None,
                format!("{shown:?} is not RFC 3339"),
            )
        }
    })
}
