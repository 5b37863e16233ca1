//! The form of a body: JSON, or `application/x-www-form-urlencoded` with JSON in a field or with plain fields; compressed or not; one event or
//! several. The raw record has the signed bytes; whoever reads the event in them (edge, validator, recovery) opens them here first.

pub mod gzip;
mod items;
pub(super) mod urlencoded;

pub use items::Parts;

use crate::event::locator::parse_pointer;
use crate::{Rejection, RejectionCode};
use gzip::{Gzip, GzipError};
use items::split;
use std::borrow::Cow;

/// How an event is written into a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Json,
    /// Its fields are an object of texts
    Fields,
    /// One field has the JSON
    Field(String),
}

/// What bodies a source sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyForm {
    /// JSON is one of them
    json: bool,
    /// The form that is urlencoded
    urlencoded: Option<Form>,
    /// Reference tokens of the array whose items are the events
    items: Option<Vec<String>>,
    /// Whether it may be compressed
    gzip: Option<Gzip>,
    /// Most that a body may have when it is unpacked, in bytes
    limit_bytes: usize,
}

impl BodyForm {
    /// `body`, `items` and `gzip` of a source. `limit_bytes` is what a body may have at most, unpacked.
    ///
    /// # Errors
    /// Names the field and what cannot be.
    pub(crate) fn new(
        forms: &[String],
        items: Option<&str>,
        gzip: Option<Gzip>,
        limit_bytes: usize,
    ) -> Result<Self, String> {
        let mut form = Self {
            json: false,
            urlencoded: None,
            items: None,
            gzip,
            limit_bytes,
        };
        for text in forms {
            let twice = match Form::parse(text)? {
                Form::Json => std::mem::replace(&mut form.json, true),
                other => form.urlencoded.replace(other).is_some(),
            };
            if twice {
                return Err(
                    "body: at most one \"json\" and one form; which one a body has is read from the body"
                        .to_owned(),
                );
            }
        }
        if forms.is_empty() {
            form.json = true;
        }
        if let Some(pointer) = items {
            if form.urlencoded.is_some() {
                return Err("items: several events in one body are JSON; remove body".to_owned());
            }
            let pointer = parse_pointer(pointer).map_err(|problem| format!("items: {problem}"))?;
            form.items = Some(pointer);
        }
        Ok(form)
    }

    /// Whether bodies are nothing but JSON, as the events of a batch must be.
    #[must_use]
    pub fn is_plain_json(&self) -> bool {
        self.json && self.urlencoded.is_none() && self.items.is_none() && self.gzip.is_none()
    }

    /// Whether this body would be read as a form.
    #[must_use]
    pub fn is_urlencoded(&self, body: &[u8]) -> bool {
        self.urlencoded.is_some() && !self.takes_as_json(body)
    }

    /// Whether a body has several events.
    #[must_use]
    pub fn has_items(&self) -> bool {
        self.items.is_some()
    }

    /// Reference tokens of the array of events, where a body has several.
    #[must_use]
    pub fn items_path(&self) -> Option<&[String]> {
        self.items.as_deref()
    }

    /// Whether, and how, bodies may be compressed.
    #[must_use]
    pub fn gzip(&self) -> Option<Gzip> {
        self.gzip
    }

    /// The JSON of a raw record's value, borrowed where it is the value itself. `is_part` is true of an event that was cut out of a larger body
    /// (`ef.batch`): it is JSON already. Which of two forms a body has is read from its first byte, never from its content type, which no
    /// signature covers.
    ///
    /// # Errors
    /// [`RejectionCode::MalformedGzip`], [`RejectionCode::MalformedForm`], [`RejectionCode::NoItems`].
    pub fn open<'b>(&self, body: &'b [u8], is_part: bool) -> Result<Cow<'b, [u8]>, Rejection> {
        if is_part {
            return Ok(Cow::Borrowed(body));
        }
        if self.items.is_some() {
            self.unpack(body)?;
            return Err(Rejection::new(
                RejectionCode::NoItems,
                None,
                "the body has no array of events where the source's items says",
            ));
        }
        self.unpack(body)
    }

    /// As [`open`](Self::open), of a body that may have items.
    fn unpack<'b>(&self, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Rejection> {
        let plain = if self.is_packed(body) {
            Cow::Owned(
                Gzip::Signed
                    .unpack(body, self.limit_bytes)
                    .map_err(malformed_gzip)?,
            )
        } else {
            Cow::Borrowed(body)
        };
        match (&self.urlencoded, plain) {
            (Some(form), Cow::Borrowed(plain)) if !self.takes_as_json(plain) => form.json(plain),
            (Some(form), Cow::Owned(plain)) if !self.takes_as_json(&plain) => {
                form.json(&plain).map(|json| Cow::Owned(json.into_owned()))
            }
            (_, plain) => Ok(plain),
        }
    }

    /// Most memory, in bytes, that [`open`](Self::open) and [`parts`](Self::parts) take for this body; 0 where nothing is copied.
    #[must_use]
    pub fn open_bytes(&self, body: &[u8]) -> usize {
        let packed = self.is_packed(body);
        let plain = match packed {
            true => Gzip::Signed
                .unpacked_bytes(body, self.limit_bytes)
                .unwrap_or_default(),
            false => body.len(),
        };
        let of_form = match self.urlencoded {
            Some(_) => urlencoded::most_bytes(plain),
            None => 0,
        };
        of_form + if packed { plain } else { 0 }
    }

    /// The events of a body of a source with items, each the body's own bytes; at most `most` of them. What has no such array is
    /// [`Parts::None`]: it is one record, and no event.
    #[must_use]
    pub fn parts<'b>(&self, plain: &'b [u8], most: usize) -> Parts<'b> {
        match &self.items {
            Some(pointer) => split(pointer, plain, most),
            None => Parts::None,
        }
    }

    /// The unpacked body of a source with items; `None` where it cannot be unpacked.
    #[must_use]
    pub fn plain<'b>(&self, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        self.unpack(body).ok()
    }

    fn is_packed(&self, body: &[u8]) -> bool {
        self.gzip == Some(Gzip::Signed) && gzip::is_gzip(body)
    }

    /// No form begins with a brace or a bracket: those are escaped in a field's name.
    fn takes_as_json(&self, body: &[u8]) -> bool {
        self.json && matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
    }
}

/// The one field of this name in a URL's query; `None` when it is missing, appears twice, or the query is malformed.
pub(super) fn query_field<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let value = urlencoded::field(query.as_bytes(), name).ok()?;
    String::from_utf8(value).ok().map(Cow::Owned)
}

impl Form {
    fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("form:")) {
            ("json", _) => Ok(Self::Json),
            ("form", _) => Ok(Self::Fields),
            (_, Some(field)) if !field.is_empty() => Ok(Self::Field(field.to_owned())),
            (_, _) => Err(format!(
                "body: {text:?} is unknown; write \"json\", \"form\" (its fields are the event) or \"form:FIELD\" (that field has JSON)"
            )),
        }
    }

    fn json<'b>(&self, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Rejection> {
        match self {
            Self::Json => Ok(Cow::Borrowed(body)),
            Self::Fields => urlencoded::object(body).map(Cow::Owned),
            Self::Field(name) => urlencoded::field(body, name).map(Cow::Owned),
        }
    }
}

fn malformed_gzip(error: GzipError) -> Rejection {
    Rejection::new(RejectionCode::MalformedGzip, None, error.to_string())
}
