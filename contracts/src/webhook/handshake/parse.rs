//! `[[handshake]]` of a source, compiled.

use super::{Answer, Expected, Handshake, Handshakes, Place, Value};
use crate::Secret;
use crate::event::locator::parse_pointer;
use crate::webhook::mac::Keyed;
use crate::webhook::scheme::{Algorithm, Encoding};
use crate::webhook::signature::Key;
use http::{HeaderName, Method, StatusCode};
use serde::Deserialize;
use toml::{Table, Value as Toml};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    signed: Option<bool>,
    #[serde(default)]
    when: Table,
    answer: Fields,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    status: Option<u16>,
    text: Option<Toml>,
    header: Option<Table>,
    json: Option<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MacFields {
    hmac: String,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    prefix: String,
}

impl Handshakes {
    /// Compiles a source's list. `verify_token` is what `{ secret = "verify_token" }` compares with: a handshake that needs it is left out where
    /// the source has none, since its vendor then was never told one.
    ///
    /// # Errors
    /// Names the handshake by number and what cannot be.
    pub(crate) fn parse(
        list: Vec<Toml>,
        keys: &[Key],
        verify_token: Option<&Secret>,
    ) -> Result<Self, String> {
        let mut all = Vec::with_capacity(list.len());
        for (index, entry) in list.into_iter().enumerate() {
            let bad = |problem: String| format!("handshake {}: {problem}", index + 1);
            let entry: Entry = entry
                .try_into()
                .map_err(|error| bad(error.to_string().trim_end().replace('\n', ", ")))?;
            all.extend(entry.compile(verify_token).map_err(bad)?);
        }
        let keys = keys.iter().filter_map(|key| {
            let keyed = Keyed::new(Algorithm::HmacSha256, key.secret.expose())?;
            Some((key.id.clone(), keyed))
        });
        Ok(Self {
            all,
            keys: keys.collect(),
        })
    }
}

impl Entry {
    fn compile(self, verify_token: Option<&Secret>) -> Result<Option<Handshake>, String> {
        let method = match self.method.as_deref() {
            None | Some("POST") => Method::POST,
            Some("GET") => Method::GET,
            Some("HEAD") => Method::HEAD,
            Some(other) => return Err(format!("method: {other:?} is none of POST, GET, HEAD")),
        };
        let signed = self.signed.unwrap_or(method == Method::POST);
        if signed && method != Method::POST {
            return Err("signed: only a POST is signed; remove it".to_owned());
        }
        let answer = self.answer.compile()?;
        // A vendor may only look whether somebody is there.
        let only_looks = method != Method::POST && matches!(answer, Answer::Nothing(_));
        if self.when.is_empty() && !only_looks {
            return Err("when: is missing; every request would be this handshake".to_owned());
        }
        let mut when = Vec::with_capacity(self.when.len());
        for (place, expected) in self.when {
            let bad = |problem: String| format!("when: {place:?}: {problem}");
            let found = Place::parse(&place)?;
            let expected = match expected {
                Toml::Boolean(true) => Expected::Present,
                Toml::String(text) => Expected::Text(text),
                Toml::Integer(number) => Expected::Text(number.to_string()),
                Toml::Table(table)
                    if table.len() == 1
                        && table.get("secret").and_then(Toml::as_str) == Some("verify_token") =>
                {
                    let Some(token) = verify_token else {
                        return Ok(None);
                    };
                    Expected::Secret(token.clone())
                }
                Toml::Boolean(false)
                | Toml::Table(_)
                | Toml::Float(_)
                | Toml::Array(_)
                | Toml::Datetime(_) => {
                    return Err(bad(
                        "write a text, a number, true (is there) or { secret = \"verify_token\" }"
                            .to_owned(),
                    ));
                }
            };
            when.push((found, expected));
        }
        let handshake = Handshake {
            method,
            signed,
            when,
            answer,
        };
        handshake.check()?;
        Ok(Some(handshake))
    }
}

