//! Every known mistake, made on requests as vendors send them, is named; a genuine request and a stranger's are not taken for one.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::diagnose::{Diagnosis, Evidence, Mistake, Verdict, diagnose};
use contracts::webhook::scheme::{Algorithm, Scheme};
use contracts::webhook::signature::{Key, SignedRequest, Verifier};
use contracts::webhook::source::Sources;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000;
const VENDORS: [&str; 5] = ["stripe", "github", "shopify", "standard-webhooks", "slack"];
const BODY: &str = "{\"id\": \"evt_1\", \"type\": \"order.paid\", \"data\": {\"url\": \"https://shop.example/ä\", \"total\": 49.90, \"tags\": []}}";

/// Of each vendor its own; `whsec_` with base64 where the scheme decodes it.
fn secret(vendor: &str) -> &'static str {
    match vendor {
        "standard-webhooks" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "other" => "secret-of-the-other-source",
        _ => "secret-of-this-source",
    }
}

fn sources() -> Sources {
    let mut text = String::new();
    for vendor in VENDORS {
        text += &format!(
            "[[source]]\nname = \"{vendor}\"\nscheme = \"{vendor}\"\nsecrets = [{{ id = \"k-{vendor}\", from = \"{vendor}\" }}]\n"
        );
    }
    text += "[[source]]\nname = \"other\"\nscheme = \"eventflow\"\nsecrets = [{ id = \"k-other\", from = \"other\" }]\n\
             [[source]]\nname = \"square\"\nscheme = \"square\"\npublic_url = \"https://hooks.example/api/webhooks/square\"\nsecrets = [{ id = \"k-square\", from = \"square\" }]\n";
    Sources::from_toml(&text, &|from| Ok(Secret::new(secret(from)))).unwrap()
}

fn key(secret: impl Into<Vec<u8>>) -> Key {
    Key {
        id: "k".to_owned(),
        secret: Secret::new(secret.into()),
        not_after: None,
    }
}

/// What the vendor sends who signs like this.
fn signed_by(scheme: Scheme, secret: &str, at: i64, body: &[u8]) -> HeaderMap {
    signed_for(scheme, secret, at, body, None)
}

