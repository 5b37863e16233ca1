//! Properties of every scheme: what is signed verifies, nothing else does, and any header gets an answer.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::preset;
use contracts::webhook::scheme::{Method, Scheme};
use contracts::webhook::signature::{Key, SignatureError, SignedRequest, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

fn schemes() -> Vec<Verifier> {
    let custom = [
        r#"{"signature_header":"s","template":"{timestamp}.{body}","prefix":"v1=","separator":",","timestamp_prefix":"t=",
            "freshness":{"past_seconds":300,"future_seconds":60}}"#,
        r#"{"signature_header":"s","template":"{url}{body}","encoding":"base64","algorithm":"hmac-sha1"}"#,
        r#"{"signature_header":"s","template":"v0:{timestamp}:{body}","timestamp_header":"t","algorithm":"hmac-sha512"}"#,
    ];
    let presets = preset::names()
        .into_iter()
        .map(|name| Scheme::preset(name).unwrap());
    // The others cannot sign from headers alone, or do not sign the whole body: tests/vectors.rs has them.
    let presets = presets.filter(|scheme| {
        let whole = scheme.template.contains("{body}") && scheme.timestamp_pointer.is_none();
        whole && scheme.algorithm.method() == Method::Mac
    });
    let schemes = presets.chain(custom.map(|text| serde_json::from_str(text).unwrap()));
    let key = || Key {
        id: "k".to_owned(),
        secret: Secret::new("d2hhdCBhIHNlY3JldA=="),
        not_after: None,
    };
    schemes
        .map(|scheme| {
            Verifier::new(scheme, vec![key()], Some("https://a.example/x".to_owned())).unwrap()
        })
        .collect()
}

fn signed(verifier: &Verifier, at: i64, body: &[u8]) -> HeaderMap {
    let headers = verifier.sign(Some("msg_1"), at, body, 0).into_iter();
    headers
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        })
        .collect()
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_no_other_body_does(body in proptest::collection::vec(any::<u8>(), 0..200), at in 1_000_000_000_i64..4_000_000_000, bit in any::<prop::sample::Index>()) {
        for verifier in schemes() {
            let given = signed(&verifier, at, &body);
            prop_assert!(verifier.precheck(&given).is_ok());
            prop_assert_eq!(verifier.verify(&SignedRequest::post(&given, &body), at).unwrap().secret_id, "k");
            let mut other = body.clone();
            if other.is_empty() { other.push(0) } else { let bit = bit.index(body.len() * 8); other[bit / 8] ^= 1 << (bit % 8); }
            prop_assert_eq!(verifier.verify(&SignedRequest::post(&given, &other), at), Err(SignatureError::Mismatch));
            let mut longer = body.clone();
            longer.push(b'\n');
            prop_assert_eq!(verifier.verify(&SignedRequest::post(&given, &longer), at), Err(SignatureError::Mismatch));
        }
    }

    /// Any bit of any header that is signed or is the signature.
    #[test]
    fn no_other_header_verifies(body in "[a-z]{0,20}", at in 1_000_000_000_i64..4_000_000_000, place in any::<prop::sample::Index>()) {
        for verifier in schemes() {
            let given = signed(&verifier, at, body.as_bytes());
            // Kept for whoever reads them, and not signed.
            let unsigned = ["x-github-delivery", "x-pusher-key"];
            let names = verifier.signature_headers().filter(|name| !unsigned.contains(&name.as_str()));
            for name in names.filter(|name| given.contains_key(*name)) {
                let mut bytes = given[name].as_bytes().to_vec();
                let bit = place.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(flipped) = HeaderValue::from_bytes(&bytes) else { continue };
                let mut other = given.clone();
                other.insert(name.clone(), flipped);
                let verdict = verifier.verify(&SignedRequest::post(&other, body.as_bytes()), at);
                prop_assert!(verdict.is_err(), "{}: {:?} for {:?}", name, other[name], given[name]);
                if let Err(error) = verdict {
                    prop_assert!(error == SignatureError::Mismatch || error.is_malformed(), "{:?}", error);
                }
            }
        }
    }

    #[test]
    fn any_headers_get_an_answer(
        values in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(0x20_u8..=0xff, 0..140),
            "(v1,|v1=|t=|sha256=|[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=|[0-9]{1,20}|[ ,=]){0,6}".prop_map(String::into_bytes),
        ], 6),
        now in any::<i64>(),
    ) {
        for verifier in schemes() {
            let mut given = HeaderMap::new();
            for (name, bytes) in verifier.signature_headers().zip(&values) {
                if let Ok(value) = HeaderValue::from_bytes(bytes) {
                    given.append(name.clone(), value);
                }
            }
            let quick = verifier.precheck(&given).map(drop);
            let full = verifier.verify(&SignedRequest::post(&given, b"body"), now);
            prop_assert!(full.is_err());
            prop_assert_eq!(quick.is_err(), full.unwrap_err().is_malformed(), "what is refused by shape is refused before the body");
        }
    }
}
