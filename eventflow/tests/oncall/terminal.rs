//! In a terminal (`script` makes one): colours are ours alone, NO_COLOR is obeyed, a question is asked.

use crate::world::{CommandOutput, Way, World, output_of};
use std::process::Command;

/// Runs in a pseudo-terminal of 100 columns; what a person would see, escapes and all.
async fn in_terminal(world: &World, line: &str, no_color: bool, answer: &str) -> CommandOutput {
    let program = env!("CARGO_BIN_EXE_eventflow");
    let mut inner = Command::new("script");
    inner.args([
        "-qec",
        &format!("stty cols 100; {program} {line}"),
        "/dev/null",
    ]);
    inner.env_clear().envs(
        world
            .command(Way::Api, &[])
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    inner.env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    if no_color {
        inner.env("NO_COLOR", "1");
    }
    let typed = world.folder.path().join("typed");
    std::fs::write(&typed, answer).unwrap();
    inner.stdin(std::fs::File::open(&typed).unwrap());
    output_of(inner).await
}

/// Without our own colours, which are the only escapes there may be.
fn without_colours(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("\u{1b}[") {
        out.push_str(&rest[..start]);
        let end = rest[start + 2..]
            .find(|character: char| !character.is_ascii_digit() && character != ';')
            .unwrap()
            + start
            + 2;
        assert_eq!(
            &rest[end..=end],
            "m",
            "an escape that is no colour: {:?}",
            &rest[start..=end]
        );
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_vendor_reaches_the_terminal_and_lines_fit() {
    let world = World::new().await;
    let id = world.dead_letters("amount_not_positive", 2).await[0];
    for line in [
        "dlq ls",
        "dlq groups",
        &format!("dlq show {id}"),
        &format!("explain {id}"),
        "dlq ls --json",
        "trace evt_1",
        "dlq export",
    ] {
        let coloured = in_terminal(&world, line, false, "").await;
        assert_eq!(coloured.code, Some(0), "{line}: {coloured:?}");
        let shown = without_colours(&coloured.out);
        let bad: Vec<char> = shown
            .chars()
            .filter(|character| {
                (character.is_control() && !"\r\n".contains(*character)) || *character == '\u{202e}'
            })
            .collect();
        assert!(bad.is_empty(), "{line}: {bad:?} in {shown}");
        let plain = in_terminal(&world, line, true, "").await;
        assert!(
            !plain.out.contains('\u{1b}'),
            "{line} is coloured in spite of NO_COLOR: {}",
            plain.out
        );
    }
    let listed = in_terminal(&world, "dlq ls", false, "").await.out;
    assert!(listed.contains("\u{1b}["), "a terminal gets colours");
    let widest = without_colours(&listed)
        .lines()
        .map(|line| line.trim_end().chars().count())
        .max()
        .unwrap();
    assert!(widest <= 100, "{widest} columns:\n{listed}");
    assert!(
        without_colours(&listed).contains("DETAIL") && listed.contains("said "),
        "why it failed is pushed out:\n{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_before_anything_is_sent_and_no_is_the_answer_to_anything_else() {
    let world = World::new().await;
    let id = world.dead_letters("amount_not_positive", 1).await[0];
    world
        .run(
            Way::Api,
            &[
                "dlq",
                "edit",
                &id.to_string(),
                "--set",
                "/payload/amount=1.00",
            ],
        )
        .await
        .done();
    for answer in ["n\n", "\n", "what?\n"] {
        let output =
            in_terminal(&world, &format!("replay apply {id} --detach"), true, answer).await;
        assert_eq!(output.code, Some(3), "{output:?}");
        assert!(
            output.out.contains("Send 1 dead letter again? [y/N]") && output.out.contains("--yes"),
            "{output:?}"
        );
    }
    let output = in_terminal(&world, &format!("replay apply {id} --detach"), true, "y\n").await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.out.contains(": running"), "{output:?}");
}
