//! README's "Add a vendor", as somebody types it; and requests of a vendor, verified offline.

use crate::eventflow;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `whsec_` and base64, as Standard Webhooks has secrets.
const SECRET: &str = "whsec_TEVBS0VELXNlY3JldC1vZi0yNC1ieXRlcy1vci1tb3Jl";
const BODY: &str = r#"{"type":"order.paid","timestamp":"2026-01-15T12:00:00Z","data":{"order_id":"o-1","total":"1.50"}}"#;

/// The block of code in a language that stands first below a heading.
fn block(heading: &str, language: &str) -> String {
    let page = include_str!("../../../README.md");
    let (_, section) = page.split_once(heading).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, code) = section.split_once(&format!("```{language}\n")).unwrap();
    code.split("```\n").next().unwrap().to_owned()
}

/// A folder with README's sources file, the secret that it has in a file, and what it types about.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let old = at("acme-old");
    let file = block("\n## Add a vendor\n", "toml");
    let file = file.replace("/run/secrets/acme-old", old.to_str().unwrap());
    assert!(file.contains("acme-old"), "{file}");
    for (name, text) in [
        ("acme-old", SECRET),
        ("sources.toml", &file),
        ("body.json", BODY),
        (
            "headers.txt",
            "webhook-id: msg_1\nwebhook-timestamp: 1768478400\n",
        ),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    folder
}

#[test]
fn readmes_add_a_vendor_is_true_as_typed() {
    let folder = folder();
    let secrets = [("ACME_SECRET", SECRET)];
    let (url, taken) = crate::send::edge(crate::send::OK);
    let signed = [
        "send",
        "--source",
        "acme",
        "--id",
        "msg_1",
        "--url",
        &url,
        "body.json",
    ];
    // The request that is typed about is one that the source's secret signs.
    let program = Path::new(env!("CARGO_BIN_EXE_eventflow"));
    let sent = Command::new(program)
        .args(signed)
        .current_dir(&folder)
        .envs(secrets)
        .env("EVENTFLOW_SOURCES", "sources.toml")
        .output()
        .unwrap();
    assert!(sent.status.success(), "{sent:?}");
    let (line, headers, body) = taken.join().unwrap();
    let headers = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let head: String = headers.collect();
    let request = [format!("{line}\r\n{head}\r\n").as_bytes(), &body].concat();
    std::fs::write(folder.path().join("request.http"), request).unwrap();

    let (url, taken) = crate::send::edge(crate::send::OK);
    let typed = block("\n## Add a vendor\n", "sh");
    let path = std::env::var("PATH").unwrap();
    let bin = program.parent().unwrap().display().to_string();
    let ran = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &typed])
        .current_dir(&folder)
        .envs(secrets)
        .env("PATH", format!("{bin}:{path}"))
        .env("EVENTFLOW_URL", &url)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{out}{err}");
    assert_eq!(taken.join().unwrap().2, BODY.as_bytes());
    for part in [
        "standard-webhooks",
        "1 source is fine\n",
        "/api/webhooks/acme\n",
        "id      msg_1\ntype    order.paid\ntime    2026-01-15T12:00:00Z\nentity  o-1\nfate    stored, by the contract any, version 1\n",
        "200 OK",
        "genuine: signed with the secret \"2026-11\" of acme\n",
    ] {
        assert!(out.contains(part), "{part:?} is not in {out}{err}");
    }
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
}

/// A request in a file, verified; exit code and output.
fn verify(folder: &Path, request: &[u8], more: &[&str]) -> (Option<i32>, String) {
    let (file, sources) = (folder.join("request.http"), folder.join("sources.toml"));
    std::fs::write(&file, request).unwrap();
    let arguments = [
        "sources",
        "verify",
        "--source",
        "hub",
        "--sources",
        sources.to_str().unwrap(),
        "--request",
        file.to_str().unwrap(),
    ];
    eventflow(
        &[&arguments[..], more].concat(),
        &[("HUB", "LEAKED-hub"), ("OTHER", "LEAKED-other")],
    )
}

