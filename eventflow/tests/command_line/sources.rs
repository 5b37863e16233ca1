//! `eventflow sources`, as a person uses it who adds a vendor: offline, and without a secret on the screen.

use crate::eventflow;
use std::path::PathBuf;

const FILE: &str = r#"
[[source]]
name = "acme"
preset = "stripe"
secrets = [
  { id = "2026-11", from = "env:ACME_SECRET" },
  { id = "2026-05", from = "env:ACME_SECRET", not_after = "2026-12-01T00:00:00Z" },
]
quota_per_second = 7

[[source]]
name = "lab"
preset = "gitlab"
secrets = [{ id = "token", from = "env:LAB_TOKEN" }]
"#;

/// The file, in a folder that lives as long as the test.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sources.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn presets_are_listed_and_each_can_be_shown_without_a_file_or_a_secret() {
    let (code, presets) = eventflow(&["sources", "ls", "--presets"], &[]);
    assert_eq!(code, Some(0), "{presets}");
    let names: Vec<_> = presets
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 35 && names.contains(&"stripe"), "{presets}");
    for name in names {
        let (code, shown) = eventflow(&["sources", "show", name], &[]);
        assert_eq!(code, Some(0), "{shown}");
        assert!(
            shown.contains(&format!("POST /api/webhooks/{name}")),
            "{shown}"
        );
        assert!(
            shown.contains("https://"),
            "{name} says where its rules come from: {shown}"
        );
    }
}

#[test]
fn a_source_is_shown_with_what_is_signed_and_what_is_not() {
    let (_folder, path) = file(FILE);
    let path = path.to_str().unwrap();
    let (code, listed) = eventflow(&["sources", "ls", "--sources", path], &[]);
    assert_eq!(code, Some(0), "{listed}");
    assert!(
        listed.contains("acme") && listed.contains("2026-11,2026-05"),
        "{listed}"
    );
    let (code, shown) = eventflow(&["sources", "show", "acme", "--sources", path], &[]);
    assert_eq!(code, Some(0), "{shown}");
    for part in [
        "HMAC-SHA256 in hexadecimal, stripe-signature",
        "{timestamp}.{body}",
        "300 s back, 300 s ahead",
        "2026-05 until 2026-12-01T00:00:00Z",
        "7 events a second",
        "stripe-signature: t=$at,v1=$signature",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (code, shown) = eventflow(&["sources", "show", "lab"], &[("EVENTFLOW_SOURCES", path)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("whoever sees the token can write anything"),
        "{shown}"
    );
}

#[test]
fn a_file_is_checked_with_its_secrets_or_without() {
    let (_folder, path) = file(FILE);
    let path = path.to_str().unwrap();
    let set = [("ACME_SECRET", "LEAKED-a"), ("LAB_TOKEN", "LEAKED-b")];
    let (code, text) = eventflow(&["sources", "check", path], &set);
    assert_eq!((code, text.as_str()), (Some(0), "2 sources are fine\n"));
    let (code, text) = eventflow(&["sources", "check", path], &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("source \"acme\"") && text.contains("ACME_SECRET is not set"),
        "{text}"
    );
    let (code, text) = eventflow(&["sources", "check", path, "--without-secrets"], &[]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "2 sources are fine; their secrets were not read\n")
    );
    let (_folder, bad) = file(&FILE.replace("\"stripe\"", "\"strip\""));
    let (code, text) = eventflow(
        &[
            "sources",
            "check",
            bad.to_str().unwrap(),
            "--without-secrets",
        ],
        &[],
    );
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("do you mean \"stripe\"?"), "{text}");
}

#[test]
fn an_unknown_name_is_told_what_there_is() {
    let (code, text) = eventflow(&["sources", "show", "nobody"], &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("--sources") && text.contains("stripe"),
        "{text}"
    );
    let (_folder, path) = file(FILE);
    let (code, text) = eventflow(
        &[
            "sources",
            "show",
            "nobody",
            "--sources",
            path.to_str().unwrap(),
        ],
        &[],
    );
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("acme, lab"), "{text}");
}

