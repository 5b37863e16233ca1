//! The sources file: what it means, and that a bad one is refused by source and field, without showing a secret.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::signature::{SignatureError, SignedRequest};
use contracts::webhook::source::{DEFAULT_QUOTA_PER_SECOND, Source, Sources};
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
            .verify(&SignedRequest::post(&given, body), NOW + 300)
            .unwrap()
            .secret_id,
        "default"
    );
    assert_eq!(
        source
            .verifier
            .verify(&SignedRequest::post(&given, body), NOW + 301),
        Err(SignatureError::TooOld)
    );
    assert_eq!(source.event.id.find(&given, body).as_deref(), Some("e1"));
    assert_eq!(
        source.event.entity.find(&given, body).as_deref(),
        Some("p1")
    );
}

#[test]
fn a_source_has_a_quota_unless_it_says_that_it_has_none() {
    for (written, expected) in [
        ("", Some(DEFAULT_QUOTA_PER_SECOND)),
        ("quota_per_second = 9_000_000", Some(9_000_000)),
        ("quota_per_second = \"unlimited\"", None),
    ] {
        let sources = Sources::from_toml(&github(written), &resolve).unwrap();
        let quota = sources.get("acme").unwrap().quota_per_second;
        assert_eq!(quota, expected, "{written:?}");
    }
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
        event = { id = ["header:Webhook-Id", "/id"], entity = "/data/customer" }
        body_limit_bytes = 900_000
        quota_per_second = 7
        answer_deadline_ms = 2500

        [[source]]
        name = "square-like"
        public_url = "https://example.com/hooks"
        secrets = [{ id = "a", from = "env:S" }]
        batches = true
        batch_limit_bytes = 10
        resend_hours = 2
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
    assert!(!acme.batches, "only for a source that says so");
    assert_eq!(acme.quota_per_second, Some(7));
    let verdict = |key: usize, now: i64| {
        acme.verifier
            .verify(
                &SignedRequest::post(&signed(acme, NOW, b"{}", key), b"{}"),
                now,
            )
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
    let expired = |key: usize, now: i64| {
        let headers = signed(acme, NOW, b"{}", key);
        let verifier = &acme.verifier;
        verifier
            .expired_secret(&SignedRequest::post(&headers, b"{}"), now)
            .map(str::to_owned)
    };
    assert_eq!(expired(0, NOW), None);
    assert_eq!(expired(1, NOW), None);
    assert_eq!(expired(1, NOW + 1), Some("text".to_owned()));
    assert_eq!(expired(2, NOW), Some("toml".to_owned()));
    let headers = signed(acme, NOW, b"{}", 0);
    assert_eq!(
        acme.event.id.find(&headers, br#"{"id":"body"}"#).as_deref(),
        Some("m1")
    );
    assert_eq!(
        acme.event
            .id
            .find(&HeaderMap::new(), br#"{"id":"body"}"#)
            .as_deref(),
        Some("body")
    );
    let square = sources.get("square-like").unwrap();
    assert_eq!(
        (
            square.scheme_name.as_str(),
            square.batches,
            square.batch_limit_bytes
        ),
        ("custom", true, 10)
    );
    assert!(
        square
            .verifier
            .verify(
                &SignedRequest::post(&signed(square, NOW, b"{}", 0), b"{}"),
                0
            )
            .is_ok()
    );
    let hours = |source: &Source| {
        source
            .resend_horizon
            .map(|horizon| horizon.as_secs() / 3600)
    };
    let deadline_ms = |source: &Source| source.answer_deadline.map(|deadline| deadline.as_millis());
    assert_eq!((deadline_ms(acme), deadline_ms(square)), (Some(2500), None));
    assert_eq!((hours(acme), hours(square)), (None, Some(2)));
    let github = |more: &str| {
        let sources = Sources::from_toml(&github(more), &resolve).unwrap();
        let acme = sources.get("acme").unwrap();
        (deadline_ms(acme), hours(acme))
    };
    assert_eq!(
        github(""),
        (None, Some(72)),
        "a scheme by its name brings nothing else"
    );
    let own = github("answer_deadline_ms = 3000\nresend_hours = 0");
    assert_eq!(own, (Some(3000), None));
    assert!(square.event.id.find(&HeaderMap::new(), b"{}").is_none());
    assert!(sources.get("nobody").is_none());
}

#[test]
fn a_source_knows_what_its_signature_does_not_cover() {
    let toml = |scheme: &str, event_id: &str, entity_key: &str| {
        format!(
            "[[source]]\nname = \"acme\"\nsecrets = [{{ id = \"a\", from = \"env:HEX\" }}]\nscheme = {scheme}\nevent = {{ id = {event_id}, entity = {entity_key} }}\n"
        )
    };
    let secret = |_: &str| Ok(Secret::new("whsec_bmV3"));
    let own = "{ signature_header = \"s\", id_header = \"x-id\", timestamp_header = \"x-time\", template = \"{timestamp}{body}\" }";
    let given: HeaderMap = ["webhook-id", "x-github-delivery", "x-id", "x-key"]
        .map(|name| (name.parse().unwrap(), HeaderValue::from_static("h")))
        .into_iter()
        .collect();
    for (scheme, event_id, entity_key, body, expected) in [
        (
            "\"eventflow\"",
            "\"/id\"",
            "\"/k\"",
            r#"{"id":1,"k":2}"#,
            None,
        ),
        (
            "\"eventflow\"",
            "\"header:X-Id\"",
            "\"/k\"",
            "{}",
            Some("event_id"),
        ),
        (
            "\"standard-webhooks\"",
            "\"header:Webhook-Id\"",
            "[]",
            "{}",
            None,
        ),
        ("\"github\"", "\"/id\"", "[]", r#"{"id":1}"#, Some("time")),
        (
            "\"github\"",
            "\"header:X-GitHub-Delivery\"",
            "\"header:x-key\"",
            "{}",
            Some("event_id,entity_key,time"),
        ),
        // Kept, and not in the template.
        (own, "\"header:x-id\"", "[]", "{}", Some("event_id")),
        // The first place with an id decides; one that a header could have taken is not signed either.
        (own, "[\"/id\", \"header:x-id\"]", "[]", r#"{"id":1}"#, None),
        (
            own,
            "[\"/id\", \"header:x-id\"]",
            "[]",
            "{}",
            Some("event_id"),
        ),
        (
            own,
            "[\"header:x-none\", \"/id\"]",
            "[]",
            r#"{"id":1}"#,
            Some("event_id"),
        ),
        // None was found: nothing was written by anybody.
        (own, "\"header:x-none\"", "[]", "{}", None),
    ] {
        let text = toml(scheme, event_id, entity_key);
        let sources = Sources::from_toml(&text, &secret).unwrap();
        let source = sources.get("acme").unwrap();
        let place = |locator: &contracts::event::Locator| {
            locator
                .locate(&given, body.as_bytes())
                .map(|found| found.place)
        };
        let unsigned = source.unsigned(place(&source.event.id), place(&source.event.entity));
        assert_eq!(unsigned.as_deref(), expected, "{text}");
        let possible = source.may_be_unsigned().unwrap_or_default();
        let expected = expected.into_iter().flat_map(|names| names.split(','));
        assert!(expected.into_iter().all(|name| possible.contains(name)));
    }
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
        (github("").replace("\"acme\"", "\"ingest\""), vec!["source \"ingest\": name: ", "/api/ingest"]),
        (format!("ingest = 1\n{}", github("")), vec!["ingest: write it as a table"]),
        (github("[ingest]"), vec!["ingest: event_type: is missing"]),
        (github("[ingest]\nevent_type = \"a\"\nid = \"/b\""), vec!["ingest: unknown field \"id\"", "entity"]),
        (github("[ingest]\nevent_type = \"a\"\nentity = \"b\""), vec!["ingest: entity: \"b\" is neither"]),
        (github("typo = 1"), vec![source, "unknown field \"typo\"", "quota_per_second"]),
        (github("tolerance_seconds = 5"), vec![source, "tolerance_seconds: this scheme has no freshness rule"]),
        (github("quota_per_second = 0"), vec![source, "quota_per_second: must be at least 1"]),
        (github("quota_per_second = -1"), vec![source, "quota_per_second: ", "-1", "\"unlimited\""]),
        (github("quota_per_second = \"none\""), vec![source, "quota_per_second: ", "\"unlimited\""]),
        (github("body_limit_bytes = 900_001"), vec![source, "body_limit_bytes: ", "900000"]),
        (github("body_limit_bytes = \"1 MB\""), vec![source, "body_limit_bytes: "]),
        (github("batch_limit_bytes = 0"), vec![source, "batch_limit_bytes: must be at least 1"]),
        (github("answer_deadline_ms = 0"), vec![source, "answer_deadline_ms: must be at least 1"]),
        (github("answer_deadline_ms = 60001"), vec![source, "answer_deadline_ms: must be at most 60000"]),
        (github("resend_hours = -1"), vec![source, "resend_hours: ", "-1"]),
        (github("resend_hours = 721"), vec![source, "resend_hours: must be at most 720"]),
        (
            github("resend_hours = 1").replace("\"github\"", "\"eventflow\""),
            vec![source, "resend_hours: this scheme signs the time"],
        ),
        (github("batch_limit_bytes = 9"), vec![source, "batch_limit_bytes: ", "batches = true"]),
        (github("batches = \"yes\""), vec![source, "batches: "]),
        (
            github("batches = true\nevent = { id = [\"/id\", \"header:X-GitHub-Delivery\"] }"),
            vec![source, "batches: ", "JSON pointers"],
        ),
        (github("event = { id = \"event_id\" }"), vec![source, "event: id: \"event_id\" is neither a JSON pointer"]),
        (github("event = { id = [] }"), vec![source, "event: id: say where it is"]),
        (github("event = { entity = [\"/a\", \"header:a b\"] }"), vec![source, "event: entity: \"a b\" is not a header name"]),
        (github("event = { entity = 1 }"), vec![source, "event: entity: 1 is no place"]),
        (github("event = { key = \"/a\" }"), vec![source, "event: unknown key \"key\"", "unknown, filter"]),
        (github("event = { time = [] }"), vec![source, "event: time: ", "\"received\""]),
        (github("event = { time = { from = \"/a\", as = \"unix\" } }"), vec![source, "event: time: as: ", "unix-millis"]),
        (github("event = { payload = \"data\" }"), vec![source, "event: payload: \"data\" is no JSON pointer"]),
        (github("event = { contract = \"a.{action}\" }"), vec![source, "event: contract: ", "{type}"]),
        (github("event = { unknown = \"keep\" }"), vec![source, "event: unknown: ", "dead-letter"]),
        (github("event = { unknown = { \"a.*\" = \"store\" } }"), vec![source, "event: unknown: ", "\"*\""]),
        (github("event = { filter = \"ping\" }"), vec![source, "event: filter: ", "list"]),
        (github("event = { filter = [\"a*b\"] }"), vec![source, "event: filter: \"a*b\" is no pattern"]),
        (github("event = 1"), vec![source, "event: "]),
        (
            github("").replace("\"github\"", "\"nope\""),
            vec![source, "scheme: \"nope\" is unknown; presets are ", "eventflow", "stripe"],
        ),
        (github("").replace("scheme = \"github\"", ""), vec![source, "scheme: is missing"]),
        (github("").replace("\"github\"", "{ template = \"{body}\" }"), vec![source, "signature_header"]),
        (github("").replace("scheme = \"github\"", "preset = \"gitbub\""), vec![source, "preset: \"gitbub\" is unknown"]),
        (github("").replace("scheme = \"github\"", "preset = 1"), vec![source, "preset: write the name"]),
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

/// P9: a scheme's token is the secret itself, so no record has it, whatever a source keeps.
#[test]
fn a_token_is_never_kept() {
    for more in ["", "keep_headers = [\"*\"]"] {
        let text = format!(
            "[[source]]\nname = \"git\"\npreset = \"gitlab\"\nsecrets = [{{ id = \"k\", from = \"env:S\" }}]\n{more}"
        );
        let sources = Sources::from_toml(&text, &|_| Ok(Secret::new("the-token"))).unwrap();
        let source = sources.get("git").unwrap();
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("x-gitlab-token", "the-token"),
            ("x-gitlab-event", "Push Hook"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let kept = source.kept_headers.of(&headers);
        let names: Vec<&str> = kept.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-gitlab-event"], "{more}");
    }
}

#[test]
fn a_body_is_a_second_key_only_where_the_id_is_not_signed_and_the_body_is() {
    let horizon = |entry: &str, place: usize| {
        let text = format!(
            "[[source]]\nname = \"acme\"\nsecrets = [{{ id = \"a\", from = \"env:S\" }}]\n{entry}"
        );
        let sources = Sources::from_toml(&text, &resolve).unwrap();
        let horizon = sources.get("acme").unwrap().copy_horizon(Some(place));
        horizon.map(|horizon| horizon.as_secs() / 3600)
    };
    for (entry, place, hours) in [
        ("preset = \"github\"", 0, Some(72)),
        ("preset = \"shopify\"", 0, Some(8)),
        ("preset = \"shopify\"\nresend_hours = 9", 1, Some(9)),
        ("preset = \"github\"\nresend_hours = 0", 0, None),
        (
            "scheme = \"github\"\nevent = { id = [\"/id\", \"header:x-id\"] }",
            0,
            None,
        ),
        (
            "scheme = \"github\"\nevent = { id = [\"/id\", \"header:x-id\"] }",
            1,
            Some(72),
        ),
        // Its token is sent, and signs nothing; and a signed time tells a repeat.
        ("preset = \"gitlab\"", 0, None),
        (
            "scheme = \"eventflow\"\nevent = { id = \"header:x-id\" }",
            0,
            None,
        ),
    ] {
        assert_eq!(horizon(entry, place), hours, "{entry} {place}");
    }
}
