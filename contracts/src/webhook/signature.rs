//! Signing and verifying, over the raw bytes, before anything is parsed. One type does both; `now` is an argument.

use super::mac::{Digest, Keyed};
use super::scheme::{Encoding, Scheme};
use super::template::{Filling, Part, Template};
use crate::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::Choice;

/// Most signatures looked at in one header.
const MAX_SIGNATURES: usize = 16;
/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 256;

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

/// Why a request is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature, time stamp or id header is missing
    #[error("a signature header is missing")]
    MissingHeader,
    /// One of them is there twice
    #[error("a signature header is there more than once")]
    DuplicateHeader,
    /// One of them cannot be what it should be: wrong length, wrong alphabet, no number
    #[error("a signature header is malformed")]
    MalformedHeader,
    /// No key gives this signature
    #[error("the signature does not match")]
    Mismatch,
    /// The signature matches, the time stamp is too far back
    #[error("the timestamp is too old")]
    TooOld,
    /// The signature matches, the time stamp is too far ahead
    #[error("the timestamp is in the future")]
    InFuture,
    /// The signature matches, by a secret that is no longer valid
    #[error("the secret has expired")]
    SecretExpired,
}

impl SignatureError {
    /// Stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_signature_header",
            Self::DuplicateHeader => "duplicate_signature_header",
            Self::MalformedHeader => "malformed_signature_header",
            Self::Mismatch => "signature_mismatch",
            Self::TooOld => "timestamp_too_old",
            Self::InFuture => "timestamp_in_future",
            Self::SecretExpired => "secret_expired",
        }
    }

    /// True when the request is refused by its shape (400), false when it was checked and failed (401).
    #[must_use]
    pub fn is_malformed(self) -> bool {
        match self {
            Self::MissingHeader | Self::DuplicateHeader | Self::MalformedHeader => true,
            Self::Mismatch | Self::TooOld | Self::InFuture | Self::SecretExpired => false,
        }
    }
}

/// What verified a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Id of the matching secret
    pub secret_id: &'a str,
    /// Unix seconds of the time stamp
    pub timestamp: Option<i64>,
    /// The delivery id header
    pub id: Option<String>,
}

/// What a request presents, checked by shape only.
#[derive(Debug)]
pub struct Presented<'h> {
    id: Option<&'h str>,
    /// The raw text received: the signed string is built from it, never from the number.
    timestamp_text: Option<&'h str>,
    timestamp: Option<i64>,
    signatures: Vec<Digest>,
}

struct ReadyKey {
    id: String,
    not_after: Option<i64>,
    /// Keyed once; cloned for each use.
    keyed: Keyed,
}

