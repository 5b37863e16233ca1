//! The sources file: what it means, and that a bad one is refused by source and field, without showing a secret.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::signature::SignatureError;
use contracts::webhook::source::{Source, Sources};
use http::{HeaderMap, HeaderName, HeaderValue};

const NOW: i64 = 1_700_000_000;

fn resolve(reference: &str) -> Result<Secret, String> {
    match reference {
        "env:S" => Ok(Secret::new("s")),
        "env:OLD" => Ok(Secret::new("old")),
        "env:HEX" => Ok(Secret::new("not hex")),
        "env:EMPTY" => Ok(Secret::new("")),
        "env:T" => Err("environment variable T is not set".to_owned()),
        _ => Err("a secret is named by env:NAME or file:/path".to_owned()),
    }
}

fn refused(text: &str) -> String {
    Sources::from_toml(text, &resolve)
        .map(drop)
        .unwrap_err()
        .to_string()
}

/// An entry that works but for what is added.
fn github(more: &str) -> String {
    format!(
        "[[source]]\nname = \"acme\"\nscheme = \"github\"\nsecrets = [{{ id = \"a\", from = \"env:S\" }}]\n{more}"
    )
}

fn signed(source: &Source, at: i64, body: &[u8], key: usize) -> HeaderMap {
    let headers = source.verifier.sign(Some("m1"), at, body, key).into_iter();
    headers
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_built_in_source_is_the_originals() {
    let sources = Sources::builtin(&Secret::new("s"));
    let source = sources.get("payment-authorized").unwrap();
    assert_eq!(
        (sources.iter().count(), source.scheme_name.as_str()),
        (1, "eventflow")
    );
    assert_eq!(
        (
            source.body_limit_bytes,
            source.batch_limit_bytes,
            source.quota_per_second
        ),
        (262_144, 4 << 20, None)
    );
    assert_eq!(
        source.verifier.signature_headers().collect::<Vec<_>>(),
        ["x-provider-timestamp", "x-provider-signature"]
    );
    let body = br#"{"event_id":"e1","payload":{"payment_id":"p1"}}"#;
    // printf '1700000000.<body>' | openssl dgst -sha256 -hmac s
    let given: HeaderMap = [
        ("X-Provider-Timestamp", "1700000000"),
        (
            "X-Provider-Signature",
            "43e8f4c46ef7e02a916afcb0ae52ccef19fafb12bda57406a039dde8271653fc",
        ),
    ]
    .map(|(name, value)| {
        (
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_static(value),
        )
    })
    .into_iter()
    .collect();
    assert_eq!(
        source
            .verifier
            .verify(&given, body, NOW + 300)
            .unwrap()
            .secret_id,
        "default"
    );
    assert_eq!(
        source.verifier.verify(&given, body, NOW + 301),
        Err(SignatureError::TooOld)
    );
    assert_eq!(source.event_id.find(&given, body).as_deref(), Some("e1"));
    assert_eq!(source.entity_key.find(&given, body).as_deref(), Some("p1"));
}

#[test]
fn every_field_is_taken() {
    let text = r#"
        [[source]]
        name = "acme"
        scheme = "standard-webhooks"
        tolerance_seconds = 60
        secrets = [
          { id = "new", from = "file:/new" },
          { id = "text", from = "file:/old", not_after = "2023-11-14T22:13:20Z" },
          { id = "toml", from = "file:/older", not_after = 2023-11-14T22:13:19Z },
        ]
        event_id = ["header:Webhook-Id", "/id"]
        entity_key = "/data/customer"
        body_limit_bytes = 900_000
        batch_limit_bytes = 5_000_000
        quota_per_second = 7

        [[source]]
        name = "square-like"
        public_url = "https://example.com/hooks"
        secrets = [{ id = "a", from = "env:S" }]
        batch_limit_bytes = 10
        [source.scheme]
        signature_header = "X-Square"
        algorithm = "hmac-sha512"
        encoding = "base64"
        template = "{url}{body}"
    "#;
    let keys = |reference: &str| match reference {
        "file:/new" => Ok(Secret::new("whsec_bmV3")),
        "file:/old" => Ok(Secret::new("b2xk")),
        "file:/older" => Ok(Secret::new("b2xkZXI=")),
        other => resolve(other),
    };
    let sources = Sources::from_toml(text, &keys).unwrap();
    let acme = sources.get("acme").unwrap();
    assert_eq!(acme.body_limit_bytes, 900_000);
    assert_eq!(acme.batch_limit_bytes, 5_000_000);
    assert_eq!(acme.quota_per_second, Some(7));
    let verdict = |key: usize, now: i64| {
        acme.verifier
            .verify(&signed(acme, NOW, b"{}", key), b"{}", now)
            .map(|verdict| verdict.secret_id.to_owned())
    };
    assert_eq!(verdict(0, NOW), Ok("new".to_owned()));
    assert_eq!(verdict(0, NOW + 61), Err(SignatureError::TooOld));
    assert_eq!(
        verdict(1, NOW),
        Ok("text".to_owned()),
        "1700000000 is 2023-11-14T22:13:20Z"
    );
    assert_eq!(verdict(1, NOW + 1), Err(SignatureError::SecretExpired));
    assert_eq!(verdict(2, NOW), Err(SignatureError::SecretExpired));
    let headers = signed(acme, NOW, b"{}", 0);
    assert_eq!(
        acme.event_id.find(&headers, br#"{"id":"body"}"#).as_deref(),
        Some("m1")
    );
    assert_eq!(
        acme.event_id
            .find(&HeaderMap::new(), br#"{"id":"body"}"#)
            .as_deref(),
        Some("body")
    );
    let square = sources.get("square-like").unwrap();
    assert_eq!(
        (square.scheme_name.as_str(), square.batch_limit_bytes),
        ("custom", 10)
    );
    assert!(
        square
            .verifier
            .verify(&signed(square, NOW, b"{}", 0), b"{}", 0)
            .is_ok()
    );
    assert!(square.event_id.find(&HeaderMap::new(), b"{}").is_none());
    assert!(sources.get("nobody").is_none());
}

#[test]
fn a_bad_file_names_the_source_and_the_field() {
    let source = "source \"acme\": ";
    for (text, expected) in [
        (String::new(), vec!["there is no source", "[[source]]"]),
        ("source = []".to_owned(), vec!["there is no source"]),
        ("[source]\nname = \"a\"".to_owned(), vec!["[[source]]"]),
        ("source = [1]".to_owned(), vec!["source number 1", "[[source]]"]),
        (format!("sources = 1\n{}", github("")), vec!["unknown field \"sources\""]),
        ("[[source]]\nname = ".to_owned(), vec!["line 2"]),
        ("[[source]]\nscheme = \"github\"".to_owned(), vec!["source number 1: name: is missing"]),
        ("[[source]]\nname = \"Acme\"".to_owned(), vec!["source \"Acme\": name: only lower-case"]),
        (format!("{}\n{}", github(""), github("")), vec![source, "name: another source has it"]),
        (github("typo = 1"), vec![source, "unknown field \"typo\"", "quota_per_second"]),
        (github("tolerance_seconds = 5"), vec![source, "tolerance_seconds: this scheme has no freshness rule"]),
        (github("quota_per_second = 0"), vec![source, "quota_per_second: must be at least 1"]),
        (github("quota_per_second = -1"), vec![source, "quota_per_second: ", "-1"]),
        (github("body_limit_bytes = 900_001"), vec![source, "body_limit_bytes: ", "900000"]),
        (github("body_limit_bytes = \"1 MB\""), vec![source, "body_limit_bytes: "]),
        (github("batch_limit_bytes = 0"), vec![source, "batch_limit_bytes: must be at least 1"]),
        (github("event_id = \"event_id\""), vec![source, "event_id: \"event_id\" is neither a JSON pointer"]),
        (github("entity_key = [\"/a\", \"header:a b\"]"), vec![source, "entity_key: \"a b\" is not a header name"]),
        (github("entity_key = 1"), vec![source, "entity_key: "]),
        (
            github("").replace("\"github\"", "\"nope\""),
            vec![source, "scheme: \"nope\" is unknown; presets are eventflow, standard-webhooks, github"],
        ),
        (github("").replace("scheme = \"github\"", ""), vec![source, "scheme: is missing"]),
        (github("").replace("\"github\"", "{ template = \"{body}\" }"), vec![source, "scheme: ", "signature_header"]),
        (
            github("").replace("\"github\"", "{ signature_header = \"x\", template = \"{body}\", algorithm = \"md5\" }"),
            vec![source, "scheme: ", "md5", "hmac-sha256", "algorithm"],
        ),
        (
            github("").replace("\"github\"", "{ signature_header = \"x\", template = \"{body}\", tolerance = 1 }"),
            vec![source, "scheme: ", "unknown field `tolerance`"],
        ),
        (
            github("")
                .replace("\"github\"", "{ signature_header = \"x\", template = \"{body}\", key = { encoding = \"hex\" } }")
                .replace("env:S", "env:HEX"),
            vec![source, "secret \"a\" is not encoded as the scheme says"],
        ),
        (
            github("").replace("\"github\"", "{ signature_header = \"x\", template = \"{url}{body}\" }"),
            vec![source, "public_url"],
        ),
        (github("").replace("env:S", "env:T"), vec![source, "secrets: \"a\": environment variable T is not set"]),
        (github("").replace("env:S", "env:EMPTY"), vec![source, "secret \"a\" is empty"]),
        (github("").replace("{ id = \"a\", from = \"env:S\" }", ""), vec![source, "secrets: ", "at least one"]),
        (github("").replace("id = \"a\",", ""), vec![source, "secrets: a list of"]),
        (github("").replace("id = \"a\"", "id = \" \""), vec![source, "secrets: ", "blank"]),
        (github("").replace(" }]", " }, { id = \"a\", from = \"env:OLD\" }]"), vec![source, "secrets: \"a\": ", "unique"]),
        (github("").replace(" }]", ", not_after = \"2030-01-01\" }]"), vec![source, "secrets: \"a\": not_after: "]),
        (github("").replace(" }]", ", not_after = 2030-01-01T00:00:00 }]"), vec![source, "secrets: \"a\": not_after: "]),
        (github("").replace(" }]", ", until = 1 }]"), vec![source, "secrets: \"a\": unknown field \"until\""]),
    ] {
        let problem = refused(&text);
        for part in expected {
            assert!(problem.contains(part), "{problem:?} does not say {part:?} of:\n{text}");
        }
        assert!(!problem.contains('\n'), "one line for a log: {problem:?}");
    }
}

#[test]
fn a_secret_where_its_reference_belongs_is_not_shown() {
    let secret = "whsec_topsecret";
    let entry = |secrets: &str| github("").replace("[{ id = \"a\", from = \"env:S\" }]", secrets);
    for secrets in [
        format!("\"{secret}\""),
        format!("[\"{secret}\"]"),
        secret.to_owned(),
        format!("[{{ id = \"a\", from = \"{secret}\" }}]"),
        format!("[{{ id = \"a\", from = {secret} }}]"),
        format!("[{{ id = \"a\", from = \"{secret} }}]"),
        format!("[{{ id = \"a\", from = [\"{secret}\"] }}]"),
        format!("[{{ id = \"a\", secret = \"{secret}\" }}]"),
        format!("[{{ id = \"a\", from = \"env:S\", value = \"{secret}\" }}]"),
        format!("[{{ id = \"a\", from = \"env:S\", not_after = \"{secret}\" }}]"),
        format!("[{{ id = \"a\", from = \"env:S\" }}]\nsecret = \"{secret}\""),
        format!("[{{ id = \"a\", from = \"env:S\" }}]\nsecrets = \"{secret}\""),
    ] {
        let problem = refused(&entry(&secrets));
        assert!(!problem.contains("topsecret"), "{problem}");
    }
    let sources = Sources::builtin(&Secret::new("topsecret"));
    assert!(!format!("{sources:?}").contains("topsecret"));
}
