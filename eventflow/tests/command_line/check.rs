//! `--check` of every role: what is fine, and what is not, by the setting's name.

use crate::{ROLES, SECRETS, eventflow};

#[test]
fn a_fine_configuration_says_so_and_exits_0_for_every_role() {
    for role in ROLES {
        let (code, output) = eventflow(
            &[role, "--check"],
            &[
                ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret"),
                ("EVENTFLOW_DATABASE_URL", "postgres://me@127.0.0.1/db"),
            ],
        );
        assert_eq!(
            (code, output.as_str()),
            (Some(0), "configuration is fine\n"),
            "{role}"
        );
        let (code, output) = eventflow(&[role, "--check"], &SECRETS);
        assert_eq!(
            (code, output.as_str()),
            (Some(0), "configuration is fine\n"),
            "{role} with everything set"
        );
    }
}

/// Flags no role can work with, and the setting that must be named.
pub(crate) fn bad_values(role: &str) -> Vec<(&'static [&'static str], &'static str)> {
    let kafka: &[(&[&str], &str)] = &[
        (&["--kafka-brokers", " "], "--kafka-brokers"),
        (&["--kafka-security", "none"], "--kafka-security"),
        (&["--kafka-security", "sasl-tls"], "--kafka-username"),
        (
            &["--kafka-security", "sasl-tls", "--kafka-username", "u"],
            "--kafka-password",
        ),
        (&["--kafka-ca", "/nowhere/ca.pem"], "--kafka-ca"),
        (&["--kafka-config", "no-equals-sign"], "--kafka-config"),
        (
            &["--kafka-config", "no.such.property=1"],
            "no.such.property",
        ),
        (
            &["--kafka-config", "session.timeout.ms=never"],
            "session.timeout.ms",
        ),
        (&["--ops-listen", "nowhere"], "--ops-listen"),
    ];
    let stage: &[(&[&str], &str)] = &[
        (&["--registry-url", ""], "--registry-url"),
        (&["--registry-url", "no url"], "--registry-url"),
        (&["--registry-url", "127.0.0.1:8081"], "--registry-url"),
        (&["--registry-url", "ftp://127.0.0.1"], "--registry-url"),
        (&["--batch-records", "0"], "--batch-records"),
        (
            &["--batch-age-ms", "18446744073709551615"],
            "--batch-age-ms",
        ),
        (&["--topic-validated", "a/b"], "--topic-validated"),
        (&["--group", ""], "--group"),
    ];
    let dead_letters: &[(&[&str], &str)] = &[
        (
            &["--max-dead-letter-ratio", "NaN"],
            "--max-dead-letter-ratio",
        ),
        (&["--max-dead-letter-ratio=-0.1"], "--max-dead-letter-ratio"),
        (&["--breaker-share=-0.1"], "--max-dead-letter-ratio"),
        (&["--breaker", "perhaps"], "--breaker"),
        (&["--breaker-window", "0"], "--breaker-window"),
        (
            &["--breaker-window", "18446744073709551615"],
            "--breaker-window",
        ),
        (&["--topic-dlq", ""], "--topic-dlq"),
        (&["--topic-dlq", "a b"], "--topic-dlq"),
    ];
    let own: &[(&[&str], &str)] = match role {
        "producer" => &[
            (&["--listen", "everywhere"], "--listen"),
            (&["--sources", "/nowhere/sources.toml"], "--sources"),
            (
                &["--webhook-signing-secret", ""],
                "--webhook-signing-secret",
            ),
            (&["--topic-raw", ".."], "--topic-raw"),
            (&["--max-in-flight", "0"], "--max-in-flight"),
            (
                &["--max-in-flight", "18446744073709551615"],
                "--max-in-flight",
            ),
            (
                &["--max-connections", "18446744073709551615"],
                "--max-connections",
            ),
            (&["--queue-records", "99999999999"], "--queue-records"),
            (&["--queue-mebibytes", "0"], "--queue-mebibytes"),
            (
                &["--queue-mebibytes", "99999999999999"],
                "--queue-mebibytes",
            ),
            (&["--publish-deadline-ms", "0"], "--publish-deadline-ms"),
            (
                &["--publish-deadline-ms", "99999999999"],
                "--publish-deadline-ms",
            ),
            (&["--linger-ms", "4500"], "--linger-ms"),
            (&["--header-timeout-ms", "0"], "--header-timeout-ms"),
            (&["--body-timeout-ms", "0"], "--body-timeout-ms"),
            (&["--batch-max-events", "0"], "--batch-max-events"),
        ],
        "validator" => &[
            (&["--contracts", "/nowhere"], "--contracts"),
            (&["--topic-raw", ""], "--topic-raw"),
            (&["--topic-retry", "a b"], "--topic-retry"),
            (&["--topic-retry", "events.raw.v1"], "--topic-retry"),
            (&["--topic-retry", "events.validated.v1"], "--topic-retry"),
            (&["--topic-retry", "events.dlq.v1"], "--topic-retry"),
            (
                &["--group", "a group", "--max-replays", "1"],
                "--topic-retry",
            ),
            (&["--max-replays=-1"], "--max-replays"),
        ],
        // It reads no replays, so it has no setting for them.
        "analytics" => &[
            (&["--topic-retry", "t"], "--topic-retry"),
            (&["--max-replays", "1"], "--max-replays"),
        ],
        "persistence" => &[
            (&["--topic-retry", ""], "--topic-retry"),
            (
                &["--topic-retry", "same", "--topic-dlq", "same"],
                "--topic-dlq",
            ),
            (
                &["--topic-retry", "events.validated.v1"],
                "--topic-validated",
            ),
            (&["--max-replays", "4294967296"], "--max-replays"),
            (&["--database-url", "no url"], "--database-url"),
            (&["--database-url", ""], "EVENTFLOW_DATABASE_URL"),
            (
                &[
                    "--database-url",
                    "postgres://one,two/d?target_session_attrs=standby",
                ],
                "target_session_attrs",
            ),
            (
                &["--database-url", "mysql://u:p@127.0.0.1/d"],
                "--database-url",
            ),
            (
                &["--database-url", "postgres://127.0.0.1/d?sslmode=perhaps"],
                "--database-url",
            ),
        ],
        "recovery" => &[
            (&["--listen", "everywhere"], "--listen"),
            (&["--database-url", "no url"], "--database-url"),
            (
                &["--database-url", "postgres://127.0.0.1/d?sslmode=perhaps"],
                "--database-url",
            ),
            (&["--registry-url", "ftp://127.0.0.1"], "--registry-url"),
            (&["--contracts", "/nowhere"], "--contracts"),
            (&["--sources", "/nowhere/sources.toml"], "--sources"),
            (&["--topic-raw", ".."], "--topic-raw"),
            (&["--topic-dlq", "a b"], "--topic-dlq"),
        ],
        "simulator" => &[
            (&["--listen", "everywhere"], "--listen"),
            (&["--webhook-url", "no url"], "--webhook-url"),
            (&["--webhook-url", "ftp://127.0.0.1"], "--webhook-url"),
            (&["--duplicate-rate", "2"], "--duplicate-rate"),
            (&["--fault", "gremlins=0.1"], "--fault"),
            (&["--auto-stream-rps", "NaN"], "--auto-stream-rps"),
            (&["--auto-stream-amount", "0"], "--auto-stream-amount"),
            (
                &["--webhook-timeout-seconds", "0"],
                "--webhook-timeout-seconds",
            ),
        ],
        "registry" => &[
            (&["--listen", "everywhere"], "--listen"),
            (&["--contracts", "/nowhere"], "--contracts"),
        ],
        _ => &[],
    };
    let shared = match role {
        "producer" | "recovery" => vec![kafka],
        "analytics" => vec![kafka, stage],
        "validator" | "persistence" => vec![kafka, stage, dead_letters],
        _ => vec![],
    };
    shared.into_iter().chain([own]).flatten().copied().collect()
}

#[test]
fn a_bad_value_exits_2_and_names_the_setting_for_every_role() {
    let mut wrong = Vec::new();
    for role in ROLES {
        let cases = bad_values(role);
        for (flags, named) in cases
            .into_iter()
            .chain([(&["--no-such-flag"][..], "--no-such-flag")])
        {
            let environment = [
                ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret"),
                ("EVENTFLOW_DATABASE_URL", "postgres://me@127.0.0.1/db"),
            ];
            let (code, output) = eventflow(&[&[role, "--check"], flags].concat(), &environment);
            if code != Some(2) || !output.contains(named) || output.contains("is fine") {
                wrong.push(format!("{role} {flags:?}: exit {code:?}, {output}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_program_built_without_msk_iam_says_so() {
    let (code, output) = eventflow(
        &["validator", "--check", "--kafka-security", "aws-msk-iam"],
        &[("AWS_REGION", "eu-west-1")],
    );
    let expected = if cfg!(feature = "msk-iam") {
        (Some(0), "configuration is fine")
    } else {
        (Some(2), "--features msk-iam")
    };
    assert!(
        code == expected.0 && output.contains(expected.1),
        "{output}"
    );
}
