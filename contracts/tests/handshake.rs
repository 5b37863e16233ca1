//! Handshakes as vendors ask them, and what must not be answered.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::webhook::handshake::{Asked, HandshakeAnswer};
use contracts::webhook::source::{Source, Sources};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

fn resolve(reference: &str) -> Result<Secret, String> {
    match reference {
        "env:S" => Ok(Secret::new("s")),
        "env:TOKEN" => Ok(Secret::new("the-token")),
        other => Err(format!("{other} is not set")),
    }
}

fn parse(more: &str) -> Result<Sources, String> {
    let text = format!(
        "[[source]]\nname = \"acme\"\nscheme = \"github\"\nsecrets = [{{ id = \"a\", from = \"env:S\" }}]\n{more}"
    );
    Sources::from_toml(&text, &resolve).map_err(|error| error.to_string())
}

/// What a request is answered.
struct Request<'r> {
    method: Method,
    query: Option<&'r str>,
    headers: &'r [(&'r str, &'r str)],
    body: &'r str,
    signed: bool,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            method: Method::POST,
            query: None,
            headers: &[],
            body: "",
            signed: true,
        }
    }
}

fn ask(source: &Source, request: &Request<'_>) -> Option<HandshakeAnswer> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), value);
    }
    source.handshakes.answer(&Asked {
        method: &request.method,
        query: request.query,
        headers: &headers,
        body: request.body.as_bytes(),
        secret_id: request.signed.then_some("a"),
    })
}

/// The answer's body, where there is one.
fn body(source: &Source, request: &Request<'_>) -> Option<String> {
    ask(source, request).map(|answer| String::from_utf8(answer.body).unwrap())
}

const SLACK: &str = r#"
    [[source.handshake]]
    when = { "/type" = "url_verification" }
    answer = { text = "/challenge" }
"#;
const META: &str = r#"
    verify_token = "env:TOKEN"
    [[source.handshake]]
    method = "GET"
    when = { "query:hub.mode" = "subscribe", "query:hub.verify_token" = { secret = "verify_token" } }
    answer = { text = "query:hub.challenge" }
"#;
const ZOOM: &str = r#"
    [[source.handshake]]
    when = { "/event" = "endpoint.url_validation" }
    answer = { json = { plainToken = "/payload/plainToken", encryptedToken = { hmac = "/payload/plainToken" } } }
"#;
const OKTA: &str = r#"
    [[source.handshake]]
    method = "GET"
    when = { "header:x-okta-verification-challenge" = true }
    answer = { json = { verification = "header:x-okta-verification-challenge" } }
"#;
const DISCORD: &str = r#"
    [[source.handshake]]
    when = { "/type" = 1 }
    answer = { json = { type = 1 } }
"#;
const LOOKS: &str = r#"
    [[source.handshake]]
    method = "HEAD"
    answer = {}

    [[source.handshake]]
    when = { "/type" = 0 }
    answer = { status = 204 }
"#;
const ASANA: &str = r#"
    [[source.handshake]]
    signed = false
    when = { "header:x-hook-secret" = true }
    answer = { header = { x-hook-secret = "header:x-hook-secret" } }
"#;

