//! Sources are data: a vendor is an entry of `sources.toml`.

use crate::Secret;
use crate::scheme::{Freshness, Scheme};
use crate::signature::{Key, SchemeError, Verifier};
use http::HeaderMap;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

/// Longest event id or entity key, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The sources file cannot work. Names the source and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A vendor.
#[derive(Debug)]
pub struct Source {
    /// The URL is `/api/webhooks/<name>`
    pub name: String,
    /// Verifies its requests
    pub verifier: Verifier,
    /// Name of the preset, or `custom`
    pub scheme_name: String,
    /// Where its event id is
    pub event_id: Locator,
    /// Where the key of its entity is (what keeps order)
    pub entity_key: Locator,
    /// Largest body of one event, in bytes
    pub body_limit_bytes: usize,
    /// Largest body of a batch, in bytes
    pub batch_limit_bytes: usize,
    /// Events accepted a second; none is unlimited
    pub quota_per_second: Option<u32>,
}

/// All vendors, by name.
#[derive(Debug)]
pub struct Sources(Vec<Source>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    scheme: SchemeEntry,
    secrets: Vec<SecretEntry>,
    tolerance_seconds: Option<u32>,
    public_url: Option<String>,
    #[serde(default)]
    event_id: Places,
    #[serde(default)]
    entity_key: Places,
    body_limit_bytes: Option<usize>,
    batch_limit_bytes: Option<usize>,
    quota_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SchemeEntry {
    Preset(String),
    Custom(Box<Scheme>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretEntry {
    id: String,
    from: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    not_after: Option<time::OffsetDateTime>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Places {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Sources {
    /// Parses `sources.toml`. `resolve` is given each secret's reference (`env:NAME`, `file:/path`).
    ///
    /// # Errors
    /// [`SourceError`] naming the source and what is wrong.
    pub fn from_toml(text: &str, resolve: &dyn Fn(&str) -> Result<Secret, String>) -> Result<Self, SourceError> {
        let file: File = toml::from_str(text).map_err(|error| SourceError(error.to_string()))?;
        let mut sources: Vec<Source> = Vec::with_capacity(file.source.len());
        for entry in file.source {
            let name = entry.name.clone();
            let bad = |problem: String| SourceError(format!("source {name:?}: {problem}"));
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
                return Err(bad("a name has lower-case letters, digits and dashes".to_owned()));
            }
            if sources.iter().any(|source| source.name == name) {
                return Err(bad("is there twice".to_owned()));
            }
            sources.push(build(entry, resolve).map_err(bad)?);
        }
        if sources.is_empty() { Err(SourceError("no source".to_owned())) } else { Ok(Self(sources)) }
    }

    /// The one built-in source, `payment-authorized`, which signs as the original does.
    ///
    /// # Panics
    /// When the secret is empty; callers check that first.
    #[must_use]
    pub fn builtin(secret: &Secret) -> Self {
        let entry = Entry {
            name: "payment-authorized".to_owned(),
            scheme: SchemeEntry::Preset("eventflow".to_owned()),
            secrets: vec![SecretEntry { id: "default".to_owned(), from: String::new(), not_after: None }],
            tolerance_seconds: None,
            public_url: None,
            event_id: Places::One("/event_id".to_owned()),
            entity_key: Places::One("/payload/payment_id".to_owned()),
            body_limit_bytes: None,
            batch_limit_bytes: None,
            quota_per_second: None,
        };
        let source = build(entry, &|_| Ok(secret.clone()));
        Self(vec![source.unwrap_or_else(|problem| panic!("the built-in source: {problem}"))])
    }

    /// A source by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }
}

fn build(entry: Entry, resolve: &dyn Fn(&str) -> Result<Secret, String>) -> Result<Source, String> {
    let (scheme_name, mut scheme) = match entry.scheme {
        SchemeEntry::Preset(name) => {
            let scheme = Scheme::preset(&name)
                .ok_or_else(|| format!("scheme {name:?} is unknown; presets are eventflow, standard-webhooks, github"))?;
            (name, scheme)
        }
        SchemeEntry::Custom(scheme) => ("custom".to_owned(), *scheme),
    };
    if let Some(seconds) = entry.tolerance_seconds {
        if scheme.freshness.is_none() {
            return Err("tolerance_seconds is for schemes with a signed timestamp".to_owned());
        }
        scheme.freshness = Some(Freshness { past_seconds: seconds, future_seconds: seconds });
    }
    let mut keys: Vec<Key> = Vec::with_capacity(entry.secrets.len());
    for secret in entry.secrets {
        if keys.iter().any(|key| key.id == secret.id) {
            return Err(format!("secret {:?} is there twice", secret.id));
        }
        let value = resolve(&secret.from).map_err(|problem| format!("secret {:?}: {problem}", secret.id))?;
        keys.push(Key { id: secret.id, secret: value, not_after: secret.not_after.map(time::OffsetDateTime::unix_timestamp) });
    }
    let body_limit_bytes = entry.body_limit_bytes.unwrap_or(256 << 10);
    Ok(Source {
        name: entry.name,
        verifier: Verifier::new(scheme, keys, entry.public_url).map_err(|SchemeError(problem)| problem)?,
        scheme_name,
        event_id: Locator::new(entry.event_id)?,
        entity_key: Locator::new(entry.entity_key)?,
        body_limit_bytes,
        batch_limit_bytes: entry.batch_limit_bytes.unwrap_or((4 << 20).max(body_limit_bytes)),
        quota_per_second: entry.quota_per_second,
    })
}

/// Where an id is: places tried in order.
#[derive(Debug, Clone, Default)]
pub struct Locator(Vec<Place>);

#[derive(Debug, Clone)]
enum Place {
    Header(String),
    /// Field names from the root; arrays are not entered
    Pointer(Vec<String>),
}

impl Locator {
    fn new(places: Places) -> Result<Self, String> {
        let places = match places {
            Places::None => Vec::new(),
            Places::One(place) => vec![place],
            Places::Several(places) => places,
        };
        let parse = |place: String| {
            if let Some(name) = place.strip_prefix("header:") {
                return Ok(Place::Header(name.to_ascii_lowercase()));
            }
            match place.strip_prefix('/') {
                Some(path) => {
                    Ok(Place::Pointer(path.split('/').map(|field| field.replace("~1", "/").replace("~0", "~")).collect()))
                }
                None => Err(format!("{place:?} is neither a JSON pointer (/a/b) nor header:name")),
            }
        };
        Ok(Self(places.into_iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// The id: a JSON string or integer, or a header. None when it is missing, blank or longer than 256 bytes. Reads the body only as far
    /// as it must, builds no tree, and never fails on what is not JSON.
    #[must_use]
    pub fn find<'a>(&self, headers: &'a HeaderMap, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let usable = |id: &Cow<'a, str>| !id.trim().is_empty() && id.len() <= MAX_ID_BYTES;
        self.0.iter().find_map(|place| {
            match place {
                Place::Header(name) => headers.get(name).and_then(|value| value.to_str().ok()).map(Cow::Borrowed),
                Place::Pointer(path) => {
                    let found = RefCell::new(None);
                    let mut json = serde_json::Deserializer::from_slice(body);
                    // What comes after the field does not matter here: the result is taken even when the rest is broken.
                    drop(Seek { path, found: &found }.deserialize(&mut json));
                    found.into_inner()
                }
            }
            .filter(usable)
        })
    }
}

/// Walks to a field and stops there.
struct Seek<'p, 'de> {
    path: &'p [String],
    found: &'p RefCell<Option<Cow<'de, str>>>,
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Seek<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object on the way to an id")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Some((name, rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(Text(key)) = map.next_key()? {
            if key == name.as_str() {
                return map.next_value_seed(Seek { path: rest, found: self.found });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.keep(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.keep(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.keep(Cow::Owned(number.to_string()));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.keep(Cow::Owned(number.to_string()));
        Ok(())
    }
}

impl<'de> Seek<'_, 'de> {
    fn keep(&self, id: Cow<'de, str>) {
        if self.path.is_empty() {
            *self.found.borrow_mut() = Some(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locator(places: &[&str]) -> Locator {
        Locator::new(Places::Several(places.iter().map(|place| (*place).to_owned()).collect())).unwrap()
    }

    #[test]
    fn an_id_is_found_where_the_source_says_and_nowhere_else() {
        let headers: HeaderMap = [("x-id".parse().unwrap(), "h1".parse().unwrap())].into_iter().collect();
        let find = |places: &[&str], body: &str| locator(places).find(&headers, body.as_bytes()).map(Cow::into_owned);
        assert_eq!(find(&["/event_id"], r#"{"a":{"event_id":"no"},"event_id":"yes"}"#).as_deref(), Some("yes"));
        assert_eq!(find(&["/a/b"], r#"{"a":{"b":17},"broken"#).as_deref(), Some("17"));
        assert_eq!(find(&["/a", "header:X-Id"], r#"{"a":"  "}"#).as_deref(), Some("h1"));
        assert_eq!(find(&["/a"], r#"{"a":{"b":1}}"#), None);
        assert_eq!(find(&["/a/b"], r#"{"a":"b"}"#), None);
        assert_eq!(find(&["/a"], "not json"), None);
        assert_eq!(find(&["/a"], &format!(r#"{{"a":"{}"}}"#, "x".repeat(257))), None);
        assert_eq!(
            find(&["/a"], &format!(r#"{{"b":{}1{},"a":"deep"}}"#, "[".repeat(500), "]".repeat(500))).as_deref(),
            Some("deep"),
            "what is skipped is not recursed into"
        );
    }

    #[test]
    fn a_bad_file_names_the_source_and_the_field() {
        let resolve =
            |reference: &str| if reference == "env:S" { Ok(Secret::new("s")) } else { Err(format!("{reference} is not set")) };
        let parse = |text: &str| Sources::from_toml(text, &resolve).map(|_| ()).unwrap_err().0;
        let entry = |rest: &str| format!("[[source]]\nname = \"acme\"\n{rest}");
        assert!(
            parse(&entry("scheme = \"nope\"\nsecrets = [{id = \"a\", from = \"env:S\"}]"))
                .contains("source \"acme\": scheme \"nope\" is unknown")
        );
        assert!(
            parse(&entry("scheme = \"github\"\nsecrets = [{id = \"a\", from = \"env:T\"}]"))
                .contains("secret \"a\": env:T is not set")
        );
        assert!(parse(&entry("scheme = \"github\"\nsecrets = []")).contains("at least one secret"));
        assert!(parse(&entry("scheme = \"github\"\nsecrets = []\ntypo = 1")).contains("typo"));
        assert!(
            parse(&entry("scheme = \"github\"\ntolerance_seconds = 5\nsecrets = [{id = \"a\", from = \"env:S\"}]"))
                .contains("tolerance_seconds")
        );
        let good = Sources::from_toml(
            &entry(
                "scheme = \"github\"\nevent_id = \"header:X-GitHub-Delivery\"\nsecrets = [{id = \"a\", from = \"env:S\", not_after = \"2030-01-01T00:00:00Z\"}]",
            ),
            &resolve,
        );
        assert_eq!(good.unwrap().get("acme").unwrap().scheme_name, "github");
    }
}
