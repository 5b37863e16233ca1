//! Former spellings of flags and commands still parse for one release, and no help shows them.

use crate::eventflow;

/// The command, its former spelling as typed, and the flag or command that replaced it.
const FORMER: [(&[&str], &[&str], &str); 10] = [
    (&["demo"], &["--for", "1s"], "--duration"),
    (&["demo"], &["--kafka", "127.0.0.1:1"], "--kafka-brokers"),
    (&["dlq", "ls"], &["--direct"], "--database"),
    (&["audit"], &["--direct"], "--database"),
    (&["smoke"], &["--direct"], "--database"),
    (&["dlq"], &["log"], "audit-log"),
    (&["replay"], &["history"], "ls"),
    (
        &["admin", "topics", "apply"],
        &["--lose-data"],
        "--allow-data-loss",
    ),
    (
        &["admin", "topics", "apply"],
        &["--file", "pipeline.json"],
        "--pipeline",
    ),
    (
        &["admin", "topics", "check"],
        &["--file", "pipeline.json"],
        "--pipeline",
    ),
];

#[test]
fn a_former_spelling_parses_and_help_shows_only_its_replacement() {
    for (command, former, replacement) in FORMER {
        // --help wins over everything that parses, and over nothing that does not.
        let (code, output) = eventflow(&[command, former, &["--help"]].concat(), &[]);
        assert_eq!(code, Some(0), "{command:?} {former:?}: {output}");
        let (_, shown) = eventflow(&[command, &["--help"][..]].concat(), &[]);
        let listed = |spelling: &str| {
            shown.lines().any(|line| {
                let mut words = line.split([' ', ',']).filter(|word| !word.is_empty());
                words.next() == Some(spelling) || words.next() == Some(spelling)
            })
        };
        assert!(listed(replacement), "{command:?}: {shown}");
        assert!(!listed(former[0]), "{command:?}: {shown}");
    }
    let (code, output) = eventflow(&["demo", "--no-such-flag", "1s", "--help"], &[]);
    assert_eq!(code, Some(2), "{output}");
}

#[test]
fn a_former_variable_is_read_when_the_new_one_is_not_set() {
    let check = ["admin", "topics", "check"];
    let former = ("EVENTFLOW_TOPICS", "/no/such/former.json");
    let (code, output) = eventflow(&check, &[former]);
    assert!(code == Some(2) && output.contains(former.1), "{output}");
    let new = ("EVENTFLOW_PIPELINE", "/no/such/new.json");
    let (code, output) = eventflow(&check, &[former, new]);
    assert!(code == Some(2) && output.contains(new.1), "{output}");
}

#[test]
fn the_breaker_is_turned_off_by_name_and_its_former_flags_still_work() {
    // Role, flags, environment
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);
    const DATABASE: &[&str] = &["--database-url=postgres://me@127.0.0.1/db"];
    let fine: [Case<'_>; 6] = [
        ("validator", &["--breaker", "off"], &[]),
        ("validator", &["--breaker-share", "2"], &[]),
        (
            "persistence",
            DATABASE,
            &[("EVENTFLOW_BREAKER_SHARE", "0.9")],
        ),
        (
            "persistence",
            DATABASE,
            &[
                ("EVENTFLOW_MAX_DEAD_LETTER_RATIO", "0.9"),
                ("EVENTFLOW_BREAKER_SHARE", "nonsense"),
            ],
        ),
        // It never dead-letters: these flags never had an effect.
        ("analytics", &["--topic-dlq", "a", "--breaker-share=2"], &[]),
        ("analytics", &["--breaker-window", "9"], &[]),
    ];
    for (role, flags, environment) in fine {
        let (code, output) = eventflow(&[&[role, "--check"], flags].concat(), environment);
        assert_eq!(code, Some(0), "{role} {flags:?} {environment:?}: {output}");
    }
    let (code, output) = eventflow(
        &["validator", "--check"],
        &[("EVENTFLOW_BREAKER_SHARE", "nonsense")],
    );
    assert!(
        code == Some(2) && output.contains("--max-dead-letter-ratio"),
        "{output}"
    );
    let (_, help) = eventflow(&["analytics", "--help"], &[]);
    assert!(!help.contains("dlq") && !help.contains("breaker"), "{help}");
}
