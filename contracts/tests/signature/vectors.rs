//! Published vectors, and schemes as vendors have them.

use crate::common::{NOW, custom, headers, key, signed, verifier};
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{SignatureError, SignedRequest, Verifier};

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
            .verify(&SignedRequest::post(&given, body), 1_614_265_330)
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
            .verify(&SignedRequest::post(&given, b"Hello, World!"), NOW)
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
    assert!(
        verifier
            .verify(&SignedRequest::post(&given, b"{}"), NOW)
            .is_ok()
    );
    assert_eq!(
        verifier.verify(&SignedRequest::post(&given, b"{}"), NOW - 61),
        Err(SignatureError::InFuture)
    );
    let without = headers(&[("stripe-signature", &format!("v1={}", "0".repeat(64)))]);
    assert_eq!(
        verifier.verify(&SignedRequest::post(&without, b"{}"), NOW),
        Err(SignatureError::MissingHeader)
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
            assert!(
                verifier
                    .verify(&SignedRequest::post(&given, body), NOW)
                    .is_ok()
            );
            if encoding == "hex" {
                assert_eq!(given["x-signature"], expected);
                let capitals = headers(&[("x-signature", &expected.to_uppercase())]);
                assert_eq!(
                    verifier.precheck(&capitals).map(drop),
                    Err(SignatureError::MalformedHeader),
                    "one digest has one spelling"
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
    assert!(
        at("https://a.example/x")
            .verify(&SignedRequest::post(&given, b"b"), NOW)
            .is_ok()
    );
    assert_eq!(
        at("https://a.example/y").verify(&SignedRequest::post(&given, b"b"), NOW),
        Err(SignatureError::Mismatch)
    );
}
