//! Replays on the command line: planned, evaluated, started, watched.

use crate::WAYS;
use crate::world::{HOSTILE, Way, World, json};

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
        let planned = run(&[
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
            planned.contains("of 1 dead letter: planned")
                && planned.contains("next: eventflow replay apply"),
            "{planned}"
        );
    }
    assert_eq!(
        json(
            &world
                .run(Way::Api, &["replay", "ls", "--json"])
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
            .run(Way::Api, &["replay", "ls", "--limit", "1", "--json"])
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
async fn over_the_database_a_second_person_is_a_second_login_and_not_a_second_name() {
    let world = World::new().await;
    let id = world.dead_letters("amount_not_positive", 1).await[0].to_string();
    // A login of its own; in the cluster that other tests share.
    sqlx::query("CREATE ROLE second_person SUPERUSER LOGIN PASSWORD 'of-the-second'")
        .execute(&world.pool)
        .await
        .unwrap();
    let (_, place) = world.database_url.split_once('@').unwrap();
    let second = format!("postgres://second_person:of-the-second@{place}");
    let person = async |name: &str, url: &str, arguments: &[&str]| {
        let mut command = world.command(Way::Database, arguments);
        command
            .args(["--as", name])
            .env("EVENTFLOW_DATABASE_URL", url);
        crate::world::output_of(command).await
    };
    let url = &world.database_url;
    let planned = person("alice", url, &["replay", "plan", &id, "--json"]).await;
    let planned = json(&planned.done());
    assert_eq!(planned["created_by"], "eventflow (as alice)");
    let approve = [
        "replay",
        "approve",
        planned["id"].as_str().unwrap(),
        "--json",
    ];
    person("bob", url, &approve)
        .await
        .fails(1, "planned by eventflow (as alice)");
    let approved = person("bob", &second, &approve).await;
    assert_eq!(
        json(&approved.done())["approved_by"],
        "second_person (as bob)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_somebody_changed_is_found_by_its_first_such_entry() {
    let world = World::new().await;
    let ids = world.dead_letters("amount_not_positive", 5).await;
    let verify = ["dlq", "audit-log", "--verify"];
    for way in WAYS {
        let empty = world.run(way, &verify).await.done();
        assert_eq!(empty, "0 rows of the audit log as written\n");
    }
    for id in &ids {
        let discard = [
            "dlq",
            "discard",
            &id.to_string(),
            "--reason",
            "größer, a \"test\"",
        ];
        world.run(Way::Api, &discard).await.done();
    }
    let entries = world.run(Way::Api, &["dlq", "audit-log", "--json"]).await;
    let newest = json(&entries.done())["entries"][0].clone();
    for way in WAYS {
        let whole = world.run(way, &verify).await.done();
        assert_eq!(
            whole,
            format!(
                "5 rows of the audit log as written\nlast: 5 {}\n",
                newest["hash"].as_str().unwrap()
            )
        );
    }
    // Who owns the table, or a superuser, can.
    sqlx::raw_sql(
        "GRANT UPDATE ON audit_log TO CURRENT_USER; ALTER TABLE audit_log DISABLE TRIGGER append_only;
         UPDATE audit_log SET who = 'alice' WHERE seq = 3; ALTER TABLE audit_log ENABLE TRIGGER append_only",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for way in WAYS {
        let broken = world.run(way, &verify).await;
        broken.fails(1, "entry 3 of the audit log: it is not as it was written");
        assert!(broken.out.starts_with("2 rows"), "{broken:?}");
    }
    let broken = world
        .run(Way::Api, &[&verify[..], &["--json"]].concat())
        .await;
    assert_eq!(
        (broken.code, &json(&broken.out)["broken"]["seq"]),
        (Some(1), &3.into())
    );
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
