//! Base64 signatures of the right length in characters that are not the one canonical text of a digest.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, SignatureError, SignedRequest, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};

const NOW: i64 = 1_700_000_000;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn verifier(algorithm: &str) -> Verifier {
    let scheme: Scheme = serde_json::from_value(serde_json::json!({
        "signature_header": "x-signature", "template": "{body}", "encoding": "base64", "algorithm": algorithm,
    }))
    .unwrap();
    Verifier::new(
        scheme,
        vec![Key {
            id: "k".to_owned(),
            secret: Secret::new("s"),
            not_after: None,
        }],
        None,
    )
    .unwrap()
}

fn with(signature: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static("x-signature"),
        HeaderValue::from_str(signature).unwrap(),
    )])
}

/// The text with the character at `place` replaced.
fn put(text: &str, place: usize, character: char) -> String {
    text.chars()
        .enumerate()
        .map(|(at, c)| if at == place { character } else { c })
        .collect()
}

/// Texts of the same number of characters that say another number of bytes, or the same bytes in another way.
fn misspelled(good: &str) -> Vec<(&'static str, String)> {
    let length = good.len();
    let padding = good.bytes().rev().take_while(|byte| *byte == b'=').count();
    let last = length - padding - 1;
    let mut cases = vec![
        ("nothing but padding", "=".repeat(length)),
        ("nothing but spaces", " ".repeat(length)),
        ("padding at the front", put(good, 0, '=')),
        ("padding in the middle", put(good, length / 2, '=')),
        (
            "padding in the middle and at the end of a group",
            put(&put(good, length / 2, '='), length / 2 + 1, '='),
        ),
        (
            "one character of padding too many: a byte too few",
            put(good, last, '='),
        ),
        (
            "two characters of padding too many",
            put(&put(good, last, '='), last - 1, '='),
        ),
        (
            "padding where a whole group was: two or more bytes too few",
            format!("{}====", &good[..length - 4]),
        ),
        (
            "no padding: a byte or two too many",
            format!("{}{}", &good[..length - padding], "A".repeat(padding)),
        ),
        ("a space inside", put(good, 5, ' ')),
        ("the URL alphabet's minus", put(good, 5, '-')),
        ("the URL alphabet's underscore", put(good, 5, '_')),
        ("not base64 at all", put(good, 5, '!')),
    ];
    // The last character before the padding has bits that belong to no byte: any but zero spell the same digest again.
    let value = ALPHABET
        .iter()
        .position(|letter| *letter == good.as_bytes()[last])
        .unwrap();
    for spare in 1..1 << (2 * padding) {
        cases.push((
            "bits set that belong to no byte",
            put(good, last, char::from(ALPHABET[value | spare])),
        ));
    }
    cases
}

#[test]
fn a_base64_signature_that_is_not_the_canonical_text_of_a_whole_digest_is_malformed() {
    for (algorithm, characters) in [("hmac-sha256", 44), ("hmac-sha1", 28), ("hmac-sha512", 88)] {
        let verifier = verifier(algorithm);
        let good = verifier.sign(None, NOW, b"body", 0).remove(0).1;
        assert_eq!(good.len(), characters);
        assert!(
            verifier
                .verify(&SignedRequest::post(&with(&good), b"body"), NOW)
                .is_ok()
        );
        for (what, signature) in misspelled(&good) {
            // A case that changes nothing would prove nothing.
            assert_ne!(signature, good, "{algorithm}: {what}");
            assert_eq!(signature.len(), characters, "{algorithm}: {what}");
            let verdict = verifier.verify(&SignedRequest::post(&with(&signature), b"body"), NOW);
            assert_eq!(
                verdict,
                Err(SignatureError::MalformedHeader),
                "{algorithm}: {what}: {signature:?}"
            );
        }
    }
}

#[test]
fn one_misspelled_signature_spoils_a_list_that_also_has_the_right_one() {
    let scheme = Scheme::preset("standard-webhooks").unwrap();
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new("d2hhdCBhIHNlY3JldA=="),
        not_after: None,
    };
    let verifier = Verifier::new(scheme, vec![key], None).unwrap();
    let signed = verifier.sign(Some("msg_1"), NOW, b"body", 0);
    let good = signed
        .last()
        .unwrap()
        .1
        .strip_prefix("v1,")
        .unwrap()
        .to_owned();
    for (what, signature) in misspelled(&good)
        .into_iter()
        .filter(|(_, text)| !text.contains(' '))
    {
        for list in [
            format!("v1,{signature} v1,{good}"),
            format!("v1,{good} v1,{signature}"),
        ] {
            let mut given: HeaderMap = signed
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            given.insert("webhook-signature", HeaderValue::from_str(&list).unwrap());
            assert_eq!(
                verifier.verify(&SignedRequest::post(&given, b"body"), NOW),
                Err(SignatureError::MalformedHeader),
                "{what}: {list:?}"
            );
        }
    }
}
