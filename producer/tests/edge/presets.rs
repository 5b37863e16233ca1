//! Every preset through the edge: the requests that the vendors' own libraries signed, each vendor's handshake, and what it hears.

use crate::world::{World, request, world};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use contracts::Secret;
use contracts::event::Mappings;
use contracts::kafka::headers;
use contracts::webhook::source::Sources;
use http_body_util::BodyExt;
use runtime::admin::{OwnedRecord, read_all};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use tower::ServiceExt;

/// A vendor's requests, as `contracts/tests/vectors` has them.
#[derive(serde::Deserialize)]
struct Vectors {
    /// Of the file, and here of the source
    #[serde(skip)]
    name: String,
    preset: String,
    public_url: Option<String>,
    #[serde(default)]
    scheme: BTreeMap<String, String>,
    secrets: Vec<BTreeMap<String, String>>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    query: Option<String>,
    headers: BTreeMap<String, String>,
    body: String,
    verified: Option<String>,
}

impl Vectors {
    fn all() -> Vec<Self> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/tests/vectors");
        let files = std::fs::read_dir(folder).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
            .collect();
        paths.sort();
        let read = |path: std::path::PathBuf| {
            let read: Self = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            Self { name, ..read }
        };
        paths.into_iter().map(read).collect()
    }

    /// Its entry of a sources file, whose secrets are in `folder`. The requests were signed long ago.
    fn entry(&self, folder: &std::path::Path) -> String {
        let mut text = format!(
            "[[source]]\nname = {:?}\npreset = {:?}\n",
            self.name, self.preset
        );
        if let Some(url) = &self.public_url {
            writeln!(text, "public_url = {url:?}").unwrap();
        }
        let secrets = self.secrets.iter().map(|named| {
            let file = folder.join(format!("{}-{}", self.name, named["id"]));
            std::fs::write(&file, &named["secret"]).unwrap();
            format!(
                "{{ id = {:?}, from = \"file:{}\" }}",
                named["id"],
                file.display()
            )
        });
        let secrets: Vec<_> = secrets.collect();
        writeln!(text, "secrets = [{}]", secrets.join(", ")).unwrap();
        text.push_str("[source.scheme]\n");
        for (key, value) in &self.scheme {
            writeln!(text, "{key} = {value:?}").unwrap();
        }
        text
    }
}

struct Edge {
    world: World,
    text: String,
    _files: tempfile::TempDir,
}

/// An edge with all of these sources. Where the scheme signs a time, a century is fresh.
async fn edge(all: &[Vectors]) -> Edge {
    let files = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for vectors in all {
        let entry = vectors.entry(files.path());
        let resolve = |_: &str| Ok(Secret::new("00"));
        let tolerant = entry.replace("secrets =", "tolerance_seconds = 3_000_000_000\nsecrets =");
        let is_timed = !Sources::from_toml(&tolerant, &resolve)
            .is_err_and(|problem| problem.to_string().contains("tolerance_seconds"));
        text.push_str(if is_timed { &tolerant } else { &entry });
    }
    let file = files.path().join("sources.toml");
    std::fs::write(&file, &text).unwrap();
    let world = world(&["--sources", file.to_str().unwrap()], 1000).await;
    Edge {
        world,
        text,
        _files: files,
    }
}

impl Edge {
    async fn ask(&self, asked: Request<Body>) -> (u16, HeaderMap, String) {
        let answer = self.world.app.clone().oneshot(asked).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, preset: &str, case: &Case) -> (u16, HeaderMap, String) {
        let query = case.query.as_deref();
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let headers: Vec<_> = case.headers.clone().into_iter().collect();
        let path = format!("/api/webhooks/{preset}{query}");
        let mut asked = request(&path, case.body.as_bytes(), &[], &[]);
        asked.headers_mut().remove("content-type");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        self.ask(asked).await
    }

