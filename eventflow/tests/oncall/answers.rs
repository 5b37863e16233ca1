//! What every command has in common: nothing to show, something found, recovery not reachable.

use crate::WAYS;
use crate::world::{HOSTILE, Way, World, json, output_of};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_index_says_so_and_what_to_try() {
    let world = World::new().await;
    for way in WAYS {
        let run = async |arguments: &[&str]| world.run(way, arguments).await.done();
        let listed = run(&["dlq", "ls"]).await;
        assert!(
            listed.starts_with("no open dead letters\n") && listed.contains("try: "),
            "{listed}"
        );
        assert!(run(&["dlq", "groups"]).await.contains("try: "));
        assert!(
            run(&["dlq", "ls", "--code", "not_json"])
                .await
                .starts_with("no open dead letter matches")
        );
        assert!(run(&["dlq", "stats"]).await.starts_with("0 open"));
        assert!(
            run(&["replay", "ls"])
                .await
                .contains("nothing was replayed")
        );
        // Nothing audited is not the same as nothing missing.
        world
            .run(way, &["audit"])
            .await
            .fails(1, "nothing was audited yet");
        assert_eq!(
            json(&run(&["dlq", "ls", "--json"]).await)["letters"],
            serde_json::json!([])
        );
        world
            .run(way, &["dlq", "show", "1"])
            .await
            .fails(1, "not_found");
        world
            .run(way, &["trace", "evt_nobody"])
            .await
            .fails(1, "not_found");
        world
            .run(way, &["replay", "apply", "--code", "not_json", "--yes"])
            .await
            .fails(1, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_finds_something_ends_with_1() {
    let world = World::new().await;
    sqlx::query("INSERT INTO audit_frontier VALUES ('events.raw.v1', 0, 0, 10, 10)")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO audit_findings VALUES ('events.raw.v1', 0, 7, 'gap', $1)")
        .bind(HOSTILE)
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO audit_pages (topic, partition, page, next_offset, stored, gap) VALUES ('events.raw.v1', 0, 0, 10, 9, 1)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for way in WAYS {
        let audit = world.run(way, &["audit"]).await;
        audit.fails(1, "1 gap and 0 double fates");
        assert!(audit.out.contains("WITHOUT a fate"), "{audit:?}");
        let audit = world.run(way, &["audit", "--json"]).await;
        assert_eq!(
            (audit.code, json(&audit.out)["gaps"].as_i64()),
            (Some(1), Some(1))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_command_from_recovery_is_one_line_that_says_what_to_do() {
    let world = World::new().await;
    let mut wrong = world.command(Way::Api, &["dlq", "ls"]);
    wrong.env("EVENTFLOW_RECOVERY_TOKEN", "LEAKED-and-wrong-token");
    let wrong = output_of(wrong).await;
    wrong.fails(2, "bad_token");
    assert!(!wrong.err.contains("LEAKED"));
    for (arguments, code, says) in [
        (
            &["dlq", "ls", "--api-url", "http://127.0.0.1:1"][..],
            1,
            "eventflow recovery",
        ),
        (
            &["dlq", "ls", "--api-url", "http://192.0.2.1:8004"],
            2,
            "--insecure-http",
        ),
        (
            &["dlq", "ls", "--api-url", "ftp://127.0.0.1"],
            2,
            "--api-url",
        ),
        (
            &["dlq", "ls", "--token-file", "/nowhere"],
            2,
            "--token-file",
        ),
        (&["dlq", "ls", "--ca-file", "/nowhere"], 2, "--ca-file"),
        (
            &[
                "dlq",
                "ls",
                "--database-url",
                "mysql://u:LEAKED@127.0.0.1/d",
            ],
            2,
            "--database-url",
        ),
        (
            &[
                "dlq",
                "ls",
                "--database-url",
                "postgres://u:LEAKED@127.0.0.1:1/d",
            ],
            1,
            "--database-url",
        ),
        (
            &[
                "dlq",
                "ls",
                "--database-url",
                "postgres://127.0.0.1/d",
                "--api-url",
                "http://127.0.0.1:1",
            ],
            2,
            "one of them",
        ),
    ] {
        let output = world.run(Way::Api, arguments).await;
        output.fails(code, says);
        assert!(
            !output.err.contains("LEAKED") && output.err.lines().count() == 1,
            "{output:?}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_eventflow"));
        command.args(["completions", shell]);
        assert!(output_of(command).await.out.contains("discard"), "{shell}");
    }
}