#[test]
fn a_request_is_tried_and_its_fate_is_told_offline() {
    let sources = ["github", "slack", "adyen", "twilio"].map(|name| {
        let url = match name {
            "twilio" => "public_url = \"https://hooks.example\"\n",
            _ => "",
        };
        format!(
            "[[source]]\nname = {name:?}\npreset = {name:?}\n{url}secrets = [{{ id = \"k\", from = \"env:S\" }}]\n"
        )
    });
    let (folder, path) = file(&sources.concat());
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/sources");
    let handshake = folder.path().join("handshake.json");
    std::fs::write(
        &handshake,
        r#"{"type":"url_verification","challenge":"abc"}"#,
    )
    .unwrap();
    for (source, body, expected) in [
        (
            "github",
            format!("{examples}/github/body.json"),
            &[
                "headers kept: ",
                "type    pull_request.opened\n",
                "time    2026-01-15T12:00:00Z\n",
                "entity  example-org/hello-world\n",
                "fate    stored, by the contract any, version 1\n",
            ][..],
        ),
        (
            "adyen",
            format!("{examples}/adyen/body.json"),
            &[
                "2 events in the body\n",
                "id      7914073381342284.AUTHORISATION.true\n",
                "time    2026-01-15T10:00:00Z\n",
            ],
        ),
        (
            "twilio",
            format!("{examples}/twilio/body.form"),
            &["type    delivered\n", "fate    stored"],
        ),
        (
            "slack",
            handshake.to_str().unwrap().to_owned(),
            &["a handshake: it is answered, and is no event\n"],
        ),
        (
            "adyen",
            handshake.to_str().unwrap().to_owned(),
            &["fate    dead-lettered, no_items: "],
        ),
        (
            "github",
            path.to_str().unwrap().to_owned(),
            &["fate    dead-lettered, "],
        ),
    ] {
        let headers = format!("{examples}/{source}/headers.txt");
        let arguments = ["sources", "try", "--sources", path.to_str().unwrap()];
        let more = ["--source", source, "--headers", &headers, &body];
        let (code, told) = eventflow(&[&arguments[..], &more].concat(), &[]);
        assert_eq!(code, Some(0), "{source}: {told}");
        for part in expected {
            assert!(told.contains(part), "{source}: {part:?} is not in {told}");
        }
    }
    let arguments = [
        "sources",
        "try",
        "--source",
        "nobody",
        path.to_str().unwrap(),
    ];
    let (code, told) = eventflow(&arguments, &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("there is no source \"nobody\""), "{told}");
}

#[test]
fn a_source_is_shown_with_all_that_its_preset_brings() {
    let entry = |name: &str, more: &str| {
        format!(
            "[[source]]\nname = {name:?}\n{more}\nsecrets = [{{ id = \"k\", from = \"env:S\" }}]\n"
        )
    };
    let text = [
        entry(
            "hub",
            "preset = \"github\"\nevent = { entity = \"/sender/login\" }",
        ),
        entry("pay", "preset = \"adyen\""),
        entry("face", "preset = \"meta\""),
        entry(
            "home",
            "scheme = \"stripe\"\ngzip = \"plain\"\nbatches = false",
        ),
        entry("own", "preset = \"eventflow\"\nbatches = true"),
    ];
    let (_folder, path) = file(&text.concat());
    for (name, parts) in [
        (
            "hub",
            &[
                "body          [\"json\", \"form:payload\"]\n",
                "mapping       id = \"header:x-github-delivery\"\n",
                "type = { join = [\"header:x-github-event\", \"/action\"], with = \".\" }\n",
                "entity = \"/sender/login\"\n",
                "payload = \"\"\n",
                "contract = \"github.{type}\"\n",
                "filter = [\"ping\"]\n",
            ][..],
        ),
        (
            "pay",
            &[
                "items         \"/notificationItems\"\n",
                "answer        { body = \"[accepted]\" }\n",
            ],
        ),
        (
            "face",
            &[
                "handshake     GET, not signed, when { \"query:hub.mode\" = \"subscribe\"",
                "the source has no verify_token",
            ],
        ),
        (
            "home",
            &[
                "gzip          \"plain\"\n",
                "mapping       none: events are read in EventFlow's own envelope\n",
                "id = \"/event_id\"\n",
            ],
        ),
        ("own", &["POST /api/webhooks/own/batch\n"]),
    ] {
        let arguments = ["sources", "show", name, "--sources", path.to_str().unwrap()];
        let (code, shown) = eventflow(&arguments, &[("S", "LEAKED")]);
        assert_eq!(code, Some(0), "{shown}");
        for part in parts {
            assert!(shown.contains(part), "{name}: {part:?} is not in {shown}");
        }
        crate::assert_clean("show", &shown);
    }
}

#[test]
fn a_running_edge_is_asked_when_each_secret_was_last_used() {
    const SAID: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
        {\"sources\":[{\"name\":\"acme\",\"scheme\":\"stripe\",\"secrets\":[\
        {\"id\":\"2026-11\",\"last_matched_at\":1768478400,\"last_used_expired_at\":null},\
        {\"id\":\"2026-05\",\"last_matched_at\":null,\"last_used_expired_at\":1768478401},\
        {\"id\":\"2025\",\"last_matched_at\":null,\"last_used_expired_at\":null}]}]}";
    let (_folder, path) = file(FILE);
    let show = |edge: &str, name: &str| {
        let file = path.to_str().unwrap();
        eventflow(
            &["sources", "show", name, "--sources", file, "--edge", edge],
            &[],
        )
    };
    let (url, taken) = crate::send::edge(SAID);
    let (code, shown) = show(&url, "acme");
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(taken.join().unwrap().0, "GET /sources HTTP/1.1");
    for part in [
        "secrets       2026-11: last matched ",
        "(2026-01-15 12:00:00 UTC)\n",
        "2026-05 until 2026-12-01T00:00:00Z: not matched since the edge started; EXPIRED AND STILL USED, last ",
        "(2026-01-15 12:00:01 UTC)\n",
        "2025: the edge has it, and the file does not\n",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let (url, taken) = crate::send::edge(SAID);
    let (code, shown) = show(&url, "lab");
    taken.join().unwrap();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("this edge has no source \"lab\""), "{shown}");
}
