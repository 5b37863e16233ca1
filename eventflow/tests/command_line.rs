//! The command line, as a person meets it: `--check` and `--help` of every role, and no secret in anything it says.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpListener;
use std::process::{Command, Stdio};

const ROLES: [&str; 7] = [
    "producer",
    "validator",
    "analytics",
    "persistence",
    "recovery",
    "simulator",
    "registry",
];
/// Every variable that can hold a secret, with one in it.
const SECRETS: [(&str, &str); 9] = [
    ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "LEAKED-signing-secret"),
    ("EVENTFLOW_INGEST_API_KEY", "LEAKED-api-key"),
    (
        "EVENTFLOW_DATABASE_URL",
        "postgres://user:LEAKED-database-password@127.0.0.1:1/database",
    ),
    ("EVENTFLOW_KAFKA_PASSWORD", "LEAKED-kafka-password"),
    (
        "EVENTFLOW_KAFKA_CONFIG",
        "ssl.key.password=LEAKED-key-password",
    ),
    ("EVENTFLOW_REGISTRY_PASSWORD", "LEAKED-registry-password"),
    (
        "EVENTFLOW_REGISTRY_URL",
        "http://user:LEAKED-registry-url@127.0.0.1:1",
    ),
    (
        "EVENTFLOW_WEBHOOK_URL",
        "http://user:LEAKED-webhook-url@127.0.0.1:1/hook",
    ),
    ("EVENTFLOW_RECOVERY_TOKEN", "LEAKED-recovery-token"),
];
/// What on-call types.
const ON_CALL: [&str; 28] = [
    "dlq",
    "dlq ls",
    "dlq groups",
    "dlq show",
    "dlq stats",
    "dlq edit",
    "dlq discard",
    "dlq export",
    "dlq import",
    "dlq log",
    "replay",
    "replay plan",
    "replay dry-run",
    "replay apply",
    "replay approve",
    "replay status",
    "replay pause",
    "replay resume",
    "replay stop",
    "replay history",
    "trace",
    "audit",
    "explain",
    "completions",
    "recovery reindex",
    "dlq --direct ls",
    "replay --json history",
    "help replay apply",
];

/// Runs to the end; the exit code and everything that was said. Nothing of the caller's environment is inherited.
fn eventflow(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), said)
}

#[test]
fn a_fine_configuration_says_so_and_exits_0_for_every_role() {
    for role in ROLES {
        let (code, said) = eventflow(
            &[role, "--check"],
            &[("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret")],
        );
        assert_eq!(
            (code, said.as_str()),
            (Some(0), "configuration is fine\n"),
            "{role}"
        );
        let (code, said) = eventflow(&[role, "--check"], &SECRETS);
        assert_eq!(
            (code, said.as_str()),
            (Some(0), "configuration is fine\n"),
            "{role} with everything set"
        );
    }
}

