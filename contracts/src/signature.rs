//! Signing and verifying, over the raw bytes, before anything is parsed. One type does both; `now` is an argument.

use crate::Secret;
use crate::scheme::{Algorithm, Encoding, Scheme};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

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
    signatures: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Id,
    Timestamp,
    Url,
    Body,
}

#[derive(Clone)]
enum Keyed {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
    Sha1(Hmac<Sha1>),
}

impl Keyed {
    fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HmacSha256 => Self::Sha256(KeyInit::new_from_slice(key).ok()?),
            Algorithm::HmacSha512 => Self::Sha512(KeyInit::new_from_slice(key).ok()?),
            Algorithm::HmacSha1 => Self::Sha1(KeyInit::new_from_slice(key).ok()?),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
            Self::Sha1(mac) => mac.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha512(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha1(mac) => mac.finalize().into_bytes().to_vec(),
        }
    }
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
    template: Vec<Part>,
    public_url: String,
    keys: Vec<ReadyKey>,
    kept_headers: Vec<String>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("Verifier").field("scheme", &self.scheme).field("keys", &keys).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Compiles a scheme with its keys. `public_url` is the URL vendors sign, for schemes that sign it: configured, never rebuilt from a request.
    ///
    /// # Errors
    /// No key, an empty or undecodable secret, a template without the body, or one that needs what the scheme does not have.
    pub fn new(mut scheme: Scheme, keys: Vec<Key>, public_url: Option<String>) -> Result<Self, SchemeError> {
        let bad = |problem: String| Err(SchemeError(problem));
        for header in [Some(&mut scheme.signature_header), scheme.timestamp_header.as_mut(), scheme.id_header.as_mut()]
            .into_iter()
            .flatten()
        {
            header.make_ascii_lowercase();
            if http::HeaderName::from_bytes(header.as_bytes()).is_err() {
                return bad(format!("{header:?} is not a header name"));
            }
        }
        let template = parse_template(&scheme.template).map_err(SchemeError)?;
        if template.iter().filter(|part| **part == Part::Body).count() != 1 {
            return bad("the template must have {body} exactly once".to_owned());
        }
        let has_timestamp = scheme.timestamp_header.is_some() || scheme.timestamp_prefix.is_some();
        if (template.contains(&Part::Timestamp) || scheme.freshness.is_some()) && !has_timestamp {
            return bad("the template or freshness needs a timestamp_header or timestamp_prefix".to_owned());
        }
        if scheme.freshness.is_some() && !template.contains(&Part::Timestamp) {
            return bad("freshness of a time stamp that is not signed proves nothing: put {timestamp} in the template".to_owned());
        }
        if template.contains(&Part::Id) && scheme.id_header.is_none() {
            return bad("the template needs an id_header".to_owned());
        }
        if template.contains(&Part::Url) && public_url.is_none() {
            return bad("the template needs public_url".to_owned());
        }
        if scheme.timestamp_prefix.is_some() && scheme.separator.is_none() {
            return bad("timestamp_prefix needs a separator".to_owned());
        }
        if keys.is_empty() {
            return bad("at least one secret is needed".to_owned());
        }
        let mut ready = Vec::with_capacity(keys.len());
        for key in keys {
            let bytes = decode_key(&scheme, &key)?;
            let keyed = Keyed::new(scheme.algorithm, &bytes)
                .ok_or_else(|| SchemeError(format!("secret {:?} cannot be a key", key.id)))?;
            ready.push(ReadyKey { id: key.id, not_after: key.not_after, keyed });
        }
        let kept_headers = [scheme.id_header.clone(), scheme.timestamp_header.clone(), Some(scheme.signature_header.clone())]
            .into_iter()
            .flatten()
            .collect();
        Ok(Self { scheme, template, public_url: public_url.unwrap_or_default(), keys: ready, kept_headers })
    }

    /// Lower-case names of the headers to keep with the body, so that it can be verified again later.
    pub fn signature_headers(&self) -> impl Iterator<Item = &str> {
        self.kept_headers.iter().map(String::as_str)
    }

    /// Checks presence and shape, before the body is read: no MAC is computed for what cannot match.
    ///
    /// # Errors
    /// One of the malformed [`SignatureError`]s.
    pub fn precheck<'h>(&self, headers: &'h HeaderMap) -> Result<Presented<'h>, SignatureError> {
        let signature = single(headers, &self.scheme.signature_header)?;
        let id = match &self.scheme.id_header {
            Some(name) => Some(single(headers, name)?),
            None => None,
        };
        if id.is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
            return Err(SignatureError::MalformedHeader);
        }
        let mut timestamp_text = match &self.scheme.timestamp_header {
            Some(name) => Some(single(headers, name)?),
            None => None,
        };
        let mut signatures = Vec::with_capacity(1);
        match self.scheme.separator {
            None => {
                let encoded = signature.strip_prefix(&self.scheme.prefix).ok_or(SignatureError::MalformedHeader)?;
                signatures.push(self.decode(encoded)?);
            }
            Some(separator) => {
                for item in signature.split(separator).map(str::trim).filter(|item| !item.is_empty()) {
                    if let Some(text) = self.scheme.timestamp_prefix.as_deref().and_then(|prefix| item.strip_prefix(prefix)) {
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
            None if self.scheme.timestamp_prefix.is_some() => return Err(SignatureError::MissingHeader),
            None => None,
            Some(text) => Some(parse_timestamp(text).ok_or(SignatureError::MalformedHeader)?),
        };
        Ok(Presented { id, timestamp_text, timestamp, signatures })
    }

    /// Verifies the body. Freshness is looked at only after the signature matched, so that it cannot be probed without a secret.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Verdict<'_>, SignatureError> {
        let presented = self.precheck(headers)?;
        let mut matching = None;
        for key in &self.keys {
            let digest = self.mac(key, presented.id, presented.timestamp_text, body);
            // Shapes were checked: all are of the digest's length.
            let matches =
                presented.signatures.iter().fold(subtle::Choice::from(0), |found, signature| found | signature.ct_eq(&digest));
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
        Ok(Verdict { secret_id: &key.id, timestamp: presented.timestamp, id: presented.id.map(str::to_owned) })
    }

    /// Signs a body with one of the keys and returns the headers to send.
    ///
    /// # Panics
    /// When there is no key of that index.
    #[must_use]
    pub fn sign(&self, id: Option<&str>, timestamp: i64, body: &[u8], key_index: usize) -> Vec<(String, String)> {
        let timestamp = timestamp.to_string();
        let digest = self.mac(&self.keys[key_index], id, Some(&timestamp), body);
        let encoded = match self.scheme.encoding {
            Encoding::Hex => hex::encode(digest),
            Encoding::Base64 => STANDARD.encode(digest),
        };
        let mut signature = format!("{}{encoded}", self.scheme.prefix);
        if let (Some(prefix), Some(separator)) = (&self.scheme.timestamp_prefix, self.scheme.separator) {
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

    fn mac(&self, key: &ReadyKey, id: Option<&str>, timestamp: Option<&str>, body: &[u8]) -> Vec<u8> {
        let mut mac = key.keyed.clone();
        for part in &self.template {
            match part {
                Part::Literal(text) => mac.update(text.as_bytes()),
                Part::Id => mac.update(id.unwrap_or_default().as_bytes()),
                Part::Timestamp => mac.update(timestamp.unwrap_or_default().as_bytes()),
                Part::Url => mac.update(self.public_url.as_bytes()),
                Part::Body => mac.update(body),
            }
        }
        mac.finish()
    }

    /// Decodes a signature of exactly the digest's length.
    fn decode(&self, encoded: &str) -> Result<Vec<u8>, SignatureError> {
        let length = self.scheme.algorithm.digest_bytes();
        let decoded = match self.scheme.encoding {
            Encoding::Hex if encoded.len() == length * 2 => hex::decode(encoded).ok(),
            Encoding::Base64 if encoded.len() == length.div_ceil(3) * 4 => STANDARD.decode(encoded).ok(),
            Encoding::Hex | Encoding::Base64 => None,
        };
        decoded.filter(|digest| digest.len() == length).ok_or(SignatureError::MalformedHeader)
    }
}

fn is_expired(key: &ReadyKey, now: i64) -> bool {
    key.not_after.is_some_and(|not_after| now > not_after)
}

/// The one value of a header, as visible ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, SignatureError> {
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

fn parse_template(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        let close = rest[open..].find('}').ok_or("the template has a { without }")? + open;
        parts.push(match &rest[open + 1..close] {
            "id" => Part::Id,
            "timestamp" => Part::Timestamp,
            "url" => Part::Url,
            "body" => Part::Body,
            other => return Err(format!("the template has {{{other}}}; known are {{id}}, {{timestamp}}, {{url}}, {{body}}")),
        });
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

fn decode_key(scheme: &Scheme, key: &Key) -> Result<Vec<u8>, SchemeError> {
    let text = key.secret.expose();
    let text = text.strip_prefix(scheme.key.prefix.as_bytes()).unwrap_or(text);
    let bytes = match scheme.key.encoding {
        None => Some(text.to_vec()),
        Some(Encoding::Hex) => hex::decode(text).ok(),
        Some(Encoding::Base64) => STANDARD.decode(text).ok(),
    };
    let bytes = bytes.ok_or_else(|| SchemeError(format!("secret {:?} is not encoded as the scheme says", key.id)))?;
    if bytes.is_empty() { Err(SchemeError(format!("secret {:?} is empty", key.id))) } else { Ok(bytes) }
}
