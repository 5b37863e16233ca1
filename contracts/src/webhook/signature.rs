//! Signing and verifying, over the raw bytes, before anything is parsed. One type does both; `now` is an argument.

mod compile;
mod present;
mod sign;
mod signed;

pub use compile::{Key, SchemeError};
pub use present::Presented;
pub use sign::VendorKey;

use super::credential::Credential;
use super::scheme::{Method, Scheme};
use super::template::{Part, Template};
use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;

/// Most signatures checked in one request; also most items of one body that have a signature each.
const MAX_SIGNATURES: usize = 16;
/// Most items of one body that have a signature each.
const MAX_ITEMS: usize = 256;

/// Why a request is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature, timestamp or id is missing, where the scheme has them in a header or in the body
    #[error("a signature header is missing")]
    MissingHeader,
    /// One of them appears more than once, or under two names with different values
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

/// A request as it was received: whatever a vendor may have signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'r> {
    /// Its method in capitals
    pub method: &'r str,
    /// Its query as received, without the question mark
    pub query: Option<&'r str>,
    /// Its headers
    pub headers: &'r HeaderMap,
    /// Its body, before anything is decoded
    pub body: &'r [u8],
}

impl<'r> SignedRequest<'r> {
    /// A POST without a query, which most webhooks are.
    #[must_use]
    pub fn post(headers: &'r HeaderMap, body: &'r [u8]) -> Self {
        Self {
            method: "POST",
            query: None,
            headers,
            body,
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

struct ReadyKey {
    id: String,
    not_after: Option<i64>,
    credential: Credential,
}

/// A scheme with its keys, compiled.
pub struct Verifier {
    scheme: Scheme,
    template: Template,
    public_url: String,
    keys: Vec<ReadyKey>,
    places: Places,
}

/// Where a request has what the scheme needs.
struct Places {
    /// Each with its aliases; empty where the signature is in the body
    signatures: Vec<Vec<HeaderName>>,
    signature_pointer: Option<Vec<String>>,
    /// Aliases of one header, as are those of the id
    timestamp: Vec<HeaderName>,
    timestamp_pointer: Option<Vec<String>>,
    id: Vec<HeaderName>,
    required: Vec<(HeaderName, String)>,
    certificate: Option<HeaderName>,
    items: Option<Vec<String>>,
    /// The characters of a number, where nothing but its length is a border to what is signed beside it
    timestamp_length: Option<usize>,
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
    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The headers to keep with the body, so that it can be verified again later. A token's header is not among them: it is the secret.
    pub fn signature_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let is_secret = self.scheme.algorithm.method() == Method::Token;
        let signatures = self.places.signatures.iter().flatten();
        let signed = self.template.parts().filter_map(|(part, _)| match part {
            Part::Header(name) => Some(name),
            _ => None,
        });
        self.places
            .id
            .iter()
            .chain(&self.places.timestamp)
            .chain(signatures.filter(move |_| !is_secret))
            .chain(self.places.required.iter().map(|(name, _)| name))
            .chain(&self.places.certificate)
            .chain(signed)
    }

    /// The ids of its secrets, and the Unix seconds until which each verifies.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, Option<i64>)> {
        self.keys.iter().map(|key| (key.id.as_str(), key.not_after))
    }

    /// The headers that hold a secret and must never be kept, logged or shown.
    pub fn secret_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let is_secret = self.scheme.algorithm.method() == Method::Token;
        self.places
            .signatures
            .iter()
            .flatten()
            .filter(move |_| is_secret)
    }

    /// Whether the query of a request is signed, so that it must be kept to verify the request again.
    #[must_use]
    pub fn signs_query(&self) -> bool {
        self.template.has(&Part::Url) && !self.public_url.contains('?')
    }

    /// The ids of its secrets.
    pub fn secret_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Whether the signature covers this header.
    #[must_use]
    pub fn signs(&self, header: &HeaderName) -> bool {
        (self.places.id.contains(header) && self.template.has(&Part::Id))
            || (self.places.timestamp.contains(header) && self.template.has(&Part::Timestamp))
            || self.template.has(&Part::Header(header.clone()))
    }