/// What the source signs, as a request of `eventflow send` in a file.
fn signed(scheme: &str, secret: &str, at: i64, body: &[u8]) -> Vec<(String, String)> {
    use contracts::webhook::{
        scheme::Scheme,
        signature::{Key, Verifier},
    };
    let key = Key {
        id: "k".to_owned(),
        secret: contracts::Secret::new(secret),
        not_after: None,
    };
    let verifier = Verifier::new(Scheme::preset(scheme).unwrap(), vec![key], None).unwrap();
    verifier.sign(Some("msg_1"), at, body, 0)
}

fn request(headers: &[(String, String)], body: &[u8], end: &str) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}{end}"))
        .collect();
    [
        format!("POST /api/webhooks/hub HTTP/1.1{end}{headers}{end}").as_bytes(),
        body,
    ]
    .concat()
}

fn hub(preset: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[source]]\nname = \"hub\"\npreset = \"{preset}\"\nsecrets = [{{ id = \"1\", from = \"env:HUB\" }}]\n\
         [[source]]\nname = \"other\"\npreset = \"{preset}\"\nsecrets = [{{ id = \"1\", from = \"env:OTHER\" }}]\n"
    );
    std::fs::write(folder.path().join("sources.toml"), text).unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn a_captured_request_is_verified_or_its_mistake_is_named() {
    let (_folder, at) = hub("slack");
    let (now, body) = (
        1_768_478_400,
        "{\"type\": \"event_callback\", \"n\": 1}".as_bytes(),
    );
    let received = ["--received", "2026-01-15T12:00:10Z"];
    let genuine = signed("slack", "LEAKED-hub", now, body);
    for end in ["\r\n", "\n"] {
        let (code, told) = verify(&at, &request(&genuine, body, end), &received);
        assert_eq!(
            (code, told.as_str()),
            (Some(0), "genuine: signed with the secret \"1\" of hub\n")
        );
    }
    let compact = br#"{"type":"event_callback","n":1}"#;
    for (headers, body, more, parts) in [
        (
            &genuine,
            &compact[..],
            &received[..],
            &[
                "refused: signature_mismatch",
                "(body_reserialized)",
                "next     Sign and send the same bytes",
            ][..],
        ),
        (
            &signed("slack", "LEAKED-other", now, body),
            body,
            &received,
            &["(other_secret)", "because  "],
        ),
        (
            &genuine,
            body,
            &[],
            &[
                "refused: timestamp_too_old",
                "(clock_skew)",
                "say when it was received with --received",
            ],
        ),
        (
            &signed("stripe", "LEAKED-hub", now, body),
            body,
            &received,
            &["refused: missing_signature_header", "(other_scheme)"],
        ),
        (
            &signed("slack", "nobody-knows", now, body),
            body,
            &received,
            &["tried, and none fits", "eventflow sources show"],
        ),
    ] {
        let (code, told) = verify(&at, &request(headers, body, "\r\n"), more);
        assert_eq!(code, Some(1), "{told}");
        for part in parts {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
        assert!(told.contains("hub would refuse it"), "{told}");
        crate::assert_clean("verify", &told);
    }
    let challenge = br#"{"type":"url_verification","challenge":"3eZb"}"#;
    let asked = signed("slack", "LEAKED-hub", now, challenge);
    let (code, told) = verify(&at, &request(&asked, challenge, "\n"), &received);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("a handshake: it is answered 200 3eZb"),
        "{told}"
    );
}

#[test]
fn the_body_may_be_in_a_file_of_its_own_and_what_cannot_be_read_is_named() {
    let (_folder, at) = hub("github");
    let body = br#"{"action":"opened"}"#;
    let headers = signed("github", "LEAKED-hub", 0, body);
    let file = at.join("body");
    std::fs::write(&file, body).unwrap();
    let more = ["--body", file.to_str().unwrap()];
    let (code, told) = verify(&at, &request(&headers, b"", "\n"), &more);
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "genuine: signed with the secret \"1\" of hub\n")
    );
    for (request, more, problem) in [
        (
            &b"POST / HTTP/1.1\nno header here\n\n"[..],
            &[][..],
            "request.http: line 2: write it as",
        ),
        (
            b"\n",
            &["--source", "nobody"],
            "cannot be used multiple times",
        ),
        (b"\n", &["--received", "noon"], "write RFC 3339"),
    ] {
        let (code, told) = verify(&at, request, more);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(problem), "{told}");
    }
}
