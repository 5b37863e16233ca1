//! Every command by both ways: what it prints, what it answers to a script, how it ends.

use crate::world::{HOSTILE, Way, World, said};
use serde_json::Value;

const WAYS: [Way; 2] = [Way::Api, Way::Database];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

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
            run(&["replay", "history"])
                .await
                .contains("nothing was replayed")
        );
        // No verdict is no good verdict.
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
async fn dead_letters_are_read_by_people_and_by_scripts_and_never_by_the_terminal() {
    let world = World::new().await;
    let ids = world.dead_letters("amount_not_positive", 3).await;
    sqlx::query("UPDATE dead_letters SET state = 'resolved', resolution = 'stored', settled_at = clock_timestamp() - interval '3 hours' WHERE id = $1")
        .bind(ids[0])
        .execute(&world.pool)
        .await
        .unwrap();
    let id = ids[1].to_string();
    for way in WAYS {
        let run = async |arguments: &[&str]| world.run(way, arguments).await.done();
        let listed = run(&["dlq", "ls"]).await;
        assert!(
            listed.contains("3 h ago")
                && listed.contains("amount_not_positive")
                && listed.contains("evt_2"),
            "{listed}"
        );
        assert_eq!(
            listed
                .lines()
                .filter(|line| line.contains(" open "))
                .count(),
            2,
            "one line each:\n{listed}"
        );
        let limited = run(&["dlq", "ls", "--limit", "1"]).await;
        assert!(
            limited.contains(&format!("--before {}", ids[2])),
            "{limited}"
        );
        assert!(
            run(&["dlq", "ls", "--limit", "1", "--before", &ids[2].to_string()])
                .await
                .contains("evt_2")
        );
        let answer = json(&run(&["dlq", "ls", "--json"]).await);
        assert_eq!(
            answer["letters"][0]["detail"],
            format!("said {HOSTILE}").as_str()
        );
        assert!(
            run(&["dlq", "groups"])
                .await
                .contains("amount_not_positive")
        );
        let shown = run(&["dlq", "show", &id]).await;
        assert!(
            shown.contains("    \"amount\": \"-1.00\"")
                && shown.contains("x-note")
                && shown.contains("explain"),
            "{shown}"
        );
        assert_eq!(
            json(&run(&["dlq", "show", &id, "--json"]).await)["headers"][1][1],
            HOSTILE
        );
        assert!(
            run(&["dlq", "stats"])
                .await
                .starts_with("2 open, 0 replaying, 1 resolved")
        );
        assert!(run(&["explain", &id]).await.contains("next: "));
        assert!(run(&["trace", "evt_2"]).await.contains("event evt_2"));
        assert!(
            run(&["dlq", "ls", "--state", "discarded"])
                .await
                .contains("last one settled 3 h ago")
        );
        world.run(way, &["dlq", "ls", "--cod", "x"]).await.clean();
        assert_eq!(
            world.run(way, &["dlq", "ls", "--cod", "x"]).await.code,
            Some(2)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_edited_in_an_editor_or_by_a_word_and_refused_while_broken() {
    let world = World::new().await;
    let ids = world.dead_letters("amount_not_positive", 3).await;
    let edit = async |way: Way, script: &str, id: i64| {
        let mut command = world.command(
            way,
            &["dlq", "edit", &id.to_string(), "--reason", "typing error"],
        );
        command
            .env("EDITOR", world.editor(script))
            .env("VISUAL", "")
            .env("SEEN", world.folder.path().join("seen"));
        said(command).await
    };
    let look = r#"stat -c '%a %n' "$1" > "$SEEN"; "#;
    for (way, id) in [(Way::Api, ids[0]), (Way::Database, ids[1])] {
        assert_eq!(edit(way, look, id).await.done(), "nothing was changed\n");
        let seen = std::fs::read_to_string(world.folder.path().join("seen")).unwrap();
        let (mode, path) = seen.trim().split_once(' ').unwrap();
        assert_eq!(mode, "600");
        assert!(
            !std::path::Path::new(path).exists(),
            "{path} is still there"
        );
        edit(way, r#"sed -i 's/-1.00/-2.00/' "$1""#, id)
            .await
            .fails(1, "still_broken");
        edit(way, "exit 1", id)
            .await
            .fails(1, "nothing was changed");
        let done = edit(way, r#"sed -i 's/-1.00/12.50/' "$1""#, id)
            .await
            .done();
        assert!(
            done.contains("-    \"amount\": \"-1.00\"")
                && done.contains("+    \"amount\": \"12.50\"")
                && done.contains("replay apply"),
            "{done}"
        );
    }
    let set = world
        .run(
            Way::Api,
            &[
                "dlq",
                "edit",
                &ids[2].to_string(),
                "--set",
                "/payload/amount=7.10",
                "--json",
            ],
        )
        .await
        .done();
    assert_eq!(json(&set)["changed"], 1);
    let amounts: Vec<String> =
        sqlx::query_scalar("SELECT convert_from(value, 'UTF8') FROM edits ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(
        amounts
            .iter()
            .filter(|value| value.contains("12.50"))
            .count(),
        2
    );
    assert!(amounts[2].contains("\"7.10\""), "{amounts:?}");
    let who: Vec<String> = sqlx::query_scalar("SELECT edited_by FROM edits ORDER BY id")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(who, ["anna", "dora", "anna"]);
    world
        .run(Way::Api, &["dlq", "edit", "1", "2"])
        .await
        .fails(2, "--set or --patch");
    world
        .run(Way::Api, &["dlq", "edit", "--patch", "[]"])
        .await
        .fails(2, "select dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_planned_tried_and_started_only_when_it_is_meant() {
    let world = World::new().await;
    let ids = world.dead_letters("amount_not_positive", 2).await;
    let id = ids[0].to_string();
    for way in WAYS {
        let run = async |arguments: &[&str]| world.run(way, arguments).await;
        let hopeless = run(&["replay", "apply", &ids[1].to_string(), "--yes"]).await;
        hopeless.fails(1, "every one would fail again");
        assert!(
            hopeless.out.contains("1 would fail again")
                && hopeless.out.contains("amount_not_positive"),
            "{hopeless:?}"
        );
        let said = run(&[
            "replay",
            "plan",
            "--id",
            &ids[1].to_string(),
            "--key",
            "the same",
        ])
        .await
        .done();
        assert!(
            said.contains("of 1 dead letter: planned")
                && said.contains("next: eventflow replay apply"),
            "{said}"
        );
    }
    assert_eq!(
        json(
            &world
                .run(Way::Api, &["replay", "history", "--json"])
                .await
                .done()
        )["replays"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    world
        .run(
            Way::Api,
            &["dlq", "edit", &id, "--set", "/payload/amount=1.00"],
        )
        .await
        .done();
    let asked = world.run(Way::Api, &["replay", "apply", &id]).await;
    asked.fails(3, "--yes");
    assert_eq!(
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM replay_jobs WHERE state <> 'planned'")
            .fetch_one(&world.pool)
            .await
            .unwrap(),
        0
    );
    let job = json(
        &world
            .run(Way::Api, &["replay", "history", "--limit", "1", "--json"])
            .await
            .done(),
    )["replays"][0]["id"]
        .clone();
    let job = job.as_str().unwrap();
    let state = async |way: Way, word: &str| {
        json(
            &world
                .run(way, &["replay", word, job, "--json"])
                .await
                .done(),
        )["state"]
            .clone()
    };
    let started = world
        .run(
            Way::Database,
            &[
                "replay", "apply", job, "--yes", "--detach", "--rate", "5", "--json",
            ],
        )
        .await
        .done();
    assert_eq!(
        (
            json(&started)["state"].as_str(),
            json(&started)["rate"].as_f64()
        ),
        (Some("running"), Some(5.0))
    );
    assert_eq!(state(Way::Api, "pause").await, "paused");
    world
        .run(Way::Api, &["replay", "status", job, "--watch"])
        .await
        .fails(1, "replay resume");
    assert_eq!(state(Way::Database, "resume").await, "running");
    assert_eq!(state(Way::Api, "stop").await, "stopped");
    sqlx::query("UPDATE replay_items SET state = 'failed', code = 'not_json', detail = $2 WHERE job_id = $1")
        .bind(job)
        .bind(HOSTILE)
        .execute(&world.pool)
        .await
        .unwrap();
    let status = world
        .run(Way::Api, &["replay", "status", job, "--items"])
        .await;
    status.fails(1, "failed again");
    assert!(
        status.out.contains("not_json") && status.out.contains("stopped"),
        "{status:?}"
    );
    assert!(
        world
            .run(Way::Api, &["dlq", "audit-log", "--job", job])
            .await
            .done()
            .contains("dora")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_travel_as_lines_and_are_given_up_for_a_reason() {
    let world = World::new().await;
    let ids = world.dead_letters("amount_not_positive", 4).await;
    let file = world.folder.path().join("letters.jsonl");
    let name = file.to_str().unwrap();
    for way in WAYS {
        world
            .run(way, &["dlq", "export", "--to", name])
            .await
            .done();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 4);
        let piped = world.run(way, &["dlq", "export"]).await.done();
        assert_eq!(
            piped.lines().map(json).collect::<Vec<_>>(),
            text.lines().map(json).collect::<Vec<_>>()
        );
        assert_eq!(
            world.run(way, &["dlq", "import", name]).await.done(),
            "0 imported, 4 already present\n"
        );
        world
            .run(way, &["dlq", "import", "/nowhere.jsonl"])
            .await
            .fails(2, "/nowhere.jsonl");
        world
            .run(way, &["dlq", "discard", "--reason", "all of it"])
            .await
            .fails(3, "needs_confirmation");
    }
    for said in [
        "discarded 1 dead letter\n",
        "nothing to discard: none of them is open\n",
    ] {
        assert_eq!(
            world
                .run(
                    Way::Api,
                    &[
                        "dlq",
                        "discard",
                        &ids[0].to_string(),
                        "--reason",
                        "test traffic"
                    ]
                )
                .await
                .done(),
            said
        );
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
    let wrong = said(wrong).await;
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
        let said = world.run(Way::Api, arguments).await;
        said.fails(code, says);
        assert!(
            !said.err.contains("LEAKED") && said.err.lines().count() == 1,
            "{said:?}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_eventflow"));
        command.args(["completions", shell]);
        assert!(said(command).await.out.contains("discard"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_replay_ends_with_its_outcome_and_an_interrupted_watch_stops_nothing_else() {
    let world = World::new().await;
    let ids = world.dead_letters("amount_not_positive", 2).await;
    let state = async |job: &str| {
        let state = sqlx::query_scalar::<_, String>("SELECT state FROM replay_jobs WHERE id = $1")
            .bind(job);
        state.fetch_one(&world.pool).await.unwrap()
    };
    for (id, outcome) in ids.iter().zip(["interrupted", "finished"]) {
        let id = id.to_string();
        world
            .run(
                Way::Api,
                &["dlq", "edit", &id, "--set", "/payload/amount=1.00"],
            )
            .await
            .done();
        let job = json(
            &world
                .run(Way::Api, &["replay", "plan", &id, "--json"])
                .await
                .done(),
        )["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut command = world.command(Way::Api, &["replay", "apply", &job, "--yes"]);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It says where the replay stands as soon as it watches.
        let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut err, &mut line).unwrap();
            (line, err)
        });
        let (line, mut err) = tokio::time::timeout(std::time::Duration::from_secs(30), line)
            .await
            .unwrap()
            .unwrap();
        assert!(line.starts_with("0/1  1 pending"), "{line}");
        assert_eq!(state(&job).await, "running");
        if outcome == "finished" {
            sqlx::query("UPDATE replay_items SET state = 'stored' WHERE job_id = $1")
                .bind(&job)
                .execute(&world.pool)
                .await
                .unwrap();
            sqlx::query("UPDATE replay_jobs SET state = 'finished', finished_at = clock_timestamp() WHERE id = $1")
                .bind(&job)
                .execute(&world.pool)
                .await
                .unwrap();
        } else {
            let killed = std::process::Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()
                .unwrap();
            assert!(killed.success());
        }
        let output = tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
            (child.wait_with_output().unwrap(), rest)
        });
        let (output, rest) = tokio::time::timeout(std::time::Duration::from_secs(30), output)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{outcome}: {rest}");
        if outcome == "finished" {
            assert!(
                String::from_utf8(output.stdout)
                    .unwrap()
                    .contains("1 stored")
            );
        } else {
            assert!(
                rest.contains("goes on") && rest.contains(&format!("replay pause {job}")),
                "{rest}"
            );
            assert_eq!(state(&job).await, "running");
        }
    }
}