    /// Whether the signature fixes every byte of the body. A CRC does not, and neither does a form without what separates its fields.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        self.template.has(&Part::Body) || self.template.has(&Part::BodySha256)
    }

    /// Whether the signature covers this place in the body, by the reference tokens of its JSON pointer.
    #[must_use]
    pub fn signs_pointer(&self, path: &[String]) -> bool {
        let field = |any| Part::Json {
            path: path.to_vec(),
            any,
        };
        let is_time = self.places.timestamp_pointer.as_deref() == Some(path);
        self.signs_body()
            || self.template.has(&field(false))
            || self.template.has(&field(true))
            || (is_time && self.template.has(&Part::Timestamp))
    }

    /// Whether the signature covers the time it was made at.
    #[must_use]
    pub fn signs_time(&self) -> bool {
        let in_body = |path: &Vec<String>| self.signs_pointer(path);
        self.template.has(&Part::Timestamp)
            || self.places.timestamp_pointer.as_ref().is_some_and(in_body)
    }

    /// Verifies a request: its shape, then its signature, then its time. Freshness is checked only after the signature matched, so that it
    /// cannot be probed without a secret.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        now_seconds: i64,
    ) -> Result<SignatureVerdict<'_>, SignatureError> {
        let presented = self.precheck(request.headers)?;
        let Some(path) = &self.places.items else {
            return self.verify_part(request, request.body, presented, now_seconds);
        };
        let mut first = None;
        for item in items(path, request.body)? {
            let verdict = self.verify_part(
                request,
                item.get().as_bytes(),
                presented.clone(),
                now_seconds,
            )?;
            first.get_or_insert(verdict);
        }
        first.ok_or(SignatureError::MissingHeader)
    }

    /// Whose secret it is, of a request that [`verify`](Self::verify) refuses with [`SignatureError::SecretExpired`]; `None` of any other.
    #[must_use]
    pub fn expired_secret(&self, request: &SignedRequest<'_>, now_seconds: i64) -> Option<&str> {
        let presented = self.precheck(request.headers).ok()?;
        let expired = |part: &[u8]| {
            let key = self.matching(request, part, &mut presented.clone(), now_seconds);
            key.ok().filter(|key| is_expired(key, now_seconds))
        };
        let key = match &self.places.items {
            None => expired(request.body),
            Some(path) => {
                let items = items(path, request.body).ok()?;
                items
                    .into_iter()
                    .find_map(|item| expired(item.get().as_bytes()))
            }
        };
        key.map(|key| key.id.as_str())
    }

    /// The key that the part is signed with: of several, the first that has not expired.
    fn matching(
        &self,
        request: &SignedRequest<'_>,
        part: &[u8],
        presented: &mut Presented<'_>,
        now_seconds: i64,
    ) -> Result<&ReadyKey, SignatureError> {
        let form = self.form(request)?;
        self.read_body(part, form.as_deref(), presented)?;
        let signed = self.signed(request, part, form.as_deref(), presented)?;
        let mut matching = None;
        for key in &self.keys {
            if key.credential.matches(&signed, &presented.signatures) {
                matching = Some(key);
                if !is_expired(key, now_seconds) {
                    break;
                }
            }
        }
        matching.ok_or(SignatureError::Mismatch)
    }

    /// Verifies the body, or one item of it that has a signature of its own.
    fn verify_part(
        &self,
        request: &SignedRequest<'_>,
        part: &[u8],
        mut presented: Presented<'_>,
        now_seconds: i64,
    ) -> Result<SignatureVerdict<'_>, SignatureError> {
        let key = self.matching(request, part, &mut presented, now_seconds)?;
        if is_expired(key, now_seconds) {
            return Err(SignatureError::SecretExpired);
        }
        if let (Some(freshness), Some(timestamp)) = (self.scheme.freshness, presented.timestamp) {
            if timestamp < now_seconds.saturating_sub(i64::from(freshness.past_seconds)) {
                return Err(SignatureError::TooOld);
            }
            if timestamp > now_seconds.saturating_add(i64::from(freshness.future_seconds)) {
                return Err(SignatureError::InFuture);
            }
        }
        Ok(SignatureVerdict {
            secret_id: &key.id,
            timestamp: presented.timestamp,
            id: presented.id.map(str::to_owned),
        })
    }
}

/// The items of a body that have a signature each.
fn items<'b>(path: &[String], body: &'b [u8]) -> Result<Vec<&'b RawValue>, SignatureError> {
    let items = signed::find(path, body).ok_or(SignatureError::MissingHeader)?;
    let items: Vec<&RawValue> =
        serde_json::from_str(items.get()).map_err(|_| SignatureError::MalformedHeader)?;
    if items.len() > MAX_ITEMS {
        return Err(SignatureError::MalformedHeader);
    }
    Ok(items)
}

fn is_expired(key: &ReadyKey, now_seconds: i64) -> bool {
    key.not_after
        .is_some_and(|not_after| now_seconds > not_after)
}
