//! `eventflow send`: what arrives at the edge is signed with the source's secret, byte for byte.

use crate::eventflow;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use contracts::Secret;
use contracts::webhook::signature::SignedRequest;
use contracts::webhook::source::Sources;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

/// Takes one request, and answers it.
pub(crate) fn edge(
    answer: &'static str,
) -> (
    String,
    std::thread::JoinHandle<(String, HeaderMap, Vec<u8>)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the request broke off");
            bytes.extend_from_slice(&piece[..read]);
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
                bytes.drain(..at + 4);
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                break (head, length);
            }
        };
        let mut rest = vec![0; length - bytes.len()];
        stream.read_exact(&mut rest).unwrap();
        bytes.extend(rest);
        stream.write_all(answer.as_bytes()).unwrap();
        let (line, lines) = head.split_once("\r\n").unwrap();
        let headers = lines.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (
                name.parse::<HeaderName>().unwrap(),
                value.parse::<HeaderValue>().unwrap(),
            )
        });
        (line.to_owned(), headers.collect(), bytes)
    });
    (url, taken)
}

pub(crate) const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{\"status\":\"a\"";
const REFUSED: &str =
    "HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\nconnection: close\r\n\r\n{\"c\":1";

#[test]
fn a_body_is_signed_with_the_sources_secret_and_posted_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join("sources.toml");
    let body = folder.path().join("body");
    let text = "[[source]]\nname = \"hub\"\nscheme = \"github\"\nbody = [\"json\", \"form:payload\"]\n\
        secrets = [{ id = \"old\", from = \"env:OLD\" }, { id = \"new\", from = \"env:NEW\" }]\n";
    std::fs::write(&sources, text).unwrap();
    let secrets = [("OLD", "LEAKED-old"), ("NEW", "LEAKED-new")];
    let resolve = |from: &str| match from {
        "env:OLD" => Ok(Secret::new("LEAKED-old")),
        _ => Ok(Secret::new("LEAKED-new")),
    };
    let known = Sources::from_toml(text, &resolve).unwrap();
    for (content, more, secret_id, kind) in [
        ("{\"a\": 1.50}\n", &[][..], "old", "application/json"),
        (
            "payload=%7B%7D",
            &["--secret-id", "new"],
            "new",
            "application/x-www-form-urlencoded",
        ),
        (
            "{}",
            &["-H", "content-type: text/plain", "--id", "d-1"],
            "old",
            "text/plain",
        ),
    ] {
        std::fs::write(&body, content).unwrap();
        let (url, taken) = edge(OK);
        let arguments = [
            &[
                "send",
                "--source",
                "hub",
                body.to_str().unwrap(),
                "--sources",
                sources.to_str().unwrap(),
                "--url",
                &url,
            ],
            more,
        ]
        .concat();
        let (code, printed) = eventflow(&arguments, &secrets);
        let (line, headers, sent) = taken.join().unwrap();
        assert_eq!(code, Some(0), "{printed}");
        assert!(
            printed.starts_with("200 OK\n{\"status\":\"a\""),
            "{printed}"
        );
        crate::assert_clean("send", &printed);
        assert_eq!(line, "POST /api/webhooks/hub HTTP/1.1");
        assert_eq!(sent, content.as_bytes());
        assert_eq!(headers["content-type"], kind);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        let verifier = &known.get("hub").unwrap().verifier;
        let request = SignedRequest {
            method: "POST",
            query: None,
            headers: &headers,
            body: &sent,
        };
        let verdict = verifier.verify(&request, now).unwrap();
        assert_eq!(verdict.secret_id, secret_id);
    }
    let (url, taken) = edge(REFUSED);
    let arguments = [
        "send",
        "--source",
        "hub",
        body.to_str().unwrap(),
        "--sources",
        sources.to_str().unwrap(),
        "--url",
        &url,
    ];
    let (code, printed) = eventflow(&arguments, &secrets);
    taken.join().unwrap();
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("401") && printed.contains("did not accept"));
    for (arguments, problem) in [
        (
            &["--source", "nobody"][..],
            "there is no source \"nobody\"; there are hub",
        ),
        (
            &["--source", "hub", "--secret-id", "x"],
            "the source has no secret \"x\"; it has old, new",
        ),
    ] {
        let sources = [
            "send",
            body.to_str().unwrap(),
            "--sources",
            sources.to_str().unwrap(),
        ];
        let (code, printed) = eventflow(&[&sources[..], arguments].concat(), &secrets);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains(problem), "{printed}");
        crate::assert_clean("send", &printed);
    }
}