/// Flags no role can work with, and the setting that must be named.
fn bad_values(role: &str) -> Vec<(&'static [&'static str], &'static str)> {
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
            (&["--linger-ms", "1500"], "--linger-ms"),
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
            let environment = [("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret")];
            let (code, said) = eventflow(&[&[role, "--check"], flags].concat(), &environment);
            if code != Some(2) || !said.contains(named) || said.contains("is fine") {
                wrong.push(format!("{role} {flags:?}: exit {code:?}, {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_breaker_is_turned_off_by_name_and_its_former_flags_still_work() {
    let fine: [(&str, &[&str], &[(&str, &str)]); 6] = [
        ("validator", &["--breaker", "off"], &[]),
        ("validator", &["--breaker-share", "2"], &[]),
        ("persistence", &[], &[("EVENTFLOW_BREAKER_SHARE", "0.9")]),
        (
            "persistence",
            &[],
            &[
                ("EVENTFLOW_MAX_DEAD_LETTER_RATIO", "0.9"),
                ("EVENTFLOW_BREAKER_SHARE", "nonsense"),
            ],
        ),
        // It never dead-letters: what it was told of that never had a use.
        ("analytics", &["--topic-dlq", "a", "--breaker-share=2"], &[]),
        ("analytics", &["--breaker-window", "9"], &[]),
    ];
    for (role, flags, environment) in fine {
        let (code, said) = eventflow(&[&[role, "--check"], flags].concat(), environment);
        assert_eq!(code, Some(0), "{role} {flags:?} {environment:?}: {said}");
    }
    let (code, said) = eventflow(
        &["validator", "--check"],
        &[("EVENTFLOW_BREAKER_SHARE", "nonsense")],
    );
    assert!(
        code == Some(2) && said.contains("--max-dead-letter-ratio"),
        "{said}"
    );
    let (_, help) = eventflow(&["analytics", "--help"], &[]);
    assert!(!help.contains("dlq") && !help.contains("breaker"), "{help}");
}

#[test]
fn only_stages_that_dead_letter_offer_replays_and_admin_topics_names_their_groups() {
    for (arguments, offered) in [
        (&["validator", "--help"][..], true),
        (&["persistence", "--help"], true),
        (&["analytics", "--help"], false),
        (&["producer", "--help"], false),
    ] {
        let (_, said) = eventflow(arguments, &[]);
        assert_eq!(
            (
                said.contains("--topic-retry"),
                said.contains("--max-replays")
            ),
            (offered, offered),
            "{arguments:?}: {said}"
        );
    }
    let (_, said) = eventflow(&["admin", "topics", "apply", "--help"], &[]);
    assert!(
        said.contains("--retry-group <NAME>") && said.contains("--lose-data"),
        "{said}"
    );
    for (wrong, names) in [
        (["--retry-group", "a b"], "--retry-group"),
        (["--principal", "anna"], "--principal"),
        (["--file", "/no/such/file"], "--file"),
    ] {
        for work in ["apply", "check"] {
            let (code, said) = eventflow(&[&["admin", "topics", work][..], &wrong].concat(), &[]);
            assert!(code == Some(2) && said.contains(names), "{said}");
        }
    }
}

/// Asserts that none of the secrets is in what was said.
fn clean(what: &str, said: &str) {
    assert!(
        !said.is_empty(),
        "{what} says nothing, so this proves nothing"
    );
    assert!(!said.contains("LEAKED"), "{what} shows a secret: {said}");
}

#[test]
fn a_program_built_without_msk_iam_says_so() {
    let (code, said) = eventflow(
        &["validator", "--check", "--kafka-security", "aws-msk-iam"],
        &[("AWS_REGION", "eu-west-1")],
    );
    let expected = if cfg!(feature = "msk-iam") {
        (Some(0), "configuration is fine")
    } else {
        (Some(2), "--features msk-iam")
    };
    assert!(code == expected.0 && said.contains(expected.1), "{said}");
}

#[test]
fn a_migration_that_cannot_be_made_is_not_taken_for_one() {
    let away = [
        "admin",
        "migrate",
        "--kafka-brokers",
        "127.0.0.1:1",
        "--database-url",
        "postgres://me@127.0.0.1:1/db",
        "--seconds",
        "5",
    ];
    let (code, said) = eventflow(&away, &[]);
    assert!(
        code == Some(1)
            && said.contains("persistence is not migrated within 5 s: ")
            && said.contains("Kafka"),
        "{said}"
    );
}

#[test]
fn a_healthcheck_asks_the_role_of_this_machine() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, said) = eventflow(&["healthcheck", "--ops-listen", &closed.to_string()], &[]);
    assert!(
        code == Some(1) && said.contains("nothing answers at 127.0.0.1"),
        "{said}"
    );
    // Whatever a role answers: 200 is alive, anything else is not, and why.
    for (status, healthy) in [("200 OK", true), ("503 Service Unavailable", false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let everywhere = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
        let role = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 6\r\nconnection: close\r\n\r\nreason"
            )
            .unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let (code, said) = eventflow(
            &["healthcheck", "--ready"],
            &[("EVENTFLOW_OPS_LISTEN", &everywhere)],
        );
        assert!(role.join().unwrap().starts_with("GET /ready HTTP/1.1"));
        assert!(
            code == Some(i32::from(!healthy)) && said.contains("reason"),
            "{said}"
        );
    }
}

#[test]
fn no_help_text_shows_a_secret_of_the_environment() {
    let more = [
        "load",
        "simulator load",
        "demo",
        "admin",
        "admin topics",
        "admin topics apply",
        "admin topics check",
        "admin migrate",
    ];
    for role in ROLES.into_iter().chain(more) {
        for help in ["--help", "-h"] {
            let arguments: Vec<&str> = role.split(' ').chain([help]).collect();
            let (code, said) = eventflow(&arguments, &SECRETS);
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains("Usage:"), "{said}");
            clean(&format!("{role} {help}"), &said);
        }
    }
}

