//! Fixed vectors, one row an error, rotation, and what is refused at start.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, SignatureError, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};

const NOW: i64 = 1_700_000_000;

fn key(id: &str, secret: &str, not_after: Option<i64>) -> Key {
    Key {
        id: id.to_owned(),
        secret: Secret::new(secret),
        not_after,
    }
}

fn verifier(preset: &str, keys: Vec<Key>) -> Verifier {
    Verifier::new(Scheme::preset(preset).unwrap(), keys, None).unwrap()
}

/// A scheme of the signature header `x-signature` and these fields.
fn custom(mut fields: serde_json::Value) -> Scheme {
    fields["signature_header"] = "X-Signature".into();
    serde_json::from_value(fields).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
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

fn signed(verifier: &Verifier, at: i64, body: &[u8], key: usize) -> HeaderMap {
    let pairs = verifier.sign(Some("msg_1"), at, body, key);
    headers(
        &pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn standard_webhooks_vector() {
    let verifier = verifier(
        "standard-webhooks",
        vec![key("k", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", None)],
    );
    let given = headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1a,unknown v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ]);
    let body = br#"{"test": 2432232314}"#;
    assert_eq!(
        verifier
            .verify(&given, body, 1_614_265_330)
            .unwrap()
            .secret_id,
        "k"
    );
    let ours = verifier.sign(Some("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1_614_265_330, body, 0);
    assert_eq!(
        ours.last().unwrap().1,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn github_vector() {
    let verifier = verifier("github", vec![key("k", "It's a Secret to Everybody", None)]);
    let given = headers(&[
        ("x-github-delivery", "d1"),
        (
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
    ]);
    assert_eq!(
        verifier
            .verify(&given, b"Hello, World!", NOW)
            .unwrap()
            .id
            .as_deref(),
        Some("d1")
    );
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
    assert!(
        given["stripe-signature"]
            .to_str()
            .unwrap()
            .starts_with(&format!("t={NOW},v1="))
    );
    assert!(verifier.verify(&given, b"{}", NOW).is_ok());
    assert_eq!(
        verifier.verify(&given, b"{}", NOW - 61),
        Err(SignatureError::InFuture)
    );
    let without = headers(&[("stripe-signature", &format!("v1={}", "0".repeat(64)))]);
    assert_eq!(
        verifier.verify(&without, b"{}", NOW),
        Err(SignatureError::MissingHeader)
    );
}

#[test]
fn every_fault_has_its_own_error() {
    let verifier = verifier("eventflow", vec![key("k", "s", None)]);
    let good = signed(&verifier, NOW, b"body", 0);
    let signature = good["x-provider-signature"].to_str().unwrap().to_owned();
    let stamp = NOW.to_string();
    let with = |stamp: &str, signature: &str| {
        headers(&[
            ("x-provider-timestamp", stamp),
            ("x-provider-signature", signature),
        ])
    };
    let mut twice = with(&stamp, &signature);
    twice.append(
        "x-provider-signature",
        HeaderValue::from_str(&signature).unwrap(),
    );
    let flipped = format!(
        "{}{}",
        if signature.starts_with('0') { '1' } else { '0' },
        &signature[1..]
    );
    use SignatureError::{DuplicateHeader, MalformedHeader, Mismatch, MissingHeader};
    for (given, expected) in [
        (headers(&[("x-provider-timestamp", &stamp)]), MissingHeader),
        (
            headers(&[("x-provider-signature", &signature)]),
            MissingHeader,
        ),
        (twice, DuplicateHeader),
        (with(&stamp, ""), MalformedHeader),
        (with(&stamp, &signature[..62]), MalformedHeader),
        (with(&stamp, &format!("{signature}00")), MalformedHeader),
        (
            with(&stamp, &format!("zz{}", &signature[2..])),
            MalformedHeader,
        ),
        (with("", &signature), MalformedHeader),
        (with("17e8", &signature), MalformedHeader),
        (with(" 1700000000", &signature), MalformedHeader),
        (with("99999999999999999999", &signature), MalformedHeader),
        (with(&stamp, &flipped), Mismatch),
        (with("1700000001", &signature), Mismatch),
        (with("01700000000", &signature), Mismatch),
    ] {
        assert_eq!(
            verifier.verify(&given, b"body", NOW),
            Err(expected),
            "{given:?}"
        );
    }
    for (now, expected) in [
        (NOW + 300, None),
        (NOW + 301, Some(SignatureError::TooOld)),
        (NOW - 300, None),
        (NOW - 301, Some(SignatureError::InFuture)),
    ] {
        assert_eq!(
            verifier.verify(&good, b"body", now).err(),
            expected,
            "{now}"
        );
    }
    assert_eq!(
        verifier.verify(&with(&stamp, &flipped), b"body", NOW + 9999),
        Err(Mismatch),
        "freshness cannot be probed without the secret"
    );
}

#[test]
fn secrets_rotate_and_the_verdict_says_which_one_matched() {
    let verifier = verifier(
        "eventflow",
        vec![
            key("new", "n", None),
            key("old", "o", Some(NOW)),
            key("gone", "g", Some(NOW - 1)),
        ],
    );
    let verdict = |index| {
        verifier
            .verify(&signed(&verifier, NOW, b"b", index), b"b", NOW)
            .map(|verdict| verdict.secret_id.to_owned())
    };
    assert_eq!(verdict(0), Ok("new".to_owned()));
    assert_eq!(verdict(1), Ok("old".to_owned()));
    assert_eq!(verdict(2), Err(SignatureError::SecretExpired));
}

#[test]
fn what_cannot_work_is_refused_at_start_and_secrets_never_show() {
    let refuse = |preset: &str, secret: &str| {
        Verifier::new(
            Scheme::preset(preset).unwrap(),
            vec![key("k", secret, None)],
            None,
        )
        .map(|_| ())
        .unwrap_err()
        .0
    };
    assert!(refuse("eventflow", "").contains("empty"));
    assert!(refuse("standard-webhooks", "whsec_").contains("empty"));
    assert!(!refuse("standard-webhooks", "whsec_topsecret!!").contains("topsecret"));
    assert!(Verifier::new(Scheme::preset("github").unwrap(), vec![], None).is_err());
    let mut scheme = Scheme::preset("eventflow").unwrap();
    scheme.template = "{timestamp}.{bodies}".to_owned();
    assert!(
        Verifier::new(scheme.clone(), vec![key("k", "s", None)], None)
            .unwrap_err()
            .0
            .contains("{bodies}")
    );
    scheme.template = "{body}".to_owned();
    assert!(
        Verifier::new(scheme, vec![key("k", "s", None)], None)
            .unwrap_err()
            .0
            .contains("freshness")
    );
    let shown = format!(
        "{:?} {:?} {}",
        verifier("eventflow", vec![key("k", "topsecret", None)]),
        key("k", "topsecret", None),
        Secret::new("topsecret")
    );
    assert!(!shown.contains("topsecret"), "{shown}");
    assert!(
        Secret::new("abc").ct_eq(b"abc")
            && !Secret::new("abc").ct_eq(b"abd")
            && !Secret::new("abc").ct_eq(b"ab")
    );
}

#[test]
fn every_algorithm_and_key_encoding_has_a_published_vector() {
    // RFC 4231 and RFC 2202, test case 1
    let body = b"Hi There";
    let secret = "0b".repeat(20);
    for (algorithm, expected) in [
        (
            "hmac-sha256",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "hmac-sha512",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        ("hmac-sha1", "b617318655057264e28bc0b6fb378c8ef146be00"),
    ] {
        for encoding in ["hex", "base64"] {
            let scheme = custom(
                serde_json::json!({"template": "{body}", "algorithm": algorithm, "encoding": encoding, "key": {"encoding": "hex"}}),
            );
            let verifier = Verifier::new(scheme, vec![key("k", &secret, None)], None).unwrap();
            let given = signed(&verifier, NOW, body, 0);
            assert!(verifier.verify(&given, body, NOW).is_ok());
            if encoding == "hex" {
                assert_eq!(given["x-signature"], expected);
                assert!(
                    verifier
                        .verify(
                            &headers(&[("x-signature", &expected.to_uppercase())]),
                            body,
                            NOW
                        )
                        .is_ok()
                );
            }
            let text = given["x-signature"].to_str().unwrap();
            for length in 0..text.len() {
                let cut = headers(&[("x-signature", &text[..length])]);
                assert_eq!(
                    verifier.precheck(&cut).map(drop),
                    Err(SignatureError::MalformedHeader),
                    "{algorithm} {encoding} {length}"
                );
            }
        }
    }
    let raw = custom(serde_json::json!({"template": "{body}"}));
    let raw = Verifier::new(raw, vec![key("k", "Jefe", None)], None).unwrap();
    assert_eq!(
        raw.sign(None, NOW, b"what do ya want for nothing?", 0)[0].1,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn the_configured_url_is_signed() {
    let scheme = custom(serde_json::json!({"template": "{url}|{body}"}));
    let at = |url: &str| {
        Verifier::new(
            scheme.clone(),
            vec![key("k", "s", None)],
            Some(url.to_owned()),
        )
        .unwrap()
    };
    let given = signed(&at("https://a.example/x"), NOW, b"b", 0);
    assert!(at("https://a.example/x").verify(&given, b"b", NOW).is_ok());
    assert_eq!(
        at("https://a.example/y").verify(&given, b"b", NOW),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn of_several_signatures_one_must_match() {
    let verifier = verifier(
        "standard-webhooks",
        vec![key("k", "d2hhdCBhIHNlY3JldA==", None)],
    );
    let good = signed(&verifier, NOW, b"b", 0);
    let mine = good["webhook-signature"].to_str().unwrap().to_owned();
    let other = format!("v1,{}=", "A".repeat(43));
    use SignatureError::{MalformedHeader, Mismatch};
    for (signatures, expected) in [
        (format!("{other} {mine}"), None),
        (format!("{mine} {other}"), None),
        (format!("  {mine}   v2,whatever "), None),
        (vec![mine.as_str(); 16].join(" "), None),
        (vec![mine.as_str(); 17].join(" "), Some(MalformedHeader)),
        (format!("{mine} v1,"), Some(MalformedHeader)),
        (other, Some(Mismatch)),
        ("v1,".to_owned(), Some(MalformedHeader)),
        ("v1a,abc".to_owned(), Some(MalformedHeader)),
        (String::new(), Some(MalformedHeader)),
        (mine.replace("v1,", ""), Some(MalformedHeader)),
        (mine.replace(' ', ","), None),
    ] {
        let mut given = good.clone();
        given.insert(
            "webhook-signature",
            HeaderValue::from_str(&signatures).unwrap(),
        );
        assert_eq!(
            verifier.verify(&given, b"b", NOW).err(),
            expected,
            "{signatures:?}"
        );
    }
}

#[test]
fn any_signature_header_twice_is_refused_even_when_both_are_equal() {
    let verifier = verifier(
        "standard-webhooks",
        vec![key("k", "d2hhdCBhIHNlY3JldA==", None)],
    );
    let good = signed(&verifier, NOW, b"b", 0);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut twice = good.clone();
        twice.append(name, good[name].clone());
        assert_eq!(
            verifier.verify(&twice, b"b", NOW),
            Err(SignatureError::DuplicateHeader),
            "{name}"
        );
        let mut without = good.clone();
        without.remove(name);
        assert_eq!(
            verifier.verify(&without, b"b", NOW),
            Err(SignatureError::MissingHeader),
            "{name}"
        );
    }
    let stripe = custom(
        serde_json::json!({"template": "{timestamp}.{body}", "prefix": "v1=", "separator": ",", "timestamp_prefix": "t="}),
    );
    let stripe = Verifier::new(stripe, vec![key("k", "s", None)], None).unwrap();
    let signature = signed(&stripe, NOW, b"b", 0)["x-signature"]
        .to_str()
        .unwrap()
        .to_owned();
    let twice = headers(&[("x-signature", &format!("t={NOW},{signature}"))]);
    assert_eq!(
        stripe.verify(&twice, b"b", NOW),
        Err(SignatureError::DuplicateHeader)
    );
}

#[test]
fn an_id_cannot_move_the_border_to_what_is_next_to_it() {
    let verifier = verifier(
        "standard-webhooks",
        vec![key("k", "d2hhdCBhIHNlY3JldA==", None)],
    );
    // Signed: "m" "." NOW "." "170.rest"; presented: id "m.NOW", timestamp "170", body "rest". The same bytes are signed.
    let mut given = signed(&verifier, NOW, b"1700000001.rest", 0);
    given.insert(
        "webhook-id",
        HeaderValue::from_str(&format!("msg_1.{NOW}")).unwrap(),
    );
    given.insert("webhook-timestamp", HeaderValue::from_static("1700000001"));
    assert_eq!(
        verifier.verify(&given, b"rest", NOW),
        Err(SignatureError::MalformedHeader)
    );
    for id in ["", &"x".repeat(257)] {
        given.insert("webhook-id", HeaderValue::from_str(id).unwrap());
        assert_eq!(
            verifier.precheck(&given).map(drop),
            Err(SignatureError::MalformedHeader)
        );
    }
}

#[test]
fn a_scheme_that_contradicts_itself_is_refused_at_start() {
    for (fields, says) in [
        (
            serde_json::json!({"template": "{body}{body}"}),
            "exactly once",
        ),
        (serde_json::json!({"template": "{body"}), "without }"),
        (
            serde_json::json!({"template": "{timestamp}{body}"}),
            "timestamp_header",
        ),
        (serde_json::json!({"template": "{id}{body}"}), "id_header"),
        (serde_json::json!({"template": "{url}{body}"}), "public_url"),
        (
            serde_json::json!({"template": "{body}", "timestamp_prefix": "t="}),
            "separator",
        ),
        (
            serde_json::json!({"template": "{body}", "timestamp_header": "a b"}),
            "header name",
        ),
        (
            serde_json::json!({"template": "{body}", "timestamp_header": "x-t", "timestamp_prefix": "t=", "separator": ","}),
            "one place",
        ),
        (
            serde_json::json!({"template": "{body}", "id_header": "x-signature"}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{body}", "prefix": "v1,", "separator": ","}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{body}", "encoding": "base64", "separator": "="}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{timestamp}{body}", "prefix": "t=v1=", "separator": ",", "timestamp_prefix": "t="}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{timestamp}{body}", "separator": ",", "timestamp_prefix": ""}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{body}", "prefix": "v1\n"}),
            "read back",
        ),
    ] {
        let problem = Verifier::new(custom(fields.clone()), vec![key("k", "s", None)], None)
            .map(drop)
            .unwrap_err()
            .0;
        assert!(problem.contains(says), "{fields}: {problem}");
    }
}

#[test]
fn every_error_has_its_code_and_its_answer() {
    use SignatureError::{
        DuplicateHeader, InFuture, MalformedHeader, Mismatch, MissingHeader, SecretExpired, TooOld,
    };
    for (error, code, malformed) in [
        (MissingHeader, "missing_signature_header", true),
        (DuplicateHeader, "duplicate_signature_header", true),
        (MalformedHeader, "malformed_signature_header", true),
        (Mismatch, "signature_mismatch", false),
        (TooOld, "timestamp_too_old", false),
        (InFuture, "timestamp_in_future", false),
        (SecretExpired, "secret_expired", false),
    ] {
        assert_eq!((error.code(), error.is_malformed()), (code, malformed));
    }
}
