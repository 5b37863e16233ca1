//! Which event a value says it is, as far as that can be read: nothing is checked.

use contracts::avro::datum::Decoder;
use contracts::avro::framing;
use runtime::registry::{Registry, RegistryError};
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest the index waits for the registry, which may be what is down.
const REGISTRY_TIMEOUT: Duration = Duration::from_millis(250);
/// After a time-out it gets no request for so long.
const REGISTRY_PAUSE: Duration = Duration::from_secs(10);
/// Most schema ids remembered, and most that are requested in one batch: ids of hostile values are random.
const MAX_IDS: usize = 1000;
const MAX_REQUESTS: usize = 8;

/// What could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sniffed<'a> {
    pub(crate) event_id: Option<Cow<'a, str>>,
    pub(crate) event_type: Option<Cow<'a, str>>,
    pub(crate) source: Option<Cow<'a, str>>,
}

/// The envelope's fields of a JSON text; of a broken one, those before the break.
pub(crate) fn json(value: &[u8]) -> Sniffed<'_> {
    let mut sniffed = Sniffed::default();
    if let Ok(text) = std::str::from_utf8(value) {
        // What is wrong with it was said by the stage that rejected it.
        drop(Envelope(&mut sniffed).deserialize(&mut serde_json::Deserializer::from_str(text)));
    }
    sniffed
}

struct Envelope<'p, 'a>(&'p mut Sniffed<'a>);

impl<'a> DeserializeSeed<'a> for Envelope<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Envelope<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'a>>()? {
            let field = match &*name.0 {
                "event_id" => &mut self.0.event_id,
                "event_type" => &mut self.0.event_type,
                "source" => &mut self.0.source,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value = map.next_value::<&RawValue>()?;
            if field.is_none() {
                *field = serde_json::Deserializer::from_str(value.get())
                    .deserialize_str(TextVisitor)
                    .ok();
            }
        }
        Ok(())
    }
}

/// A string, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'a> Visitor<'a> for TextVisitor {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads framed Avro with the schemas the registry has answered with, or answers with at once.
#[derive(Debug)]
pub(crate) struct Schemas {
    registry: Registry,
    known: HashMap<i32, Option<Arc<Decoder>>>,
    silent_until: Option<Instant>,
}

impl Schemas {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            known: HashMap::new(),
            silent_until: None,
        }
    }

    /// Learns the schemas of a batch, as far as the registry answers without being waited for.
    pub(crate) async fn learn(&mut self, values: impl Iterator<Item = &[u8]>) {
        if self.known.len() > MAX_IDS {
            self.known.clear();
        }
        let mut requests = 0;
        for (id, _) in values.filter_map(|value| framing::unframe(value).ok()) {
            let waits = self
                .silent_until
                .is_some_and(|until| Instant::now() < until);
            if waits || requests == MAX_REQUESTS {
                return;
            }
            if self.known.contains_key(&id) {
                continue;
            }
            requests += 1;
            match tokio::time::timeout(REGISTRY_TIMEOUT, self.registry.decoder(id)).await {
                Ok(Ok(decoder)) => drop(self.known.insert(id, Some(decoder))),
                Ok(Err(RegistryError::UnknownId(_) | RegistryError::Unusable { .. })) => {
                    drop(self.known.insert(id, None));
                }
                Ok(Err(RegistryError::Unavailable(_))) | Err(_) => {
                    self.silent_until = Some(Instant::now() + REGISTRY_PAUSE);
                }
            }
        }
    }

    /// The envelope's fields of a value.
    pub(crate) fn sniff<'a>(&self, value: &'a [u8]) -> Sniffed<'a> {
        let Ok((id, datum)) = framing::unframe(value) else {
            return json(value);
        };
        let decoder = self.known.get(&id).and_then(Option::as_ref);
        let Some(event) = decoder.and_then(|decoder| decoder.decode(datum).ok()) else {
            return Sniffed::default();
        };
        let text = |text: &'a str| Some(Cow::Borrowed(text)).filter(|text| !text.is_empty());
        Sniffed {
            event_id: text(event.event_id),
            event_type: text(event.event_type),
            source: None,
        }
    }
}