fn signed_for(scheme: Scheme, secret: &str, at: i64, body: &[u8], url: Option<&str>) -> HeaderMap {
    let verifier = Verifier::new(scheme, vec![key(secret)], url.map(str::to_owned)).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in verifier.sign(Some("msg_1"), at, body, 0) {
        headers.append(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    headers
}

fn signed(vendor: &str, body: &[u8]) -> HeaderMap {
    signed_by(scheme(vendor), secret(vendor), NOW, body)
}

fn scheme(vendor: &str) -> Scheme {
    Scheme::preset(vendor).unwrap()
}

fn asked(vendor: &str, headers: &HeaderMap, body: Option<&[u8]>) -> Diagnosis {
    let all = sources();
    let evidence = Evidence {
        method: "POST",
        query: None,
        headers,
        body,
        received_at: NOW,
    };
    diagnose(all.get(vendor).unwrap(), &all, &evidence)
}

/// The mistake is named, and it is certain.
#[track_caller]
fn is(vendor: &str, headers: &HeaderMap, body: &[u8], mistake: Mistake) -> String {
    let diagnosis = asked(vendor, headers, Some(body));
    let found = diagnosis
        .found
        .clone()
        .unwrap_or_else(|| panic!("{vendor} {mistake:?}: {diagnosis:?}"));
    assert_eq!(
        (found.mistake, found.is_certain),
        (mistake, true),
        "{vendor}: {found:?}"
    );
    let shown = format!("{diagnosis:?}");
    for secret in ["secret-of", "MfKQ9r8G"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    found.detail
}

fn signature_header(vendor: &str) -> HeaderName {
    scheme(vendor).signature_header.0[0].parse().unwrap()
}

/// Its signature, changed.
fn changed(vendor: &str, body: &[u8], change: impl Fn(&str) -> String) -> HeaderMap {
    let mut headers = signed(vendor, body);
    let name = signature_header(vendor);
    let value = change(headers[&name].to_str().unwrap());
    headers.insert(name, value.parse().unwrap());
    headers
}

#[test]
fn what_is_genuine_is_said_to_be() {
    for vendor in VENDORS {
        let diagnosis = asked(
            vendor,
            &signed(vendor, BODY.as_bytes()),
            Some(BODY.as_bytes()),
        );
        let secret_id = format!("k-{vendor}");
        assert_eq!(diagnosis.verdict, Verdict::Genuine { secret_id });
        assert_eq!(diagnosis.found, None);
    }
}

#[test]
fn a_body_that_was_written_again_is_named() {
    for vendor in VENDORS {
        for (sent, as_signed, mistake) in [
            (
                BODY,
                "{\"id\":\"evt_1\",\"type\":\"order.paid\",\"data\":{\"url\":\"https://shop.example/ä\",\"total\":49.90,\"tags\":[]}}",
                Mistake::BodyReserialized,
            ),
            (
                "{\"id\":\"evt_1\",\"type\":\"order.paid\",\"data\":{\"url\":\"https://shop.example/ä\",\"total\":49.90,\"tags\":[]}}",
                BODY,
                Mistake::BodyReserialized,
            ),
            (
                BODY,
                "{\"id\":\"evt_1\",\"type\":\"order.paid\",\"data\":{\"url\":\"https:\\/\\/shop.example\\/\\u00e4\",\"total\":49.90,\"tags\":[]}}",
                Mistake::BodyReserialized,
            ),
            (
                BODY,
                "{\"data\":{\"tags\":[],\"total\":49.9,\"url\":\"https://shop.example/ä\"},\"id\":\"evt_1\",\"type\":\"order.paid\"}",
                Mistake::BodyReserialized,
            ),
            (
                BODY,
                "{\n  \"id\": \"evt_1\",\n  \"type\": \"order.paid\",\n  \"data\": {\n    \"url\": \"https://shop.example/ä\",\n    \"total\": 49.90,\n    \"tags\": []\n  }\n}\n",
                Mistake::BodyReserialized,
            ),
            ("{}\n", "{}", Mistake::BodyLineEnds),
            ("{}", "{}\n", Mistake::BodyLineEnds),
            ("{}", "{}\r\n", Mistake::BodyLineEnds),
            ("{\r\n}\r\n", "{\n}\n", Mistake::BodyLineEnds),
            ("{\n}\n", "{\r\n}\r\n", Mistake::BodyLineEnds),
            (
                "payload=%7B%22a%22%3A1%7D",
                "{\"a\":1}",
                Mistake::BodyOfForm,
            ),
            ("\u{feff}{\"a\":1}", "{\"a\":1}", Mistake::BodyCharacters),
            ("{\"a\":\"Ã¤\"}", "{\"a\":\"ä\"}", Mistake::BodyCharacters),
            ("\"{\\\"a\\\":1}\"", "{\"a\":1}", Mistake::BodyQuoted),
            ("{\"a\":1}", "", Mistake::BodyEmpty),
        ] {
            let headers = signed(vendor, as_signed.as_bytes());
            is(vendor, &headers, sent.as_bytes(), mistake);
        }
        let latin = b"{\"a\":\"\xe4\"}";
        is(
            vendor,
            &signed(vendor, "{\"a\":\"ä\"}".as_bytes()),
            latin,
            Mistake::BodyCharacters,
        );
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, BODY.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        is(
            vendor,
            &signed(vendor, BODY.as_bytes()),
            &packed,
            Mistake::BodyCompressed,
        );
    }
}

#[test]
fn a_signature_that_is_written_wrongly_is_named() {
    let body = BODY.as_bytes();
    for vendor in VENDORS {
        let cut = changed(vendor, body, |value| value[..value.len() - 6].to_owned());
        let detail = is(vendor, &cut, body, Mistake::SignatureCutOff);
        assert!(detail.contains("characters"), "{detail}");
        let quoted = changed(vendor, body, |value| format!("\"{value}\""));
        is(vendor, &quoted, body, Mistake::SignatureCharacters);
        let mut doubled = signed(vendor, body);
        doubled.append(signature_header(vendor), "another".parse().unwrap());
        is(vendor, &doubled, body, Mistake::HeaderDoubled);
        let mut moved = signed(vendor, body);
        let value = moved.remove(signature_header(vendor)).unwrap();
        moved.insert("x-other-signature", value);
        is(vendor, &moved, body, Mistake::OtherHeader);
    }
    let capitals = changed("github", body, |value| {
        format!("sha256={}", value[7..].to_uppercase())
    });
    is("github", &capitals, body, Mistake::SignatureCharacters);
    let bare = changed("github", body, |value| value[7..].to_owned());
    is("github", &bare, body, Mistake::SignaturePrefix);
    let prefixed = changed("shopify", body, |value| format!("sha256={value}"));
    is("shopify", &prefixed, body, Mistake::SignaturePrefix);
    for (vendor, encoding) in [
        ("github", "base64"),
        ("shopify", "hex"),
        ("slack", "base64"),
    ] {
        let mut other = scheme(vendor);
        other.encoding = scheme(if encoding == "hex" {
            "github"
        } else {
            "shopify"
        })
        .encoding;
        let headers = signed_by(other, secret(vendor), NOW, body);
        is(vendor, &headers, body, Mistake::SignatureEncoding);
        let by_shape = asked(vendor, &headers, None).found.unwrap();
        assert_eq!(by_shape.mistake, Mistake::SignatureEncoding);
        assert!(!by_shape.is_certain, "nothing was computed");
    }
}

/// Whoever posts ever longer pieces must not learn whether they are right.
#[test]
fn a_short_piece_of_a_signature_is_not_judged() {
    let body = BODY.as_bytes();
    for vendor in ["github", "shopify", "slack"] {
        let prefix = scheme(vendor).prefix.len();
        for right in [true, false] {
            let cut = changed(vendor, body, |value| {
                let kept = &value[..prefix + 20];
                if right {
                    kept.to_owned()
                } else {
                    format!("{}{}", &value[..prefix], "0".repeat(20))
                }
            });
            let found = asked(vendor, &cut, Some(body)).found.unwrap();
            assert!(!found.is_certain, "{vendor} {right}: {found:?}");
        }
    }
}

#[test]
fn another_secret_is_named_by_its_id_and_never_shown() {
    let body = BODY.as_bytes();
    for vendor in ["stripe", "github", "shopify", "slack"] {
        let headers = signed_by(scheme(vendor), secret("other"), NOW, body);
        let detail = is(vendor, &headers, body, Mistake::OtherSecret);
        assert!(detail.contains("k-other"), "{detail}");
        for spoiled in [
            format!("{}\n", secret(vendor)),
            format!(" {}", secret(vendor)),
        ] {
            let headers = signed_by(scheme(vendor), &spoiled, NOW, body);
            is(vendor, &headers, body, Mistake::SecretWhiteSpace);
        }
    }
    // The usual mistake with whsec_ secrets: their text is the key.
    let mut undecoded = scheme("standard-webhooks");
    undecoded.key = scheme("github").key;
    let headers = signed_by(undecoded, secret("standard-webhooks"), NOW, body);
    is("standard-webhooks", &headers, body, Mistake::SecretDecoding);
    // A request for another source's URL.
    let headers = signed("slack", body);
    let detail = is("github", &headers, body, Mistake::OtherSecret);
    assert!(
        detail.contains("genuine request of the source \"slack\""),
        "{detail}"
    );
}

#[test]
fn a_time_that_is_wrong_is_named() {
    let body = BODY.as_bytes();
    for vendor in ["stripe", "standard-webhooks", "slack"] {
        for (skew, says) in [(-301, "301 s behind"), (4000, "4000 s ahead")] {
            let headers = signed_by(scheme(vendor), secret(vendor), NOW + skew, body);
            let detail = is(vendor, &headers, body, Mistake::ClockSkew);
            assert!(detail.contains(says), "{detail}");
        }
        let millis = signed_by(scheme(vendor), secret(vendor), NOW * 1000, body);
        is(vendor, &millis, body, Mistake::TimeUnit);
    }
}

#[test]
fn another_way_to_sign_is_named() {
    let body = BODY.as_bytes();
    let mut alone = scheme("slack");
    alone.template = "{timestamp}.{body}".to_owned();
    let headers = signed_by(alone, secret("slack"), NOW, body);
    is("slack", &headers, body, Mistake::OtherParts);
    let mut sha1 = scheme("github");
    sha1.algorithm = Algorithm::HmacSha1;
    sha1.prefix = "sha1=".to_owned();
    let headers = signed_by(sha1, secret("github"), NOW, body);
    is("github", &headers, body, Mistake::OtherAlgorithm);
    let headers = signed_by(scheme("stripe"), secret("github"), NOW, body);
    // Stripe, GitHub, Shopify and Slack have one secret here: another source's request it would be.
    let all = sources();
    let only = format!(
        "[[source]]\nname = \"github\"\nscheme = \"github\"\nsecrets = [{{ id = \"k\", from = \"{}\" }}]",
        "github"
    );
    let only = Sources::from_toml(&only, &|from| Ok(Secret::new(secret(from)))).unwrap();
    assert!(all.get("stripe").is_some());
    let evidence = Evidence {
        method: "POST",
        query: None,
        headers: &headers,
        body: Some(body),
        received_at: NOW,
    };
    let found = diagnose(only.get("github").unwrap(), &only, &evidence)
        .found
        .unwrap();
    assert_eq!(found.mistake, Mistake::OtherScheme);
    assert!(
        found.is_certain && found.detail.contains("stripe"),
        "{found:?}"
    );
    let seen = asked("github", &headers, None).found.unwrap();
    assert_eq!(
        (seen.mistake, seen.is_certain),
        (Mistake::OtherScheme, false)
    );
    let none = asked("github", &HeaderMap::new(), Some(body))
        .found
        .unwrap();
    assert_eq!(none.mistake, Mistake::HeadersMissing);
    assert!(none.detail.contains("x-hub-signature-256"), "{none:?}");
}

#[test]
fn another_url_is_named() {
    let body = BODY.as_bytes();
    for url in [
        "http://hooks.example/api/webhooks/square",
        "https://hooks.example:443/api/webhooks/square",
        "https://hooks.example/api/webhooks/square/",
    ] {
        let headers = signed_for(scheme("square"), secret("square"), NOW, body, Some(url));
        let detail = is("square", &headers, body, Mistake::UrlDiffers);
        assert!(detail.contains(url), "{detail}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a vendor signs and sends unchanged, no mistake is named; whatever a stranger signs, none is either.
    #[test]
    fn no_mistake_is_invented(body in "[ -~\\n]{1,200}", strange in "[a-z]{20,30}") {
        for vendor in VENDORS {
            let genuine = asked(vendor, &signed(vendor, body.as_bytes()), Some(body.as_bytes()));
            prop_assert!(matches!(genuine.verdict, Verdict::Genuine { .. }) && genuine.found.is_none(), "{genuine:?}");
            let secret = if vendor == "standard-webhooks" { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" } else { strange.as_str() };
            let headers = signed_by(scheme(vendor), secret, NOW, body.as_bytes());
            let forged = asked(vendor, &headers, Some(body.as_bytes()));
            prop_assert!(matches!(forged.verdict, Verdict::Refused(_)) && forged.found.is_none(), "{forged:?}");
            prop_assert!(forged.tried.len() > 8);
        }
    }
}

/// A large body costs a bounded amount of work, and says so.
#[test]
fn the_work_is_bounded() {
    let item = r#"{"b":"ä/<+>","a":1.50},"#;
    let body = format!("[{}0]", item.repeat(25_000));
    let headers = signed_by(scheme("github"), "nobody's", NOW, body.as_bytes());
    let diagnosis = asked("github", &headers, Some(body.as_bytes()));
    assert_eq!(diagnosis.found, None);
    assert!(diagnosis.is_cut_short);
    let request = SignedRequest::post(&headers, body.as_bytes());
    assert!(
        sources()
            .get("github")
            .unwrap()
            .verifier
            .verify(&request, NOW)
            .is_err()
    );
}
