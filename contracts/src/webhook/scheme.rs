//! A signature scheme is data: which headers, which encoding, which algorithm, what is signed, how fresh it must be.

use serde::Deserialize;

/// How a vendor signs.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// Header with the signature or signatures
    pub signature_header: String,
    /// Header with the timestamp, when it has one of its own
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// Header with the delivery id, when it is signed or must be kept
    #[serde(default)]
    pub id_header: Option<String>,
    /// MAC over the signed string
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How signatures are written
    #[serde(default)]
    pub encoding: Encoding,
    /// How the secret's text becomes key bytes
    #[serde(default)]
    pub key: KeyDecoding,
    /// What is signed: literals and `{id}`, `{timestamp}`, `{url}`, `{body}`; the body exactly once
    pub template: String,
    /// What stands before a signature: `sha256=`, `v1,`, `v1=`
    #[serde(default)]
    pub prefix: String,
    /// Separator of several signatures in the header; items without the prefix are then ignored
    #[serde(default)]
    pub separator: Option<char>,
    /// The timestamp is an item of the signature header with this prefix (Stripe's `t=`)
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// How far the timestamp may be from now; `None` for schemes without one
    #[serde(default)]
    pub freshness: Option<Freshness>,
}

/// MAC algorithm.
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
}

impl Algorithm {
    pub(crate) fn digest_bytes(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha512 => 64,
            Self::HmacSha1 => 20,
        }
    }
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower or upper case hexadecimal
    #[default]
    Hex,
    /// Standard base64 with padding
    Base64,
}

/// How the secret's text becomes key bytes.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, Default)]
#[serde(deny_unknown_fields)]
pub struct KeyDecoding {
    /// Removed when present (`whsec_`)
    #[serde(default)]
    pub prefix: String,
    /// Encoding of the rest; `None` takes its bytes as they are
    #[serde(default)]
    pub encoding: Option<Encoding>,
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

impl Scheme {
    /// Names of the presets.
    pub const PRESETS: [&'static str; 3] = ["eventflow", "standard-webhooks", "github"];

    /// The schemes known by name, one of [`Scheme::PRESETS`]; `eventflow` is the original's.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let five_minutes = Some(Freshness {
            past_seconds: 300,
            future_seconds: 300,
        });
        let plain = Self {
            signature_header: "x-provider-signature".to_owned(),
            timestamp_header: Some("x-provider-timestamp".to_owned()),
            id_header: None,
            algorithm: Algorithm::HmacSha256,
            encoding: Encoding::Hex,
            key: KeyDecoding::default(),
            template: "{timestamp}.{body}".to_owned(),
            prefix: String::new(),
            separator: None,
            timestamp_prefix: None,
            freshness: five_minutes,
        };
        match name {
            "eventflow" => Some(plain),
            // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
            "standard-webhooks" => Some(Self {
                signature_header: "webhook-signature".to_owned(),
                timestamp_header: Some("webhook-timestamp".to_owned()),
                id_header: Some("webhook-id".to_owned()),
                encoding: Encoding::Base64,
                key: KeyDecoding {
                    prefix: "whsec_".to_owned(),
                    encoding: Some(Encoding::Base64),
                },
                template: "{id}.{timestamp}.{body}".to_owned(),
                prefix: "v1,".to_owned(),
                separator: Some(' '),
                ..plain
            }),
            // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
            "github" => Some(Self {
                signature_header: "x-hub-signature-256".to_owned(),
                timestamp_header: None,
                id_header: Some("x-github-delivery".to_owned()),
                template: "{body}".to_owned(),
                prefix: "sha256=".to_owned(),
                freshness: None,
                ..plain
            }),
            _ => None,
        }
    }
}
