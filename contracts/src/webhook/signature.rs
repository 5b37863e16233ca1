//! Signing and verifying, over the raw bytes, before anything is parsed. One type does both; `now` is an argument.

mod compile;

pub use compile::{Key, SchemeError};

use super::mac::{Digest, Keyed};
use super::scheme::Scheme;
use super::template::{Filling, Template};
use http::{HeaderMap, HeaderName};
use subtle::Choice;

/// Most signatures checked in one header.
const MAX_SIGNATURES: usize = 16;
/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 256;

/// Why a request is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature, timestamp or id header is missing
    #[error("a signature header is missing")]
    MissingHeader,
    /// One of them appears more than once
    #[error("a signature header appears more than once")]
    DuplicateHeader,
    /// One of them cannot be what it should be: wrong length, wrong alphabet, no number
    #[error("a signature header is malformed")]
    MalformedHeader,
    /// No key gives this signature
    #[error("the signature does not match")]
    Mismatch,
    /// The signature matches, the timestamp is too far back
    #[error("the timestamp is too old")]
    TooOld,
    /// The signature matches, the timestamp is too far ahead
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

/// A request is authentic: by which secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureVerdict<'a> {
    /// Id of the matching secret
    pub secret_id: &'a str,
    /// Unix seconds of the timestamp
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

    /// Verifies the body. Freshness is checked only after the signature matched, so that it cannot be probed without a secret.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<SignatureVerdict<'_>, SignatureError> {
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
        Ok(SignatureVerdict {
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
