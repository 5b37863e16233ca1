//! Every vector in `tests/vectors`, made and judged by the vendor's own library where it has one (`script/vectors`): what the library takes as
//! genuine is genuine, by the right secret, and everything else is refused for its reason.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::preset;
use contracts::webhook::scheme::{Encoding, Method};
use contracts::webhook::signature::{SignatureError, SignedRequest, Verifier};
use contracts::webhook::source::Sources;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    preset: String,
    made_by: String,
    public_url: Option<String>,
    #[serde(default)]
    scheme: BTreeMap<String, String>,
    secrets: Vec<Named>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    method: String,
    query: Option<String>,
    headers: BTreeMap<String, String>,
    body: String,
    now: i64,
    verified: Option<String>,
    refused: Option<String>,
    /// Why the vendor's library would take it
    library_differs: Option<String>,
}

impl Case {
    fn headers(&self) -> HeaderMap {
        let parse = |(name, value): (&String, &String)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        };
        self.headers.iter().map(parse).collect()
    }

    fn verify<'v>(
        &self,
        verifier: &'v Verifier,
        headers: &HeaderMap,
    ) -> Result<&'v str, SignatureError> {
        let request = SignedRequest {
            method: &self.method,
            query: self.query.as_deref(),
            headers,
            body: self.body.as_bytes(),
        };
        verifier
            .verify(&request, self.now)
            .map(|verdict| verdict.secret_id)
    }
}

