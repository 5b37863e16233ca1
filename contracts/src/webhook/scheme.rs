//! A signature scheme is data: which headers, which encoding, which algorithm, what is signed, how fresh it must be.

mod words;

use super::preset;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How a vendor signs.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// Header with the signature or signatures
    #[serde(default)]
    pub signature_header: HeaderNames,
    /// Further headers with a signature each, made with other secrets; one of all signatures must match (Box)
    #[serde(default)]
    pub more_signature_headers: Vec<String>,
    /// JSON pointer of the signature, where it is in the body
    #[serde(default)]
    pub signature_pointer: Option<String>,
    /// Form field of the signature, where the body is a form
    #[serde(default)]
    pub signature_field: Option<String>,
    /// Header with the timestamp, when it has one of its own
    #[serde(default)]
    pub timestamp_header: HeaderNames,
    /// The timestamp is an item of the signature header with this prefix (Stripe's `t=`)
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// JSON pointer of the timestamp, where it is in the body
    #[serde(default)]
    pub timestamp_pointer: Option<String>,
    /// How the timestamp is written
    #[serde(default)]
    pub timestamp_format: TimestampFormat,
    /// Header with the delivery id, when it is signed or must be kept
    #[serde(default)]
    pub id_header: HeaderNames,
    /// Headers that must have exactly this value, as a vendor writes its version or algorithm; they choose nothing
    #[serde(default)]
    pub require_headers: BTreeMap<String, String>,
    /// What proves a request
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How signatures are written
    #[serde(default)]
    pub encoding: Encoding,
    /// How the secret's text becomes key bytes
    #[serde(default)]
    pub key: KeyDecoding,
    /// What is signed: literals and parts in braces ([`PARTS`]); empty for a token, which signs nothing
    #[serde(default)]
    pub template: String,
    /// What stands before a signature: `sha256=`, `v1,`, `v1=`
    #[serde(default)]
    pub prefix: String,
    /// Separator of several signatures in the header; items without the prefix are then ignored
    #[serde(default)]
    pub separator: Option<char>,
    /// How far the timestamp may be from now; `None` for schemes without one
    #[serde(default)]
    pub freshness: Option<Freshness>,
    /// JSON pointer of an array, each item of which has a signature of its own: the pointers of this scheme begin at the item, and every
    /// item must verify (Adyen)
    #[serde(default)]
    pub items: Option<String>,
    /// Query parameter with the SHA-256 of the body in hexadecimal, as Twilio has it for bodies that are no form
    #[serde(default)]
    pub body_digest_query: Option<String>,
    /// The id that the vendor gave this webhook, where it signs it and does not send it (PayPal)
    #[serde(default)]
    pub webhook_id: String,
    /// Header with the address of the certificate, which must be one of these hosts' (PayPal)
    #[serde(default)]
    pub certificate_url: Option<CertificateUrl>,
}

/// The parts of a template.
pub const PARTS: &str = "{id}, {timestamp}, {method}, {url}, {body}, {body-sha256}, {body-crc32}, {form}, {webhook_id}, {header:NAME}, \
                         {field:NAME}, {json:/POINTER}, {any-json:/POINTER}";

/// A header by its name, or by one of several that mean the same (`webhook-id`, `svix-id`). Of those that are there, all have one value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMore")]
pub struct HeaderNames(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for HeaderNames {
    fn from(names: OneOrMore) -> Self {
        match names {
            OneOrMore::One(name) => Self(vec![name]),
            OneOrMore::More(names) => Self(names),
        }
    }
}

/// What proves a request.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-256
    #[default]
    HmacSha256,
    /// HMAC with SHA-512
    HmacSha512,
    /// HMAC with SHA-1: still sound as a MAC; older vendors use it
    HmacSha1,
    /// Ed25519 (RFC 8032); the secret is the vendor's public key
    Ed25519,
    /// ECDSA on P-256 with SHA-256, the signature in DER; the secret is the vendor's public key
    EcdsaP256Sha256,
    /// RSA PKCS #1 v1.5 with SHA-256, 2048 bits or more; the secret is the vendor's public key or certificate
    RsaSha256,
    /// The header is the secret itself: nothing is signed
    Token,
    /// HTTP Basic authentication, the secret is `user:password`: nothing is signed
    Basic,
}

