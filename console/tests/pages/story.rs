//! A dead letter's way: found, understood, edited, planned, tried, started, approved by another, followed to its end. By forms alone.

use crate::world::{Browser, World};
use console::ConsoleSettings;

async fn planned(browser: &mut Browser<'_>, words: &str) -> String {
    let path = format!("/plan?{words}");
    let form = browser.open(&path).await;
    let key = form.field("key");
    let (place, _) = browser
        .follow(&path, &[("key", &key), ("reason", "INC-42")])
        .await;
    assert!(place.starts_with("/replays/"), "{place}");
    // The same form again is the same replay.
    let (again, _) = browser
        .follow(&path, &[("key", &key), ("reason", "INC-42")])
        .await;
    assert_eq!(place, again);
    place
}

#[tokio::test]
async fn a_dead_letter_is_understood_fixed_and_replayed() {
    let world = World::new().await;
    let (group, letters) = world.dead_letters("amount_not_positive", 1).await;
    let letter = letters[0];
    let mut olga = world.browser("olga").await;
    // 1: the group, which explains one of its dead letters. 2: that one. 3: edit it.
    olga.open("/groups")
        .await
        .says(200, &[&format!("/groups/{group}")]);
    olga.open(&format!("/groups/{group}")).await.says(
        200,
        &[
            "<mark><span class=\"string\">&quot;-1.00&quot;</span></mark>",
            &format!("/dead-letters/{letter}"),
            "Replay all 1",
        ],
    );
    olga.open(&format!("/dead-letters/{letter}")).await.says(
        200,
        &["it still fails", &format!("/dead-letters/{letter}/edit")],
    );
    let edit = format!("/dead-letters/{letter}/edit");
    let form = olga.open(&edit).await;
    form.says(200, &["&quot;amount&quot;: &quot;-1.00&quot;"]);
    let text = form
        .text
        .split_once("hx-target=\"#verdict\">\n")
        .unwrap()
        .1
        .split("</textarea>")
        .next()
        .unwrap()
        .replace("&quot;", "\"");
    let (wrong, right) = (
        text.replace("-1.00", "-2.00"),
        text.replace("-1.00", "12.50"),
    );
    let check = format!("/dead-letters/{letter}/check");
    olga.submit(&check, &[("text", &wrong)])
        .await
        .says(200, &["Not taken yet", "amount_not_positive", "-2.00"]);
    olga.submit(&check, &[("text", &right)])
        .await
        .says(200, &["It meets its contract", "<ins>"]);
    olga.submit(&check, &[("text", "{")])
        .await
        .says(200, &["Not taken yet", "not_json"]);
    let unchanged: i64 = sqlx::query_scalar("SELECT count(*) FROM edits")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(unchanged, 0);
    olga.submit(&edit, &[("text", &wrong)])
        .await
        .says(422, &["still_broken", "-2.00"]);
    let other_event = right.replace("evt_1", "evt_2");
    olga.submit(&edit, &[("text", &other_event)])
        .await
        .says(400, &["must not make another event"]);
    // As a browser sends it: lines end with CR LF. 4: save it, and plan its replay.
    let (place, page) = olga
        .follow(
            &edit,
            &[
                ("text", &right.replace('\n', "\r\n")),
                ("reason", "the vendor said so"),
                ("then", "replay"),
            ],
        )
        .await;
    assert_eq!(place, format!("/plan?id={letter}"));
    page.says(200, &["The edited value is saved", "Replay 1 dead letter"]);
    // 5: the plan, with its dry run. 6: start.
    let job = planned(&mut olga, &format!("id={letter}")).await;
    olga.open(&job)
        .await
        .says(200, &["would be stored", "12.50", "INC-42"]);
    olga.submit(&format!("{job}/apply"), &[("rate", "fast")])
        .await
        .says(400, &["rate"]);
    let (_, page) = olga
        .follow(&format!("{job}/apply"), &[("rate", "50")])
        .await;
    page.says(
        200,
        &[
            "is-running",
            &format!("hx-sse:connect=\"/live{job}/stream\""),
            "http-equiv=\"refresh\"",
        ],
    );
    for (what, state) in [("pause", "is-paused"), ("resume", "is-running")] {
        let (_, page) = olga.follow(&format!("{job}/change/{what}"), &[]).await;
        page.says(200, &[state]);
    }
    olga.submit(&format!("{job}/change/explode"), &[])
        .await
        .says(404, &["no_such_route"]);
    // What the role would do.
    sqlx::query("UPDATE replay_items SET state = 'stored'")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE replay_jobs SET state = 'finished', finished_at = clock_timestamp()")
        .execute(&world.pool)
        .await
        .unwrap();
    let stream = olga.part(&format!("/live{job}/stream")).await;
    assert!(
        stream
            .header("content-type")
            .starts_with("text/event-stream")
    );
    assert!(
        stream.text.contains("is-finished") && stream.text.ends_with("event: end\ndata: end\n\n"),
        "{}",
        stream.text
    );
    olga.open(&job)
        .await
        .says(200, &["is-finished", "1 of 1 have their outcome"]);
    olga.open("/replays").await.says(200, &[&job, "1 stored"]);
    olga.open("/replays?state=finished")
        .await
        .says(200, &[&job]);
    olga.open("/replays?state=planned,running")
        .await
        .says(200, &["No replay is in this state"]);
    olga.open("/replays?state=gone")
        .await
        .says(400, &["is not one of planned"]);
    let log = olga.open("/log").await;
    log.says(
        200,
        &[
            "dead_letter.edit",
            "replay.plan",
            "replay.apply",
            "replay.pause",
            "olga",
            "the vendor said so",
        ],
    );
    // Page by page: each has one entry, and leads to the one before it.
    let newest = olga.open("/log?limit=1").await;
    let second = "/log?limit=1&before=2";
    assert!(newest.text.contains("rel=\"next\""), "{}", newest.text);
    let second = olga.open(second).await;
    second.says(200, &["/log?limit=1&amp;before=1\"", "The newest"]);
    olga.open("/log?limit=1&before=1")
        .await
        .says(200, &["No entry matches"]);
    olga.open("/replays?limit=1").await.says(
        200,
        &[&format!("before={}", job.trim_start_matches("/replays/"))],
    );
    olga.open("/replays?before=nothing")
        .await
        .says(404, &["there is no replay nothing"]);
    olga.open("/log/verify")
        .await
        .says(200, &["Chain verified"]);
    sqlx::query("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE audit_log SET who = 'nobody' WHERE seq = 2")
        .execute(&world.pool)
        .await
        .unwrap();
    olga.open("/log/verify")
        .await
        .says(200, &["is not as it was written"]);
}