impl Fields {
    fn compile(self) -> Result<Answer, String> {
        let status = match self.status {
            None | Some(200) => StatusCode::OK,
            Some(204) => StatusCode::NO_CONTENT,
            Some(other) => return Err(format!("answer: status: {other} is neither 200 nor 204")),
        };
        match (self.text, self.header, self.json) {
            (None, None, None) => Ok(Answer::Nothing(status)),
            (_, _, _) if status == StatusCode::NO_CONTENT => {
                Err("answer: status: 204 has nothing else".to_owned())
            }
            (Some(value), None, None) => Value::parse(value).map(Answer::Text),
            (None, Some(header), None) => {
                let mut header = header.into_iter();
                let (Some((name, value)), None) = (header.next(), header.next()) else {
                    return Err("answer: header: write one, as { name = \"/place\" }".to_owned());
                };
                let name = HeaderName::try_from(&name)
                    .map_err(|_| format!("answer: {name:?} is not a header name"))?;
                Value::parse(value).map(|value| Answer::Header(name, value))
            }
            (None, None, Some(fields)) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| Ok((name, Value::parse(value)?)));
                fields.collect::<Result<_, String>>().map(Answer::Json)
            }
            (_, _, _) => Err("answer: write one of text, header and json".to_owned()),
        }
    }
}

impl Handshake {
    /// What an unsigned one may not do.
    fn check(&self) -> Result<(), String> {
        if self.signed {
            return Ok(());
        }
        let values: Vec<&Value> = match &self.answer {
            Answer::Nothing(_) => Vec::new(),
            Answer::Text(value) | Answer::Header(_, value) => vec![value],
            Answer::Json(fields) => fields.iter().map(|(_, value)| value).collect(),
        };
        let places = values.iter().filter_map(|value| match value {
            Value::At(place) => Some(place),
            Value::Constant(_) | Value::Mac { .. } => None,
        });
        let mut places = places.chain(self.when.iter().map(|(place, _)| place));
        if places.any(|place| matches!(place, Place::Pointer(_))) {
            return Err(
                "an unsigned handshake is answered before its body is read; use header:name or query:name".to_owned(),
            );
        }
        if values
            .iter()
            .any(|value| matches!(value, Value::Mac { .. }))
        {
            return Err(
                "answer: hmac: an unsigned handshake would sign whatever a stranger asks for, and so whole events".to_owned(),
            );
        }
        Ok(())
    }
}

impl Value {
    fn parse(value: Toml) -> Result<Self, String> {
        let mac = match value {
            Toml::String(place) => return Place::parse(&place).map(Self::At),
            Toml::Integer(number) => return Ok(Self::Constant(number.to_string())),
            Toml::Boolean(value) => return Ok(Self::Constant(value.to_string())),
            Toml::Table(_) => value.try_into::<MacFields>(),
            Toml::Float(_) | Toml::Array(_) | Toml::Datetime(_) => {
                return Err(
                    "answer: write a place, a number, true, false or { hmac = \"/place\" }"
                        .to_owned(),
                );
            }
        };
        let mac = mac.map_err(|error| {
            format!(
                "answer: {}",
                error.to_string().trim_end().replace('\n', ", ")
            )
        })?;
        Ok(Self::Mac {
            of: Place::parse(&mac.hmac)?,
            encoding: mac.encoding,
            prefix: mac.prefix,
        })
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header:") {
            return HeaderName::try_from(name)
                .map(Self::Header)
                .map_err(|_| format!("{name:?} is not a header name"));
        }
        if let Some(name) = text.strip_prefix("query:") {
            return Ok(Self::Query(name.to_owned()));
        }
        if !text.starts_with('/') {
            return Err(format!(
                "{text:?} is no place; write /a/b (JSON pointer), header:name or query:name"
            ));
        }
        parse_pointer(text).map(Self::Pointer)
    }
}