/// The ways to prove a request, by what they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A key that both sides have
    Mac,
    /// A key that only the vendor has
    PublicKey,
    /// The secret is sent
    Token,
}

impl Algorithm {
    /// What kind it is.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::HmacSha256 | Self::HmacSha512 | Self::HmacSha1 => Method::Mac,
            Self::Ed25519 | Self::EcdsaP256Sha256 | Self::RsaSha256 => Method::PublicKey,
            Self::Token | Self::Basic => Method::Token,
        }
    }

    /// Its name in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha512 => "HMAC-SHA512",
            Self::HmacSha1 => "HMAC-SHA1",
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256Sha256 => "ECDSA P-256 with SHA-256",
            Self::RsaSha256 => "RSA with SHA-256",
            Self::Token => "shared token",
            Self::Basic => "HTTP Basic",
        }
    }

    /// Fewest and most bytes of a signature, before it is encoded.
    pub(crate) fn signature_bytes(self) -> (usize, usize) {
        match self {
            Self::HmacSha256 => (32, 32),
            Self::HmacSha512 | Self::Ed25519 => (64, 64),
            Self::HmacSha1 => (20, 20),
            // SEQUENCE of two INTEGERs of 1 to 33 bytes
            Self::EcdsaP256Sha256 => (8, 72),
            // 2048 to 8192 bits
            Self::RsaSha256 => (256, 1024),
            Self::Token | Self::Basic => (1, 1024),
        }
    }
}

/// How bytes are written as text. Each has one spelling for the same bytes.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal
    #[default]
    Hex,
    /// Standard base64 with padding
    Base64,
    /// Standard base64 without padding
    Base64Unpadded,
    /// The alphabet for URLs, with padding
    Base64url,
    /// The alphabet for URLs, without padding
    Base64urlUnpadded,
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampFormat {
    /// Seconds since 1970, in decimal digits
    #[default]
    UnixSeconds,
    /// Milliseconds since 1970, in decimal digits
    UnixMillis,
    /// `2030-01-01T00:00:00Z`
    Rfc3339,
}

/// How the secret's text becomes key bytes.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, Default)]
#[serde(deny_unknown_fields)]
pub struct KeyDecoding {
    /// Removed when present (`whsec_`)
    #[serde(default)]
    pub prefix: String,
    /// Encoding of the rest; `None` takes its bytes as they are. Hexadecimal may have capitals here
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// The key is this digest of the bytes (Braintree)
    #[serde(default)]
    pub digest: Option<KeyDigest>,
}

/// A digest that a key goes through.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum KeyDigest {
    /// SHA-1
    Sha1,
}

/// Bounds of a timestamp, both sides, in seconds.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// Oldest accepted age
    pub past_seconds: u32,
    /// Furthest accepted future
    pub future_seconds: u32,
}

/// Where a certificate may be. It is not fetched: the secret is the certificate; a header that names another host is refused.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CertificateUrl {
    /// Header with the `https` address
    pub header: String,
    /// Hosts it may have
    pub hosts: Vec<String>,
}

impl Scheme {
    /// The text of a new secret, made of random bytes; `None` where the secret is a public key, of which the vendor has the private one.
    #[must_use]
    pub fn new_secret(&self, random: &[u8; 32]) -> Option<String> {
        match self.algorithm {
            Algorithm::Basic => Some(format!("vendor:{}", hex::encode(random))),
            algorithm if algorithm.method() == Method::PublicKey => None,
            _ => {
                let encoding = self.key.encoding.unwrap_or_default();
                Some(format!("{}{}", self.key.prefix, encoding.encode(random)))
            }
        }
    }

    /// The scheme of a preset; `None` when there is no preset of this name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        preset::scheme(name)
    }
}
