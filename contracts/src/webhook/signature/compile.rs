//! A scheme and its keys, compiled into a verifier, or refused when they cannot work.

use super::{Places, ReadyKey, SignedRequest, Verifier};
use crate::Secret;
use crate::event::locator::parse_pointer;
use crate::webhook::credential::Credential;
use crate::webhook::scheme::{HeaderNames, Method, Scheme, TimestampFormat};
use crate::webhook::template::{Part, Template};
use http::{HeaderMap, HeaderName, HeaderValue};

/// A secret of a source.
#[derive(Debug, Clone)]
pub struct Key {
    /// Names it in records and logs
    pub id: String,
    /// Its text, decoded as the scheme says
    pub secret: Secret,
    /// Unix seconds after which it no longer verifies
    pub not_after: Option<i64>,
}

/// A scheme or its keys cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemeError(pub String);

impl Verifier {
    /// Compiles a scheme with its keys. `public_url` is the URL vendors sign, for schemes that sign it: configured, never rebuilt from a request.
    ///
    /// # Errors
    /// No key, an empty or undecodable secret, a template without the body, one that needs what the scheme or the source does not have, or
    /// a scheme whose own signatures it would refuse (a separator inside the prefix, two headers of one name, ...).
    pub fn new(
        scheme: Scheme,
        keys: Vec<Key>,
        public_url: Option<String>,
    ) -> Result<Self, SchemeError> {
        let method = scheme.algorithm.method();
        let template = match (method, scheme.template.as_str()) {
            (Method::Token, "") => Template::nothing(),
            (Method::Token, _) => return bad("a token signs nothing: remove template"),
            (Method::Mac | Method::PublicKey, text) => {
                Template::parse(text).map_err(SchemeError)?
            }
        };
        let places = places(&scheme, &template)?;
        let public_url = public_url.unwrap_or_default();
        if template.has(&Part::Url) && public_url.is_empty() {
            return bad("the template uses {url}: set public_url");
        }
        if template.has(&Part::WebhookId) && scheme.webhook_id.is_empty() {
            return bad(
                "the template uses {webhook_id}: set webhook_id in [source.scheme] to the id that the vendor shows for this webhook",
            );
        }
        if keys.is_empty() {
            return bad("at least one secret is needed");
        }
        let mut ready = Vec::with_capacity(keys.len());
        for key in keys {
            let credential = Credential::new(&scheme, &key.secret)
                .map_err(|problem| SchemeError(format!("secret {:?} {problem}", key.id)))?;
            ready.push(ReadyKey {
                id: key.id,
                not_after: key.not_after,
                credential,
            });
        }
        let verifier = Self {
            scheme,
            template,
            public_url,
            keys: ready,
            places,
        };
        verifier.check_time()?;
        if verifier.can_sign().is_ok() && !verifier.reads_its_own_signature() {
            return bad(
                "a signature made by this scheme could not be read back: check prefix, separator, timestamp_prefix and header names",
            );
        }
        Ok(verifier)
    }

    fn check_time(&self) -> Result<(), SchemeError> {
        let places = &self.places;
        let has_time = !places.timestamp.is_empty()
            || places.timestamp_pointer.is_some()
            || self.scheme.timestamp_prefix.is_some();
        if (self.template.has(&Part::Timestamp) || self.scheme.freshness.is_some()) && !has_time {
            return bad(
                "the template or freshness uses a timestamp: set timestamp_header, timestamp_prefix or timestamp_pointer",
            );
        }
        if self.scheme.freshness.is_some() && !self.signs_time() {
            return bad(
                "freshness of a timestamp that is not signed proves nothing: put {timestamp} in the template",
            );
        }
        Ok(())
    }

