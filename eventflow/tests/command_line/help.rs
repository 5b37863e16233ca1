//! `--help` of every command: complete, and without a secret of the environment.

use crate::{ROLES, SECRETS, assert_clean, eventflow};

/// On-call's commands.
const ON_CALL: [&str; 35] = [
    "dlq",
    "dlq ls",
    "dlq groups",
    "dlq show",
    "dlq stats",
    "dlq edit",
    "dlq discard",
    "dlq export",
    "dlq audit-log",
    "replay",
    "replay plan",
    "replay dry-run",
    "replay apply",
    "replay approve",
    "replay status",
    "replay pause",
    "replay resume",
    "replay stop",
    "replay ls",
    "revalidate",
    "revalidate plan",
    "revalidate apply",
    "rejections",
    "rejections ls",
    "rejections groups",
    "rejections show",
    "rejections explain",
    "trace",
    "audit",
    "explain",
    "completions",
    "recovery reindex",
    "dlq --database ls",
    "replay --json ls",
    "help replay apply",
];

#[test]
fn only_stages_that_dead_letter_offer_replays_and_admin_topics_names_their_groups() {
    for (arguments, offered) in [
        (&["validator", "--help"][..], true),
        (&["persistence", "--help"], true),
        (&["analytics", "--help"], false),
        (&["producer", "--help"], false),
    ] {
        let (_, output) = eventflow(arguments, &[]);
        assert_eq!(
            (
                output.contains("--topic-retry"),
                output.contains("--max-replays")
            ),
            (offered, offered),
            "{arguments:?}: {output}"
        );
    }
    let (_, output) = eventflow(&["admin", "topics", "apply", "--help"], &[]);
    assert!(
        output.contains("--retry-group <NAME>") && output.contains("--allow-data-loss"),
        "{output}"
    );
    for (wrong, names) in [
        (["--retry-group", "a b"], "--retry-group"),
        (["--principal", "anna"], "--principal"),
        (["--pipeline", "/no/such/file"], "--pipeline"),
    ] {
        for work in ["apply", "check"] {
            let (code, output) = eventflow(&[&["admin", "topics", work][..], &wrong].concat(), &[]);
            assert!(code == Some(2) && output.contains(names), "{output}");
        }
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
        "admin views apply",
        "admin views ls",
        "admin views drop",
    ];
    for role in ROLES.into_iter().chain(more) {
        for help in ["--help", "-h"] {
            let arguments: Vec<&str> = role.split(' ').chain([help]).collect();
            let (code, output) = eventflow(&arguments, &SECRETS);
            assert_eq!(code, Some(0), "{output}");
            assert!(output.contains("Usage:"), "{output}");
            assert_clean(&format!("{role} {help}"), &output);
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
            let (code, output) = eventflow(&arguments, &SECRETS);
            assert_eq!(code, Some(0), "{command}: {output}");
            assert_clean(&format!("{command} {help}"), &output);
            if !["dlq", "replay", "revalidate", "rejections"].contains(&command) {
                assert!(
                    output.contains("Example"),
                    "{command} {help} has no example: {output}"
                );
            }
            if help == "--help" && !["completions", "recovery reindex"].contains(&command) {
                assert!(
                    output.contains("Exit codes: 0 done"),
                    "{command} does not tell its exit codes: {output}"
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
        let (code, output) = eventflow(wrong, &SECRETS);
        assert!(
            code == Some(2) && output.contains(says),
            "{wrong:?}: {code:?} {output}"
        );
        assert_clean(&format!("{wrong:?}"), &output);
    }
}
