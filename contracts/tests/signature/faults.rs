//! Requests that are not authentic, or no longer.

use crate::common::{NOW, custom, headers, key, signed, verifier};
use contracts::webhook::signature::{SignatureError, SignedRequest, Verifier};
use http::HeaderValue;

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
            verifier.verify(&SignedRequest::post(&given, b"body"), NOW),
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
            verifier
                .verify(&SignedRequest::post(&good, b"body"), now)
                .err(),
            expected,
            "{now}"
        );
    }
    assert_eq!(
        verifier.verify(
            &SignedRequest::post(&with(&stamp, &flipped), b"body"),
            NOW + 9999
        ),
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
            .verify(
                &SignedRequest::post(&signed(&verifier, NOW, b"b", index), b"b"),
                NOW,
            )
            .map(|verdict| verdict.secret_id.to_owned())
    };
    assert_eq!(verdict(0), Ok("new".to_owned()));
    assert_eq!(verdict(1), Ok("old".to_owned()));
    assert_eq!(verdict(2), Err(SignatureError::SecretExpired));
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
            verifier
                .verify(&SignedRequest::post(&given, b"b"), NOW)
                .err(),
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
            verifier.verify(&SignedRequest::post(&twice, b"b"), NOW),
            Err(SignatureError::DuplicateHeader),
            "{name}"
        );
        let mut without = good.clone();
        without.remove(name);
        assert_eq!(
            verifier.verify(&SignedRequest::post(&without, b"b"), NOW),
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
        stripe.verify(&SignedRequest::post(&twice, b"b"), NOW),
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
        verifier.verify(&SignedRequest::post(&given, b"rest"), NOW),
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
