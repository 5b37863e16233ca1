//! Typed wrongly, or with something missing: exit code 2, one line that names it, no secret, and nothing was sent.

use crate::{SECRET, smoke};

const SECRETS: [(&str, &str); 4] = [
    ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "LEAKED-signing-secret"),
    ("EVENTFLOW_RECOVERY_TOKEN", "LEAKED-token"),
    (
        "EVENTFLOW_DATABASE_URL",
        "postgres://user:LEAKED@127.0.0.1:1/database",
    ),
    ("PATH", "/nowhere"),
];

#[tokio::test]
async fn wrong_usage_ends_with_2_and_names_the_setting() {
    let url = "--url=http://127.0.0.1:1";
    for (arguments, names) in [
        (&["--batch=20"][..], "--url"),
        (&["--url=somewhere"], "--url"),
        (&["--url=ftp://127.0.0.1"], "--url"),
        (&["--url=http://user:LEAKED@127.0.0.1"], "--url"),
        (&["--url=http://127.0.0.1/?a=b"], "--url"),
        (&["--url=http://127.0.0.1/api/webhooks/acme/batch"], "--url"),
        (
            &["--url=http://127.0.0.1/api/webhooks/acme", "--source=other"],
            "--source",
        ),
        (&[url, "--source=a/b"], "--source"),
        (&[url, "--batch=0"], "--batch"),
        (&[url, "--batch=1001"], "--batch"),
        (&[url, "--deadline=soon"], "--deadline"),
        (&[url, "--deadline=0"], "--deadline"),
        (&[url, "--ca-file=/nowhere/ca.pem"], "--ca-file"),
        (&[url, "--ca=/dev/null"], "--ca-file"),
        (&[url, "--recovery-url=ftp://127.0.0.1"], "--recovery-url"),
        (
            &[url, "--recovery-url=http://192.0.2.1:8004"],
            "--insecure-http",
        ),
        (
            &[
                url,
                "--recovery-url=http://127.0.0.1:1",
                "--database-url=postgres://127.0.0.1/d",
            ],
            "one of them",
        ),
        (
            &[url, "--recovery-url=http://127.0.0.1:1", "--database"],
            "one of them",
        ),
        (
            &[url, "--database-url=mysql://u:LEAKED@127.0.0.1/d"],
            "--database-url",
        ),
        (&[url, "--no-such-flag"], "--no-such-flag"),
    ] {
        let output = smoke(arguments, &SECRETS).await;
        assert_eq!(output.code, Some(2), "{arguments:?}: {output:?}");
        assert!(
            output.err.contains(names) && !output.err.contains("LEAKED"),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(output.out, "", "nothing was sent");
    }
}

#[tokio::test]
async fn a_missing_secret_and_a_missing_way_to_recovery_are_named() {
    let url = "--url=http://127.0.0.1:1";
    for environment in [&[][..], &[("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "")]] {
        let output = smoke(&[url], environment).await;
        assert!(
            output.code == Some(2) && output.err.contains("EVENTFLOW_WEBHOOK_SIGNING_SECRET"),
            "{output:?}"
        );
    }
    // An empty variable is as none: CI sets it so.
    let environment = [
        ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", SECRET),
        ("EVENTFLOW_RECOVERY_URL", ""),
    ];
    let output = smoke(&[url, "--require-fates"], &environment).await;
    assert!(
        output.code == Some(2) && output.err.contains("give --recovery-url"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_manual_tells_the_checks_an_example_and_exit_codes_and_no_secret() {
    for help in ["--help", "-h"] {
        let output = smoke(&[help], &SECRETS).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(
            output.out.contains("Example: eventflow smoke --url") && !output.out.contains("LEAKED"),
            "{output:?}"
        );
        let flags = [
            "--recovery-url",
            "--database-url",
            "--require-fates",
            "--deadline",
            "--ca-file",
            "--json",
        ];
        assert!(
            flags.iter().all(|flag| output.out.contains(flag)),
            "{output:?}"
        );
    }
    let output = smoke(&["--help"], &[]).await;
    let words: Vec<&str> = output.out.split_whitespace().collect();
    let text = words.join(" ");
    assert!(
        text.contains(
            "Exit codes: 0 every requested check passed; 1 a check failed; 2 wrong usage"
        ),
        "{text}"
    );
    for check in [
        "ready",
        "accepted",
        "tampered",
        "stale",
        "stored",
        "duplicate",
        "corrupted",
        "batch",
        "audit",
    ] {
        assert!(text.contains(&format!("{check} (")), "{check}: {text}");
    }
}