#[test]
fn each_vendor_hears_what_it_asked_for() {
    let get = |query, headers| Request {
        method: Method::GET,
        query,
        headers,
        signed: false,
        ..Request::default()
    };
    let post = |body| Request {
        body,
        ..Request::default()
    };
    for (config, request, kind, expected) in [
        (
            SLACK,
            post(r#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#),
            "text/plain; charset=utf-8",
            "3eZbrw1aB",
        ),
        (
            META,
            get(
                Some("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=the-token"),
                &[],
            ),
            "text/plain; charset=utf-8",
            "1158201444",
        ),
        (
            ZOOM,
            post(
                r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event":"endpoint.url_validation"}"#,
            ),
            "application/json",
            // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac s
            r#"{"encryptedToken":"93aa52bcb22637104b103fa602ee132a2459036070fc4ef715f04d8ce8a99166","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#,
        ),
        (
            OKTA,
            get(None, &[("x-okta-verification-challenge", "abc")]),
            "application/json",
            r#"{"verification":"abc"}"#,
        ),
        (
            DISCORD,
            post(r#"{"id":"1","type":1}"#),
            "application/json",
            r#"{"type":1}"#,
        ),
    ] {
        let sources = parse(config).unwrap();
        let answer = ask(sources.get("acme").unwrap(), &request).unwrap();
        assert_eq!(answer.content_type, Some(kind), "{config}");
        assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
    }
    let sources = parse(LOOKS).unwrap();
    let source = sources.get("acme").unwrap();
    for (request, status) in [
        (
            Request {
                method: Method::HEAD,
                ..get(None, &[])
            },
            Some(200),
        ),
        (get(None, &[]), None),
        (post(r#"{"type":0}"#), Some(204)),
        (post(r#"{"type":"0 "}"#), None),
    ] {
        let answer = ask(source, &request);
        let answered = answer.as_ref().map(|answer| answer.status.as_u16());
        assert_eq!(answered, status);
        assert!(answer.is_none_or(|answer| answer.body.is_empty()));
    }
    let sources = parse(ASANA).unwrap();
    let request = Request {
        headers: &[(
            "x-hook-secret",
            "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5",
        )],
        signed: false,
        ..Request::default()
    };
    let answer = ask(sources.get("acme").unwrap(), &request).unwrap();
    let (name, value) = answer.header.unwrap();
    assert_eq!((name.as_str(), value.len()), ("x-hook-secret", 48));
    assert_eq!((answer.content_type, answer.body.len()), (None, 0));
}

#[test]
fn what_is_no_handshake_or_could_not_be_given_back_safely_is_not_answered() {
    let sources = parse(SLACK).unwrap();
    let source = sources.get("acme").unwrap();
    let long = format!(
        r#"{{"type":"url_verification","challenge":"{}"}}"#,
        "x".repeat(513)
    );
    for body_text in [
        r#"{"type":"event_callback","challenge":"a"}"#,
        r#"{"type":"url_verification"}"#,
        r#"{"type":"url_verification","challenge":""}"#,
        r#"{"type":"url_verification","challenge":{"a":1}}"#,
        r#"{"type":"url_verification","challenge":"a\r\nset-cookie: x"}"#,
        r#"{"type":"url_verification","challenge":"é"}"#,
        r#"{"type":["url_verification"],"challenge":"a"}"#,
        &long,
        "type=url_verification&challenge=a",
        "",
    ] {
        let request = Request {
            body: body_text,
            ..Request::default()
        };
        assert_eq!(body(source, &request), None, "{body_text:.80}");
    }
    let unsigned = Request {
        body: r#"{"type":"url_verification","challenge":"a"}"#,
        signed: false,
        ..Request::default()
    };
    assert_eq!(body(source, &unsigned), None, "only once it is verified");

    let sources = parse(META).unwrap();
    let source = sources.get("acme").unwrap();
    for query in [
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=another",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=the-token",
        "hub.mode=subscribe&hub.challenge=1&hub.challenge=2&hub.verify_token=the-token",
        "hub.mode=subscribe&hub.challenge=%zz&hub.verify_token=the-token",
        "hub.mode=subscribe&hub.challenge=%0d%0a&hub.verify_token=the-token",
    ] {
        let request = Request {
            method: Method::GET,
            query: Some(query),
            signed: false,
            ..Request::default()
        };
        assert_eq!(body(source, &request), None, "{query}");
    }
    let without_token = parse(&META.replace("verify_token = \"env:TOKEN\"", "")).unwrap();
    let handshakes = &without_token.get("acme").unwrap().handshakes;
    assert!(!handshakes.asked_by(&Method::GET));
}

#[test]
fn what_is_given_back_is_written_as_json_and_never_as_markup() {
    let sources = parse(OKTA).unwrap();
    let request = Request {
        method: Method::GET,
        headers: &[("x-okta-verification-challenge", r#"</script>"\"#)],
        signed: false,
        ..Request::default()
    };
    let answer = ask(sources.get("acme").unwrap(), &request).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["verification"], r#"</script>"\"#);
    assert_eq!(answer.content_type, Some("application/json"));
}

#[test]
fn a_handshake_that_cannot_work_or_would_help_a_stranger_is_refused() {
    for (config, problem) in [
        ("answer = {}", "when: is missing"),
        (
            "method = \"GET\"\nanswer = { text = \"query:a\" }",
            "when: is missing",
        ),
        (
            "when = { \"/a\" = 1 }\nanswer = { status = 404 }",
            "neither 200 nor 204",
        ),
        (
            "when = { \"/a\" = 1 }\nanswer = { status = 204, text = \"/a\" }",
            "has nothing else",
        ),
        (
            "signed = false\nwhen = { \"/type\" = 1 }\nanswer = {}",
            "before its body is read",
        ),
        (
            "method = \"GET\"\nwhen = { \"query:crc_token\" = true }\nanswer = { json = { response_token = { hmac = \"query:crc_token\", prefix = \"sha256=\" } } }",
            "would sign whatever a stranger asks for",
        ),
        (
            "method = \"GET\"\nsigned = true\nwhen = { \"query:a\" = true }\nanswer = {}",
            "only a POST is signed",
        ),
        (
            "method = \"PUT\"\nwhen = { \"/a\" = true }\nanswer = {}",
            "none of POST, GET, HEAD",
        ),
        ("when = { type = \"a\" }\nanswer = {}", "is no place"),
        ("when = { \"/a\" = false }\nanswer = {}", "write a text"),
        ("when = { \"/a\" = 1 }", "missing field"),
        (
            "when = { \"/a\" = 1 }\nanswer = { text = \"/a\", json = {} }",
            "one of text, header and json",
        ),
        (
            "when = { \"/a\" = 1 }\nanswer = { json = { a = [1] } }",
            "write a place",
        ),
        (
            "when = { \"/a\" = 1 }\nanswer = { header = { \"a b\" = \"/a\" } }",
            "not a header name",
        ),
        ("wen = { \"/a\" = 1 }\nanswer = {}", "unknown field"),
    ] {
        let refused = parse(&format!("[[source.handshake]]\n{config}")).unwrap_err();
        assert!(
            refused.contains("handshake 1: ") && refused.contains(problem),
            "{config}: {refused}"
        );
    }
    for (config, problem) in [
        (
            "verify_token = \"env:NONE\"",
            "verify_token: env:NONE is not set",
        ),
        ("verify_token = 1", "verify_token: write where it is"),
        ("handshake = 1", "handshake: write each as"),
        ("answer = { status = 500 }", "answer: status: 500"),
        ("body = \"xml\"", "body: \"xml\" is unknown"),
        ("body = [\"form\", \"form:payload\"]", "body: at most one"),
        ("body = \"form\"\nitems = \"/a\"", "items: several events"),
        ("items = \"a\"", "items: \"a\" is no JSON pointer"),
        ("gzip = true", "gzip: "),
        (
            "gzip = \"signed\"\nbatches = true",
            "batches: the events of a batch",
        ),
        (
            "items = \"/a\"\nevent.id = \"header:x-id\"",
            "items: the events of a request share",
        ),
    ] {
        let refused = parse(config).unwrap_err();
        assert!(refused.contains(problem), "{config}: {refused}");
    }
}
