//! Fixed vectors, one row an error, and properties of signing and verifying.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::scheme::Scheme;
use contracts::signature::{Key, SignatureError, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000;

fn key(id: &str, secret: &str, not_after: Option<i64>) -> Key {
    Key { id: id.to_owned(), secret: Secret::new(secret), not_after }
}

fn verifier(preset: &str, keys: Vec<Key>) -> Verifier {
    Verifier::new(Scheme::preset(preset).unwrap(), keys, None).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

fn signed(verifier: &Verifier, at: i64, body: &[u8], key: usize) -> HeaderMap {
    let pairs = verifier.sign(Some("msg_1"), at, body, key);
    headers(&pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

#[test]
fn standard_webhooks_vector() {
    let verifier = verifier("standard-webhooks", vec![key("k", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", None)]);
    let given = headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1a,unknown v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]);
    let body = br#"{"test": 2432232314}"#;
    assert_eq!(verifier.verify(&given, body, 1_614_265_330).unwrap().secret_id, "k");
    let ours = verifier.sign(Some("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1_614_265_330, body, 0);
    assert_eq!(ours.last().unwrap().1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn github_vector() {
    let verifier = verifier("github", vec![key("k", "It's a Secret to Everybody", None)]);
    let given = headers(&[
        ("x-github-delivery", "d1"),
        ("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    ]);
    assert_eq!(verifier.verify(&given, b"Hello, World!", NOW).unwrap().id.as_deref(), Some("d1"));
}

#[test]
fn a_stripe_like_scheme_is_data() {
    let scheme: Scheme = serde_json::from_str(
        r#"{"signature_header":"Stripe-Signature","template":"{timestamp}.{body}","prefix":"v1=","separator":",","timestamp_prefix":"t=",
            "freshness":{"past_seconds":300,"future_seconds":60}}"#,
    )
    .unwrap();
    let verifier = Verifier::new(scheme, vec![key("k", "whsec_verbatim", None)], None).unwrap();
    let given = signed(&verifier, NOW, b"{}", 0);
    assert!(given["stripe-signature"].to_str().unwrap().starts_with(&format!("t={NOW},v1=")));
    assert!(verifier.verify(&given, b"{}", NOW).is_ok());
    assert_eq!(verifier.verify(&given, b"{}", NOW - 61), Err(SignatureError::InFuture));
    let without = headers(&[("stripe-signature", &format!("v1={}", "0".repeat(64)))]);
    assert_eq!(verifier.verify(&without, b"{}", NOW), Err(SignatureError::MissingHeader));
}

#[test]
fn every_fault_has_its_own_error() {
    let verifier = verifier("eventflow", vec![key("k", "s", None)]);
    let good = signed(&verifier, NOW, b"body", 0);
    let signature = good["x-provider-signature"].to_str().unwrap().to_owned();
    let stamp = NOW.to_string();
    let with = |stamp: &str, signature: &str| headers(&[("x-provider-timestamp", stamp), ("x-provider-signature", signature)]);
    let mut twice = with(&stamp, &signature);
    twice.append("x-provider-signature", HeaderValue::from_str(&signature).unwrap());
    let flipped = format!("{}{}", if signature.starts_with('0') { '1' } else { '0' }, &signature[1..]);
    use SignatureError::{DuplicateHeader, MalformedHeader, Mismatch, MissingHeader};
    for (given, expected) in [
        (headers(&[("x-provider-timestamp", &stamp)]), MissingHeader),
        (headers(&[("x-provider-signature", &signature)]), MissingHeader),
        (twice, DuplicateHeader),
        (with(&stamp, ""), MalformedHeader),
        (with(&stamp, &signature[..62]), MalformedHeader),
        (with(&stamp, &format!("{signature}00")), MalformedHeader),
        (with(&stamp, &format!("zz{}", &signature[2..])), MalformedHeader),
        (with("", &signature), MalformedHeader),
        (with("17e8", &signature), MalformedHeader),
        (with(" 1700000000", &signature), MalformedHeader),
        (with("99999999999999999999", &signature), MalformedHeader),
        (with(&stamp, &flipped), Mismatch),
        (with("1700000001", &signature), Mismatch),
        (with("01700000000", &signature), Mismatch),
    ] {
        assert_eq!(verifier.verify(&given, b"body", NOW), Err(expected), "{given:?}");
    }
    for (now, expected) in [
        (NOW + 300, None),
        (NOW + 301, Some(SignatureError::TooOld)),
        (NOW - 300, None),
        (NOW - 301, Some(SignatureError::InFuture)),
    ] {
        assert_eq!(verifier.verify(&good, b"body", now).err(), expected, "{now}");
    }
    assert_eq!(
        verifier.verify(&with(&stamp, &flipped), b"body", NOW + 9999),
        Err(Mismatch),
        "freshness cannot be probed without the secret"
    );
}

#[test]
fn secrets_rotate_and_the_verdict_says_which_one_matched() {
    let verifier =
        verifier("eventflow", vec![key("new", "n", None), key("old", "o", Some(NOW)), key("gone", "g", Some(NOW - 1))]);
    let verdict =
        |index| verifier.verify(&signed(&verifier, NOW, b"b", index), b"b", NOW).map(|verdict| verdict.secret_id.to_owned());
    assert_eq!(verdict(0), Ok("new".to_owned()));
    assert_eq!(verdict(1), Ok("old".to_owned()));
    assert_eq!(verdict(2), Err(SignatureError::SecretExpired));
}

#[test]
fn what_cannot_work_is_refused_at_start_and_secrets_never_show() {
    let refuse = |preset: &str, secret: &str| {
        Verifier::new(Scheme::preset(preset).unwrap(), vec![key("k", secret, None)], None).map(|_| ()).unwrap_err().0
    };
    assert!(refuse("eventflow", "").contains("empty"));
    assert!(refuse("standard-webhooks", "whsec_").contains("empty"));
    assert!(!refuse("standard-webhooks", "whsec_topsecret!!").contains("topsecret"));
    assert!(Verifier::new(Scheme::preset("github").unwrap(), vec![], None).is_err());
    let mut scheme = Scheme::preset("eventflow").unwrap();
    scheme.template = "{timestamp}.{bodies}".to_owned();
    assert!(Verifier::new(scheme.clone(), vec![key("k", "s", None)], None).unwrap_err().0.contains("{bodies}"));
    scheme.template = "{body}".to_owned();
    assert!(Verifier::new(scheme, vec![key("k", "s", None)], None).unwrap_err().0.contains("freshness"));
    let shown = format!(
        "{:?} {:?} {}",
        verifier("eventflow", vec![key("k", "topsecret", None)]),
        key("k", "topsecret", None),
        Secret::new("topsecret")
    );
    assert!(!shown.contains("topsecret"), "{shown}");
    assert!(Secret::new("abc").ct_eq(b"abc") && !Secret::new("abc").ct_eq(b"abd") && !Secret::new("abc").ct_eq(b"ab"));
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else_does(body in proptest::collection::vec(any::<u8>(), 0..200), secret in "[ -~]{1,64}", at in 0_i64..4_000_000_000, bit in 0_usize..4096) {
        let verifier = verifier("eventflow", vec![key("k", &secret, None)]);
        let given = signed(&verifier, at, &body, 0);
        prop_assert!(verifier.verify(&given, &body, at).is_ok());
        let mut other = body.clone();
        if other.is_empty() { other.push(0) } else { let place = bit % (other.len() * 8); other[place / 8] ^= 1 << (place % 8); }
        prop_assert_eq!(verifier.verify(&given, &other, at), Err(SignatureError::Mismatch));
        prop_assert_eq!(verifier.verify(&{ let mut later = given; later.insert("x-provider-timestamp", HeaderValue::from(at + 1)); later }, &body, at), Err(SignatureError::Mismatch));
    }

    #[test]
    fn any_headers_get_an_answer(signature in proptest::collection::vec(0x20_u8..=0xff, 0..120), stamp in proptest::collection::vec(0x20_u8..=0xff, 0..20)) {
        for preset in ["eventflow", "standard-webhooks", "github"] {
            let verifier = verifier(preset, vec![key("k", "d2hhdCBhIHNlY3JldA==", None)]);
            let mut given = HeaderMap::new();
            for name in verifier.signature_headers() {
                let bytes = if name.contains("signature") { &signature } else { &stamp };
                if let Ok(value) = HeaderValue::from_bytes(bytes) {
                    given.insert(name.parse::<HeaderName>().unwrap(), value);
                }
            }
            prop_assert!(verifier.verify(&given, b"body", NOW).is_err());
        }
    }
}