#[tokio::test]
async fn what_needs_a_second_person_is_started_after_one_said_so() {
    let flags = ["--confirm-above", "1", "--require-approval"];
    let world = World::with(&flags, ConsoleSettings::default()).await;
    let (group, _) = world.dead_letters("amount_not_positive", 3).await;
    let mut olga = world.browser("olga").await;
    let job = planned(&mut olga, &format!("group={group}")).await;
    olga.open(&job).await.says(
        200,
        &[
            "It needs a second person",
            "Every one would fail again",
            "Yes, all 3 dead letters",
        ],
    );
    olga.submit(&format!("{job}/apply"), &[])
        .await
        .says(409, &["needs_confirmation"]);
    olga.submit(&format!("{job}/apply"), &[("yes", "yes")])
        .await
        .says(409, &["needs_approval"]);
    olga.submit(&format!("{job}/change/approve"), &[])
        .await
        .says(409, &["wrong_state"]);
    olga.part("/live/banner")
        .await
        .says(200, &["waits for the approval of a second person", &job]);
    let mut otto = world.browser("otto").await;
    otto.open(&job).await.says(200, &["Approve"]);
    let (_, page) = otto.follow(&format!("{job}/change/approve"), &[]).await;
    page.says(200, &["otto"]);
    assert!(!olga.part("/live/banner").await.text.contains("approval"));
    let (_, page) = olga
        .follow(&format!("{job}/apply"), &[("yes", "yes")])
        .await;
    page.says(200, &["is-running"]);
}

#[tokio::test]
async fn many_are_patched_after_a_preview_or_none() {
    let world = World::with(&["--confirm-above", "5"], ConsoleSettings::default()).await;
    let (group, letters) = world.dead_letters("amount_not_positive", 12).await;
    let path = format!("/patch?group={group}");
    let mut olga = world.browser("olga").await;
    let key = olga.open(&path).await.field("key");
    let form = async |olga: &mut Browser<'_>, set: &str, what: &str, more: &[(&str, &str)]| {
        let fields = [&[("set", set), ("do", what), ("key", key.as_str())], more].concat();
        olga.submit(&path, &fields).await
    };
    form(&mut olga, "amount=1", "preview", &[])
        .await
        .says(400, &["write a place"]);
    form(&mut olga, "/payload/amount=-3.00", "preview", &[])
        .await
        .says(
            200,
            &[
                "10 of these would be refused",
                "-3.00",
                "the newest 10 of 12 dead letters",
            ],
        );
    form(&mut olga, "/payload/amount=7.00", "preview", &[])
        .await
        .says(
            200,
            &[
                "It meets its contract",
                "7.00",
                "Apply to 12 dead letters",
                "--patch",
            ],
        );
    let edits: i64 = sqlx::query_scalar("SELECT count(*) FROM edits")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(edits, 0);
    form(&mut olga, "/payload/amount=7.00", "apply", &[])
        .await
        .says(409, &["needs_confirmation", "Yes, all 12 dead letters"]);
    let done = form(
        &mut olga,
        "/payload/amount=7.00",
        "apply",
        &[("yes", "yes")],
    )
    .await;
    assert_eq!(
        (done.status, done.location().to_owned()),
        (303, format!("/plan?group={group}")),
        "{}",
        done.text
    );
    olga.open(done.location())
        .await
        .says(200, &["12 dead letters changed"]);
    olga.open(&format!("/dead-letters/{}", letters[3]))
        .await
        .says(
            200,
            &[
                "A replay sends the edited value",
                "<code>/payload/amount</code>",
                "7.00",
            ],
        );
}