/// A scheme with its keys, compiled.
pub struct Verifier {
    scheme: Scheme,
    template: Template,
    /// What an id may not contain.
    id_borders: Vec<String>,
    public_url: String,
    keys: Vec<ReadyKey>,
    signature_header: HeaderName,
    timestamp_header: Option<HeaderName>,
    id_header: Option<HeaderName>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("Verifier")
            .field("scheme", &self.scheme)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

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
                "the template or freshness needs a timestamp_header or timestamp_prefix".to_owned(),
            );
        }
        if scheme.freshness.is_some() && !template.has(&Part::Timestamp) {
            return bad("freshness of a time stamp that is not signed proves nothing: put {timestamp} in the template".to_owned());
        }
        if template.has(&Part::Id) && scheme.id_header.is_none() {
            return bad("the template needs an id_header".to_owned());
        }
        if template.has(&Part::Url) && public_url.as_deref().is_none_or(str::is_empty) {
            return bad("the template needs public_url".to_owned());
        }
        if scheme.timestamp_prefix.is_some() && scheme.separator.is_none() {
            return bad("timestamp_prefix needs a separator".to_owned());
        }
        if scheme.timestamp_prefix.is_some() && scheme.timestamp_header.is_some() {
            return bad(
                "the time stamp has one place: timestamp_header or timestamp_prefix".to_owned(),
            );
        }
        if keys.is_empty() {
            return bad("at least one secret is needed".to_owned());
        }
        let mut ready = Vec::with_capacity(keys.len());
        for key in keys {
            let bytes = decode_key(&scheme, &key)?;
            let keyed = Keyed::new(scheme.algorithm, &bytes)
                .ok_or_else(|| SchemeError(format!("secret {:?} cannot be a key", key.id)))?;
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
            bad("a signature made by this scheme could not be read back: look at prefix, separator, timestamp_prefix and header names"
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

    /// The headers to keep with the body, so that it can be verified again later.
    pub fn signature_headers(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.id_header, &self.timestamp_header]
            .into_iter()
            .flatten()
            .chain([&self.signature_header])
    }

    /// Checks presence and shape, before the body is read: no MAC is computed for what cannot match.
    ///
    /// # Errors
    /// One of the malformed [`SignatureError`]s.
    pub fn precheck<'h>(&self, headers: &'h HeaderMap) -> Result<Presented<'h>, SignatureError> {
        let signature = single(headers, &self.signature_header)?;
        let id = match &self.id_header {
            Some(name) => Some(single(headers, name)?),
            None => None,
        };
        let unusable = |id: &str| {
            id.is_empty()
                || id.len() > MAX_ID_BYTES
                || self
                    .id_borders
                    .iter()
                    .any(|border| id.contains(border.as_str()))
        };
        if id.is_some_and(unusable) {
            return Err(SignatureError::MalformedHeader);
        }
        let mut timestamp_text = match &self.timestamp_header {
            Some(name) => Some(single(headers, name)?),
            None => None,
        };
        let mut signatures = Vec::with_capacity(1);
        match self.scheme.separator {
            None => {
                let encoded = signature
                    .strip_prefix(&self.scheme.prefix)
                    .ok_or(SignatureError::MalformedHeader)?;
                signatures.push(self.decode(encoded)?);
            }
            Some(separator) => {
                for item in signature
                    .split(separator)
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                {
                    if let Some(text) = self
                        .scheme
                        .timestamp_prefix
                        .as_deref()
                        .and_then(|prefix| item.strip_prefix(prefix))
                    {
                        if timestamp_text.replace(text).is_some() {
                            return Err(SignatureError::DuplicateHeader);
                        }
                    } else if let Some(encoded) = item.strip_prefix(&self.scheme.prefix) {
                        signatures.push(self.decode(encoded)?);
                    }
                    if signatures.len() > MAX_SIGNATURES {
                        return Err(SignatureError::MalformedHeader);
                    }
                }
            }
        }
        if signatures.is_empty() {
            return Err(SignatureError::MalformedHeader);
        }
        let timestamp = match timestamp_text {
            None if self.scheme.timestamp_prefix.is_some() => {
                return Err(SignatureError::MissingHeader);
            }
            None => None,
            Some(text) => Some(parse_timestamp(text).ok_or(SignatureError::MalformedHeader)?),
        };
        Ok(Presented {
            id,
            timestamp_text,
            timestamp,
            signatures,
        })
    }

    /// Verifies the body. Freshness is looked at only after the signature matched, so that it cannot be probed without a secret.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Verdict<'_>, SignatureError> {
        let presented = self.precheck(headers)?;
        let mut matching = None;
        for key in &self.keys {
            let digest = self.mac(key, presented.id, presented.timestamp_text, body);
            // No early exit: which of several signatures matched does not show in the time taken.
            let matches = presented
                .signatures
                .iter()
                .fold(Choice::from(0), |found, signature| {
                    found | signature.ct_eq(&digest)
                });
            if bool::from(matches) {
                matching = Some(key);
                if !is_expired(key, now) {
                    break;
                }
            }
        }
        let key = matching.ok_or(SignatureError::Mismatch)?;
        if is_expired(key, now) {
            return Err(SignatureError::SecretExpired);
        }
        if let (Some(freshness), Some(timestamp)) = (self.scheme.freshness, presented.timestamp) {
            if timestamp < now.saturating_sub(i64::from(freshness.past_seconds)) {
                return Err(SignatureError::TooOld);
            }
            if timestamp > now.saturating_add(i64::from(freshness.future_seconds)) {
                return Err(SignatureError::InFuture);
            }
        }
        Ok(Verdict {
            secret_id: &key.id,
            timestamp: presented.timestamp,
            id: presented.id.map(str::to_owned),
        })
    }

    /// Signs a body with one of the keys and returns the headers to send.
    ///
    /// # Panics
    /// When there is no key of that index.
    #[must_use]
    pub fn sign(
        &self,
        id: Option<&str>,
        timestamp: i64,
        body: &[u8],
        key_index: usize,
    ) -> Vec<(String, String)> {
        let timestamp = timestamp.to_string();
        let digest = self.mac(&self.keys[key_index], id, Some(&timestamp), body);
        let encoded = digest.encode(self.scheme.encoding);
        let mut signature = format!("{}{encoded}", self.scheme.prefix);
        if let (Some(prefix), Some(separator)) =
            (&self.scheme.timestamp_prefix, self.scheme.separator)
        {
            signature = format!("{prefix}{timestamp}{separator}{signature}");
        }
        let mut headers = Vec::with_capacity(3);
        if let (Some(name), Some(id)) = (&self.scheme.id_header, id) {
            headers.push((name.clone(), id.to_owned()));
        }
        if let Some(name) = &self.scheme.timestamp_header {
            headers.push((name.clone(), timestamp));
        }
        headers.push((self.scheme.signature_header.clone(), signature));
        headers
    }

    fn mac(
        &self,
        key: &ReadyKey,
        id: Option<&str>,
        timestamp: Option<&str>,
        body: &[u8],
    ) -> Digest {
        let mut mac = key.keyed.clone();
        let (id, timestamp) = (id.unwrap_or_default(), timestamp.unwrap_or_default());
        self.template.feed(
            &mut mac,
            &Filling {
                id,
                timestamp,
                url: &self.public_url,
                body,
            },
        );
        mac.finish()
    }

    /// Decodes a signature of exactly the digest's length.
    fn decode(&self, encoded: &str) -> Result<Digest, SignatureError> {
        Digest::decode(
            encoded,
            self.scheme.encoding,
            self.scheme.algorithm.digest_bytes(),
        )
        .ok_or(SignatureError::MalformedHeader)
    }
}

fn is_expired(key: &ReadyKey, now: i64) -> bool {
    key.not_after.is_some_and(|not_after| now > not_after)
}

/// The one value of a header, as visible ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(SignatureError::MissingHeader)?;
    if values.next().is_some() {
        return Err(SignatureError::DuplicateHeader);
    }
    value.to_str().map_err(|_| SignatureError::MalformedHeader)
}

/// Unix seconds in decimal digits, nothing else.
fn parse_timestamp(text: &str) -> Option<i64> {
    let shape = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if shape { text.parse().ok() } else { None }
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
            "secret {:?} is not encoded as the scheme says",
            key.id
        ))
    })?;
    if bytes.is_empty() {
        Err(SchemeError(format!("secret {:?} is empty", key.id)))
    } else {
        Ok(bytes)
    }
}