    fn raw(&self) -> Vec<OwnedRecord> {
        read_all(&self.world.broker.kafka(), "events.raw.v1").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_vendors_library_signed_is_an_event_with_an_id_and_no_secret() {
    let mut all = Vectors::all();
    // Its event is XML, in base64, in a form: it is verified and kept, and has no type that a mapping finds.
    all.retain(|vectors| vectors.name != "braintree");
    let edge = edge(&all).await;
    let mappings = Mappings::from_toml(&edge.text).unwrap();
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for vectors in &all {
        let case = vectors.cases.iter().find(|case| case.name == "genuine");
        let case = case.unwrap_or_else(|| panic!("{}: no genuine case", vectors.preset));
        assert_eq!(case.verified.as_deref(), Some("new"));
        let (status, _, answer) = edge.post(&vectors.name, case).await;
        assert!(
            (200..300).contains(&status),
            "{}: {status} {answer}",
            vectors.preset
        );
        let body: Value = serde_json::from_str(&case.body).unwrap_or_default();
        let items = match vectors.preset.as_str() {
            "adyen" => body["notificationItems"].as_array(),
            "sendgrid" | "hubspot" => body.as_array(),
            "okta" => body["data"]["events"].as_array(),
            _ => None,
        };
        expected.insert(&vectors.name, items.map_or(1, Vec::len));
    }
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unread = Vec::new();
    let records = edge.raw();
    let sources: Vec<String> = records
        .iter()
        .map(|record| record.header(headers::SOURCE).unwrap())
        .collect();
    for (record, source) in records.iter().zip(&sources) {
        *found.entry(source.as_str()).or_default() += 1;
        let header = |name: &str| record.header(name);
        // What the validator reads, from the record alone.
        let value = record.value.as_deref().unwrap();
        let opened = mappings.open(&&record.headers[..], value).unwrap();
        match mappings.find(&record.headers[..], &opened) {
            Ok(envelope) => assert_eq!(
                header(headers::EVENT_ID).as_deref(),
                Some(&*envelope.id),
                "{source}"
            ),
            Err(rejection) => unread.push((source, rejection)),
        }
        let vectors = all.iter().find(|vectors| vectors.name == *source);
        let is_public = ["discord", "telnyx", "sendgrid", "paypal"].contains(&source.as_str());
        for named in &vectors.unwrap().secrets {
            let shown = format!("{:?}", record.headers);
            assert!(
                is_public || !shown.contains(&named["secret"]),
                "{source}: {shown}"
            );
        }
    }
    assert_eq!(unread, []);
    assert_eq!(found, expected);
}

/// One vendor's source with a secret of the test's own.
async fn one(preset: &str, secret: &str, more: &str) -> (Edge, Sources) {
    let files = tempfile::tempdir().unwrap();
    let text = |from: &str| {
        format!(
            "[[source]]\nname = \"{preset}\"\npreset = \"{preset}\"\nsecrets = [{{ id = \"k\", from = \"{from}\" }}]\n{more}"
        )
    };
    let (file, held) = (files.path().join("sources.toml"), files.path().join("s"));
    std::fs::write(&held, secret).unwrap();
    let text_of_file = text(&format!("file:{}", held.display()));
    let token = format!("file:{}", held.display());
    let text_of_file = text_of_file.replace("env:TOKEN", &token);
    std::fs::write(&file, &text_of_file).unwrap();
    let world = world(&["--sources", file.to_str().unwrap()], 1000).await;
    let known = Sources::from_toml(&text("env:S"), &|_| Ok(Secret::new(secret))).unwrap();
    let edge = Edge {
        world,
        text: text_of_file,
        _files: files,
    };
    (edge, known)
}

/// A signed POST of this vendor.
fn signed(known: &Sources, preset: &str, body: &str, more: &[(&str, &str)]) -> Request<Body> {
    let verifier = &known.get(preset).unwrap().verifier;
    let headers = verifier.sign(Some("m-1"), crate::world::now(), body.as_bytes(), 0);
    let path = format!("/api/webhooks/{preset}");
    request(&path, body.as_bytes(), &headers, more)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshakes_of_vendors_succeed_and_are_no_events() {
    let challenge = [(
        "twitch-eventsub-message-type",
        "webhook_callback_verification",
    )];
    for (preset, secret, body, more, expected) in [
        (
            "slack",
            "s",
            r#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#,
            &[][..],
            "3eZbrw1aB",
        ),
        (
            "zoom",
            "s",
            r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#,
            &[],
            // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac s
            r#"{"encryptedToken":"93aa52bcb22637104b103fa602ee132a2459036070fc4ef715f04d8ce8a99166","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#,
        ),
        (
            "twitch",
            "s-s-s-s-s-s",
            r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"id":"1"}}"#,
            &challenge,
            "pogchamp-kappa-360noscope-vohiyo",
        ),
    ] {
        let (edge, known) = one(preset, secret, "").await;
        let (status, _, answer) = edge.ask(signed(&known, preset, body, more)).await;
        assert_eq!((status, answer.as_str()), (200, expected), "{preset}");
        assert_eq!(edge.raw().len(), 0, "{preset}");
    }
    for (method, preset, more, query, header, expected) in [
        (
            Method::GET,
            "meta",
            "verify_token = \"env:TOKEN\"",
            "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=the-secret",
            None,
            (200, "1158201444"),
        ),
        (
            Method::GET,
            "meta",
            "verify_token = \"env:TOKEN\"",
            "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=another",
            None,
            (400, ""),
        ),
        (
            Method::GET,
            "okta",
            "",
            "",
            Some(("x-okta-verification-challenge", "abc")),
            (200, r#"{"verification":"abc"}"#),
        ),
        (Method::HEAD, "intercom", "", "", None, (200, "")),
    ] {
        let (edge, _) = one(preset, "the-secret", more).await;
        let path = format!("/api/webhooks/{preset}{query}");
        let mut asked = Request::builder().method(method).uri(path);
        if let Some((name, value)) = header {
            asked = asked.header(name, value);
        }
        let (status, _, answer) = edge.ask(asked.body(Body::empty()).unwrap()).await;
        let answer = if status == 200 { answer.as_str() } else { "" };
        assert_eq!((status, answer), expected, "{preset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_taken_as_json_and_as_a_form() {
    let (edge, known) = one("github", "s", "").await;
    let json = r#"{"action":"opened","repository":{"full_name":"a/b"}}"#;
    let form = "payload=%7B%22action%22%3A%22opened%22%2C%22repository%22%3A%7B%22full_name%22%3A%22a%2Fb%22%7D%7D";
    for (body, kind) in [
        (json, "application/json"),
        (form, "application/x-www-form-urlencoded"),
    ] {
        let mut asked = signed(&known, "github", body, &[("x-github-event", "issues")]);
        let headers = asked.headers_mut();
        headers.insert("content-type", kind.parse().unwrap());
        assert_eq!(edge.ask(asked).await.0, 200, "{kind}");
    }
    let records = edge.raw();
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!(record.key.as_deref(), Some(&b"a/b"[..]), "the entity's key");
        assert_eq!(record.header("x-github-event").as_deref(), Some("issues"));
    }
}