    /// Whether what is signed is also what is found: catches every way in which syntax fields can contradict each other.
    fn reads_its_own_signature(&self) -> bool {
        let (id, timestamp) = ("a", 1_700_000_000);
        let mut headers = HeaderMap::new();
        for (name, value) in self.sign(Some(id), timestamp, b"", 0) {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            else {
                return false;
            };
            headers.append(name, value);
        }
        let Ok(read) = self.precheck(&headers) else {
            return false;
        };
        let request = SignedRequest::post(&headers, b"");
        let form = self.form(&request).unwrap_or_default();
        let signed = self.signed(&request, b"", form.as_deref(), &read);
        let own = &self.keys[0].credential;
        read.signatures.len() == 1
            && read.timestamp.is_none_or(|read| read == timestamp)
            && signed.is_ok_and(|signed| own.matches(&signed, &read.signatures))
    }
}

fn bad<T>(problem: &str) -> Result<T, SchemeError> {
    Err(SchemeError(problem.to_owned()))
}

/// Where a request has what the scheme needs.
fn places(scheme: &Scheme, template: &Template) -> Result<Places, SchemeError> {
    let name_of = |name: &String| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| SchemeError(format!("{name:?} is not a header name")))
    };
    let names_of = |names: &HeaderNames| names.0.iter().map(name_of).collect::<Result<Vec<_>, _>>();
    let path_of = |pointer: &Option<String>| {
        let parsed = pointer.as_deref().map(parse_pointer).transpose();
        parsed.map_err(SchemeError)
    };
    let mut signatures = vec![names_of(&scheme.signature_header)?];
    signatures.retain(|names| !names.is_empty());
    for name in &scheme.more_signature_headers {
        signatures.push(vec![name_of(name)?]);
    }
    let required = scheme.require_headers.iter();
    let required: Result<Vec<_>, _> = required
        .map(|(name, value)| name_of(name).map(|name| (name, value.clone())))
        .collect();
    let certificate = scheme
        .certificate_url
        .as_ref()
        .map(|rule| name_of(&rule.header));
    let places = Places {
        signatures,
        signature_pointer: path_of(&scheme.signature_pointer)?,
        timestamp: names_of(&scheme.timestamp_header)?,
        timestamp_pointer: path_of(&scheme.timestamp_pointer)?,
        id: names_of(&scheme.id_header)?,
        required: required?,
        certificate: certificate.transpose()?,
        items: path_of(&scheme.items)?,
        timestamp_length: match scheme.timestamp_format {
            TimestampFormat::UnixSeconds if template.touches(&Part::Timestamp) => Some(10),
            TimestampFormat::UnixMillis if template.touches(&Part::Timestamp) => Some(13),
            TimestampFormat::UnixSeconds
            | TimestampFormat::UnixMillis
            | TimestampFormat::Rfc3339 => None,
        },
    };
    let signature_places = usize::from(!places.signatures.is_empty())
        + usize::from(places.signature_pointer.is_some())
        + usize::from(scheme.signature_field.is_some());
    if signature_places != 1 {
        return bad(
            "say where the signature is: signature_header, signature_pointer or signature_field, and only one of them",
        );
    }
    if template.has(&Part::Id) && places.id.is_empty() {
        return bad("the template uses {id}: set id_header");
    }
    if scheme.timestamp_prefix.is_some() && scheme.separator.is_none() {
        return bad("timestamp_prefix needs a separator: set it");
    }
    let timestamp_places = usize::from(!places.timestamp.is_empty())
        + usize::from(scheme.timestamp_prefix.is_some())
        + usize::from(places.timestamp_pointer.is_some());
    if timestamp_places > 1 {
        return bad("set timestamp_header, timestamp_prefix or timestamp_pointer, not both");
    }
    if scheme.timestamp_prefix.is_some() && places.signatures.is_empty() {
        return bad("timestamp_prefix is for a signature in a header: set signature_header");
    }
    if places.items.is_some() && places.signature_pointer.is_none() {
        return bad("items have a signature each: set signature_pointer, which begins at the item");
    }
    Ok(places)
}