fn all() -> Vec<Vectors> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// A source as a user would write it: the preset, its secrets, and what only the user knows.
fn source(vectors: &Vectors) -> Sources {
    let mut text = format!(
        "[[source]]\nname = \"vendor\"\npreset = {:?}\n",
        vectors.preset
    );
    if let Some(url) = &vectors.public_url {
        text.push_str(&format!("public_url = {url:?}\n"));
    }
    let secrets: Vec<_> = vectors
        .secrets
        .iter()
        .map(|named| format!("{{ id = {:?}, from = {:?} }}", named.id, named.id))
        .collect();
    text.push_str(&format!("secrets = [{}]\n", secrets.join(", ")));
    text.push_str("[source.scheme]\n");
    for (key, value) in &vectors.scheme {
        text.push_str(&format!("{key} = {value:?}\n"));
    }
    let resolve = |id: &str| {
        let named = vectors.secrets.iter().find(|named| named.id == id);
        Ok(Secret::new(named.unwrap().secret.as_bytes()))
    };
    Sources::from_toml(&text, &resolve).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_vector_is_judged_as_its_vendor_judges_it() {
    for vectors in all() {
        let sources = source(&vectors);
        let verifier = &sources.get("vendor").unwrap().verifier;
        for case in &vectors.cases {
            let verdict = case.verify(verifier, &case.headers());
            let what = format!("{} ({}): {}", vectors.preset, vectors.made_by, case.name);
            assert!(
                case.library_differs.is_none() || case.refused.is_some(),
                "{what}: EventFlow may be stricter, never looser"
            );
            match (&case.verified, &case.refused) {
                (Some(id), None) => assert_eq!(verdict, Ok(id.as_str()), "{what}"),
                (None, Some(code)) => {
                    let error = verdict.map_err(SignatureError::code);
                    assert_eq!(error, Err(code.as_str()), "{what}");
                }
                _ => panic!("{what}: say verified or refused"),
            }
        }
    }
}

#[test]
fn every_preset_has_vectors_and_an_example() {
    let with_vectors: BTreeSet<_> = all().into_iter().map(|vectors| vectors.preset).collect();
    for name in preset::names() {
        assert!(
            with_vectors.contains(name),
            "script/vectors knows no {name}"
        );
        let folder = format!("{}/sources/{name}", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{folder}: {error}"))
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(files.iter().any(|file| file == "headers.txt"), "{folder}");
        assert!(
            files.iter().any(|file| file.starts_with("body.")),
            "{folder}"
        );
        let about = preset::about(name).unwrap_or_else(|| panic!("{name}: [about] is not whole"));
        assert!(
            !about.rules.is_empty() && !about.secret.is_empty(),
            "{name}"
        );
    }
}

/// Truncated, extended, emptied, doubled, in capitals, under another label, with a line of white space: refused by shape, before the body.
#[test]
fn a_misshapen_signature_is_refused_before_any_digest_is_computed() {
    for vectors in all() {
        let sources = source(&vectors);
        let verifier = &sources.get("vendor").unwrap().verifier;
        let scheme = verifier.scheme();
        let genuine = &vectors.cases[0];
        let headers = genuine.headers();
        let signature_headers = scheme.signature_header.0.iter();
        let Some(name) = signature_headers
            .clone()
            .find(|name| headers.contains_key(*name))
        else {
            // It is in the body.
            continue;
        };
        let good = headers[name].to_str().unwrap().to_owned();
        let refused = |what: &str, value: &str| {
            let mut given = headers.clone();
            given.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            let verdict = genuine.verify(verifier, &given).map(drop);
            let error = verdict.expect_err(&format!("{}: {what}: {value:?}", vectors.preset));
            assert!(
                error.is_malformed(),
                "{}: {what}: {error:?}",
                vectors.preset
            );
            assert!(
                verifier.precheck(&given).is_err(),
                "{}: {what}",
                vectors.preset
            );
        };
        refused("empty", "");
        let mut twice = headers.clone();
        twice.append(name.parse::<HeaderName>().unwrap(), headers[name].clone());
        let doubled = genuine.verify(verifier, &twice);
        assert_eq!(
            doubled,
            Err(SignatureError::DuplicateHeader),
            "{}",
            vectors.preset
        );
        let mut without = headers.clone();
        without.remove(name);
        if scheme.more_signature_headers.is_empty() {
            let missing = genuine.verify(verifier, &without);
            assert_eq!(
                missing,
                Err(SignatureError::MissingHeader),
                "{}",
                vectors.preset
            );
        }
        if scheme.algorithm.method() == Method::Token {
            continue;
        }
        refused("truncated", &good[..good.len() - 2]);
        refused("extended", &format!("{good}ab"));
        let at = match scheme.prefix.as_str() {
            "" => 0,
            prefix => good.rfind(prefix).unwrap() + prefix.len(),
        };
        if scheme.encoding == Encoding::Hex {
            let capitals = format!("{}{}", &good[..at], good[at..].to_uppercase());
            assert_ne!(capitals, good, "a digest without a letter proves nothing");
            refused("in capitals", &capitals);
        }
        if !scheme.prefix.is_empty() {
            let label = scheme.prefix.len();
            let relabelled = format!("{}x{}", &good[..at - label], &good[at - label + 1..]);
            refused("under another label", &relabelled);
            refused("without its label", &good.replacen(&scheme.prefix, "", 1));
        }
    }
}

/// A place that no signature covers is named, so that nobody takes it for proven.
#[test]
fn what_a_preset_does_not_sign_is_known() {
    let verifier_of = |name: &str| {
        let vectors = all().into_iter().find(|vectors| vectors.preset == name);
        source(&vectors.unwrap())
    };
    for (name, body, time) in [
        ("stripe", true, true),
        ("github", true, false),
        ("linear", true, true),
        ("paypal", false, true),
        ("mailgun", false, true),
        ("twilio", false, false),
        ("gitlab", false, false),
        ("adyen", false, false),
    ] {
        let sources = verifier_of(name);
        let verifier = &sources.get("vendor").unwrap().verifier;
        assert_eq!(
            (verifier.signs_body(), verifier.signs_time()),
            (body, time),
            "{name}"
        );
    }
    let sources = verifier_of("adyen");
    let verifier = &sources.get("vendor").unwrap().verifier;
    let path =
        |pointer: &str| -> Vec<String> { pointer.split('/').skip(1).map(str::to_owned).collect() };
    assert!(verifier.signs_pointer(&path("/NotificationRequestItem/pspReference")));
    assert!(!verifier.signs_pointer(&path("/NotificationRequestItem/reason")));
    // The token is the secret: it must not travel with the record.
    let sources = verifier_of("gitlab");
    let verifier = &sources.get("vendor").unwrap().verifier;
    assert_eq!(
        verifier.secret_headers().collect::<Vec<_>>(),
        ["x-gitlab-token"]
    );
    assert_eq!(verifier.signature_headers().count(), 0);
}
