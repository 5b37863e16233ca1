//! Verifiers and signed requests.

use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const NOW: i64 = 1_700_000_000;

pub(crate) fn key(id: &str, secret: &str, not_after: Option<i64>) -> Key {
    Key {
        id: id.to_owned(),
        secret: Secret::new(secret),
        not_after,
    }
}

pub(crate) fn verifier(preset: &str, keys: Vec<Key>) -> Verifier {
    Verifier::new(Scheme::preset(preset).unwrap(), keys, None).unwrap()
}

/// A scheme of the signature header `x-signature` and these fields.
pub(crate) fn custom(mut fields: serde_json::Value) -> Scheme {
    fields["signature_header"] = "X-Signature".into();
    serde_json::from_value(fields).unwrap()
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

pub(crate) fn signed(verifier: &Verifier, at: i64, body: &[u8], key: usize) -> HeaderMap {
    let pairs = verifier.sign(Some("msg_1"), at, body, key);
    headers(
        &pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect::<Vec<_>>(),
    )
}
