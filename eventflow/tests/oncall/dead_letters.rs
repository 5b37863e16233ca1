//! Dead letters on the command line: listed, shown, edited, exported, discarded.

use crate::WAYS;
use crate::world::{HOSTILE, Way, World, json, output_of};

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
                .contains("last one resolved or discarded 3 h ago")
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
        output_of(command).await
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
    assert_eq!(who, ["anna", "eventflow (as dora)", "anna"]);
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
async fn dead_letters_travel_as_lines_and_are_discarded_for_a_reason() {
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
        world
            .run(way, &["dlq", "discard", "--reason", "all of it"])
            .await
            .fails(3, "needs_confirmation");
    }
    for answer in [
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
            answer
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unverified_dead_letters_are_called_genuine_with_a_reason_and_only_then_replayed() {
    let world = World::new().await;
    let ids = world.dead_letters("unverified", 2).await;
    sqlx::query("UPDATE dead_letters SET unproven = 'unverified'")
        .execute(&world.pool)
        .await
        .unwrap();
    let (one, other) = (ids[0].to_string(), ids[1].to_string());
    for way in WAYS {
        let plan = world
            .run(way, &["replay", "plan", "--id", &one, "--id", &other])
            .await;
        plan.fails(1, "eventflow dlq genuine");
        let unreasoned = world.run(way, &["dlq", "genuine", &one]).await;
        assert_eq!(unreasoned.code, Some(2));
    }
    let genuine = ["dlq", "genuine", &one, "--reason", "in the vendor's log"];
    for answer in [
        "called genuine: 1 dead letter\n",
        "nothing to say: none of them is open, unverified and without somebody's word\n",
    ] {
        assert_eq!(world.run(Way::Api, &genuine).await.done(), answer);
    }
    for way in WAYS {
        let shown = world.run(way, &["dlq", "show", &one]).await.done();
        assert!(shown.contains("unproven       unverified"), "{shown}");
        assert!(shown.contains("in the vendor's log"), "{shown}");
        let still = world.run(way, &["replay", "plan", "--id", &other]).await;
        still.fails(1, "eventflow dlq genuine");
    }
    let planned = world
        .run(Way::Api, &["replay", "plan", "--id", &one])
        .await
        .done();
    assert!(planned.contains("1 dead letter"), "{planned}");
}