#[test]
fn every_command_of_on_call_has_a_manual_with_an_example_and_exit_codes_and_no_secret() {
    for command in ON_CALL {
        for help in ["--help", "-h"] {
            let arguments: Vec<&str> = command.split(' ').chain([help]).collect();
            let arguments = if command.starts_with("help") {
                arguments[..arguments.len() - 1].to_vec()
            } else {
                arguments
            };
            let (code, said) = eventflow(&arguments, &SECRETS);
            assert_eq!(code, Some(0), "{command}: {said}");
            clean(&format!("{command} {help}"), &said);
            if !["dlq", "replay"].contains(&command) {
                assert!(
                    said.contains("Example"),
                    "{command} {help} has no example: {said}"
                );
            }
            if help == "--help" && !["completions", "recovery reindex"].contains(&command) {
                assert!(
                    said.contains("Exit codes: 0 done"),
                    "{command} does not tell its exit codes: {said}"
                );
            }
        }
    }
    for (wrong, says) in [
        (&["dlq", "ls", "--no-such-flag"][..], "--no-such-flag"),
        (&["dlq", "ls", "--state", "opn"], "opn"),
        (&["dlq", "ls", "--since", "yesterday"], "--since"),
        (&["dlq", "discard", "1"], "--reason"),
        (&["replay", "apply", "--rate", "fast"], "--rate"),
        (&["trace"], "<WHAT>"),
    ] {
        let (code, said) = eventflow(wrong, &SECRETS);
        assert!(
            code == Some(2) && said.contains(says),
            "{wrong:?}: {code:?} {said}"
        );
        clean(&format!("{wrong:?}"), &said);
    }
}

#[test]
fn no_refused_configuration_and_no_failing_start_shows_a_secret() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for role in ROLES {
        for (flags, _) in bad_values(role) {
            let (code, said) = eventflow(&[&[role, "--check"], flags].concat(), &SECRETS);
            // With a password in the environment SASL is complete, and that is all that may change.
            assert!(
                code == Some(2) || flags.contains(&"--kafka-username"),
                "{role} {flags:?}: {said}"
            );
            clean(&format!("{role} {flags:?}"), &said);
        }
        let listen = if ["simulator", "registry"].contains(&role) {
            "--listen"
        } else {
            "--ops-listen"
        };
        let (code, said) = eventflow(
            &[role, listen, &address],
            &[&SECRETS[..], &[("EVENTFLOW_LOG", "trace")]].concat(),
        );
        assert_eq!(code, Some(2), "{role}: {said}");
        assert!(said.contains(listen), "{said}");
        clean(&format!("{role} on a taken port"), &said);
    }
}

#[test]
fn a_secret_in_a_setting_that_is_itself_wrong_is_not_quoted_back() {
    for (role, variable, value) in [
        // A typing error in the name: the client names the property, and must not show what it was set to.
        (
            "producer",
            "EVENTFLOW_KAFKA_CONFIG",
            "ssl.key.pasword=LEAKED",
        ),
        (
            "validator",
            "EVENTFLOW_KAFKA_CONFIG",
            "ssl.key.pasword=LEAKED",
        ),
        // A semicolon separates settings: the second half of such a password looks like one.
        (
            "analytics",
            "EVENTFLOW_KAFKA_CONFIG",
            "ssl.key.password=first;LEAKED",
        ),
        ("persistence", "EVENTFLOW_KAFKA_CONFIG", "LEAKED"),
        (
            "persistence",
            "EVENTFLOW_DATABASE_URL",
            "postgres://user:LEAKED@127.0.0.1:99999/database",
        ),
        (
            "persistence",
            "EVENTFLOW_DATABASE_URL",
            "mysql://user:LEAKED@127.0.0.1/database",
        ),
        (
            "persistence",
            "EVENTFLOW_DATABASE_URL",
            "user:LEAKED@127.0.0.1/database",
        ),
        (
            "recovery",
            "EVENTFLOW_DATABASE_URL",
            "mysql://user:LEAKED@127.0.0.1/database",
        ),
        // The token itself where its reference belongs.
        (
            "recovery",
            "EVENTFLOW_RECOVERY_API_TOKENS",
            "alice:operator=LEAKED",
        ),
        (
            "validator",
            "EVENTFLOW_REGISTRY_URL",
            "user:LEAKED@127.0.0.1:8081",
        ),
        (
            "validator",
            "EVENTFLOW_REGISTRY_URL",
            "http://user:LEAKED@:8081",
        ),
        (
            "simulator",
            "EVENTFLOW_WEBHOOK_URL",
            "ftp://user:LEAKED@127.0.0.1/hook",
        ),
        (
            "simulator",
            "EVENTFLOW_WEBHOOK_URL",
            "user:LEAKED@127.0.0.1/hook",
        ),
    ] {
        let environment = [
            ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret"),
            (variable, value),
        ];
        for start in [&[role, "--check"][..], &[role]] {
            let (code, said) = eventflow(start, &environment);
            assert_eq!(code, Some(2), "{role} {variable}={value}: {said}");
            clean(&format!("{role} {variable}={value}"), &said);
        }
    }
    let environment = [("EVENTFLOW_KAFKA_CONFIG", "ssl.key.pasword=LEAKED")];
    for work in ["topics", "migrate"] {
        let (code, said) = eventflow(&["admin", work], &environment);
        assert_eq!(code, Some(2), "admin {work}: {said}");
        clean(&format!("admin {work}"), &said);
    }
}
