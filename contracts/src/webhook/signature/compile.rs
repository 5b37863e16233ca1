//! A scheme and its keys, compiled into a verifier, or refused when they cannot work.

use super::{ReadyKey, Verifier};
use crate::Secret;
use crate::webhook::mac::Keyed;
use crate::webhook::scheme::{Encoding, Scheme};
use crate::webhook::template::{Part, Template};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// No key, an empty or undecodable secret, a template without the body, one that needs what the scheme does not have, or a scheme
    /// whose own signatures it would refuse (a separator inside the prefix, two headers of one name, ...).
    pub fn new(
        mut scheme: Scheme,
        keys: Vec<Key>,
        public_url: Option<String>,
    ) -> Result<Self, SchemeError> {
        let bad = |problem: String| Err(SchemeError(problem));
        for header in [
            Some(&mut scheme.signature_header),
            scheme.timestamp_header.as_mut(),
            scheme.id_header.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            header.make_ascii_lowercase();
        }
        let name_of = |header: &String| {
            HeaderName::from_bytes(header.as_bytes())
                .map_err(|_| SchemeError(format!("{header:?} is not a header name")))
        };
        let signature_header = name_of(&scheme.signature_header)?;
        let timestamp_header = scheme.timestamp_header.as_ref().map(name_of).transpose()?;
        let id_header = scheme.id_header.as_ref().map(name_of).transpose()?;
        let template = Template::parse(&scheme.template).map_err(SchemeError)?;
        let has_timestamp = scheme.timestamp_header.is_some() || scheme.timestamp_prefix.is_some();
        if (template.has(&Part::Timestamp) || scheme.freshness.is_some()) && !has_timestamp {
            return bad(
                "the template or freshness uses a timestamp: set timestamp_header or timestamp_prefix".to_owned(),
            );
        }
        if scheme.freshness.is_some() && !template.has(&Part::Timestamp) {
            return bad("freshness of a timestamp that is not signed proves nothing: put {timestamp} in the template".to_owned());
        }
        if template.has(&Part::Id) && scheme.id_header.is_none() {
            return bad("the template uses {id}: set id_header".to_owned());
        }
        if template.has(&Part::Url) && public_url.as_deref().is_none_or(str::is_empty) {
            return bad("the template uses {url}: set public_url".to_owned());
        }
        if scheme.timestamp_prefix.is_some() && scheme.separator.is_none() {
            return bad("timestamp_prefix needs a separator: set it".to_owned());
        }
        if scheme.timestamp_prefix.is_some() && scheme.timestamp_header.is_some() {
            return bad("set timestamp_header or timestamp_prefix, not both".to_owned());
        }
        if keys.is_empty() {
            return bad("at least one secret is needed".to_owned());
        }
        let mut ready = Vec::with_capacity(keys.len());
        for key in keys {
            let bytes = decode_key(&scheme, &key)?;
            let keyed = Keyed::new(scheme.algorithm, &bytes).ok_or_else(|| {
                SchemeError(format!("secret {:?} is no key for this algorithm", key.id))
            })?;
            ready.push(ReadyKey {
                id: key.id,
                not_after: key.not_after,
                keyed,
            });
        }
        let id_borders = template.id_borders();
        let public_url = public_url.unwrap_or_default();
        let verifier = Self {
            scheme,
            template,
            id_borders,
            public_url,
            keys: ready,
            signature_header,
            timestamp_header,
            id_header,
        };
        if verifier.reads_its_own_signature() {
            Ok(verifier)
        } else {
            bad("a signature made by this scheme could not be read back: check prefix, separator, timestamp_prefix and header names"
                .to_owned())
        }
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
        let digest = self.mac(&self.keys[0], Some(id), Some(&timestamp.to_string()), b"");
        self.precheck(&headers).is_ok_and(|read| {
            matches!(read.signatures.as_slice(), [only] if bool::from(only.ct_eq(&digest)))
                && read.timestamp.is_none_or(|read| read == timestamp)
        })
    }
}

fn decode_key(scheme: &Scheme, key: &Key) -> Result<Vec<u8>, SchemeError> {
    let text = key.secret.expose();
    let text = text
        .strip_prefix(scheme.key.prefix.as_bytes())
        .unwrap_or(text);
    let bytes = match scheme.key.encoding {
        None => Some(text.to_vec()),
        Some(Encoding::Hex) => hex::decode(text).ok(),
        Some(Encoding::Base64) => STANDARD.decode(text).ok(),
    };
    let bytes = bytes.ok_or_else(|| {
        SchemeError(format!(
            "secret {:?} is not encoded as the scheme says; check its text and the scheme's key",
            key.id
        ))
    })?;
    if bytes.is_empty() {
        Err(SchemeError(format!("secret {:?} is empty", key.id)))
    } else {
        Ok(bytes)
    }
}
