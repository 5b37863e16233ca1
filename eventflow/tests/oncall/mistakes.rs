//! Small words with large effects: a mistyped filter, one id for many, and a value that must be seen to be judged.

use crate::WAYS;
use crate::world::{BROKEN, Way, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_code_or_stage_is_no_empty_answer() {
    let world = World::new().await;
    world.dead_letters("missing_field", 2).await;
    let patch = r#"[{"op":"replace","path":"/payload/currency","value":"EUR"}]"#;
    let commands: [&[&str]; 7] = [
        &["dlq", "ls"],
        &["dlq", "groups"],
        &["dlq", "export"],
        &["dlq", "edit", "--patch", patch, "--yes"],
        &["dlq", "discard", "--reason", "r", "--yes"],
        &["replay", "plan"],
        &["replay", "apply", "--yes"],
    ];
    for way in WAYS {
        for command in commands {
            let mistyped = async |filter: &[&str], says: &str| {
                let arguments = [command, filter].concat();
                world.run(way, &arguments).await.fails(2, says);
            };
            mistyped(
                &["--code", "missing_feild"],
                "no code \"missing_feild\"; did you mean missing_field;",
            )
            .await;
            mistyped(
                &["--stage", "validater"],
                "no stage \"validater\"; did you mean validator;",
            )
            .await;
            mistyped(&["--code", "missing_field,zzz"], "no code \"zzz\";").await;
        }
        // A code of a former version that the index has is known; so is one that no dead letter has.
        for code in ["missing_field", "not_json"] {
            world.run(way, &["dlq", "ls", "--code", code]).await.done();
        }
    }
    let open = "SELECT count(*) FROM dead_letters WHERE state = 'open' AND edit_id IS NULL";
    let open: i64 = sqlx::query_scalar(open)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(open, 2, "nothing was changed");
    sqlx::query("INSERT INTO groups (stage, code, source, event_type) VALUES ('billing', 'no_credit', '', '')")
        .execute(&world.pool)
        .await
        .unwrap();
    let former = ["dlq", "ls", "--code", "no_credit", "--stage", "billing"];
    world.run(Way::Api, &former).await.done();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_written_into_many_dead_letters_only_when_that_is_meant() {
    let world = World::new().await;
    let ids = world.dead_letters("missing_field", 3).await;
    let lacks = BROKEN
        .replace(r#","provider_auth_id":"a""#, "")
        .replace("-1.00", "1.00");
    sqlx::query(
        "UPDATE dead_letters SET value = $1, value_bytes = length($1), value_sha256 = sha256($1)",
    )
    .bind(lacks.as_bytes())
    .execute(&world.pool)
    .await
    .unwrap();
    let code = ["--code", "missing_field"];
    let set = ["--set", "/payload/provider_auth_id=auth_4711"];
    let payload = r#"[{"op":"replace","path":"/payload","value":{"payment_id":"pay_1","order_id":"o","amount":"1.00","currency":"EUR","provider_auth_id":"auth_4711"}}]"#;
    for way in WAYS {
        for change in [set, ["--patch", payload]] {
            let refused = world
                .run(way, &[&["dlq", "edit"][..], &code, &change].concat())
                .await;
            refused.fails(
                3,
                "the same id, /payload/provider_auth_id = \"auth_4711\", into 3 dead letters",
            );
        }
    }
    let edits = async || {
        let number = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM edits");
        number.fetch_one(&world.pool).await.unwrap()
    };
    assert_eq!(edits().await, 0);
    // One alone, another field of many, and an id of many that is meant, need no word more.
    let one = ids[0].to_string();
    world
        .run(Way::Api, &[&["dlq", "edit", &one][..], &set].concat())
        .await
        .done();
    let meant = [&["dlq", "edit", "--yes"][..], &code, &set].concat();
    assert!(
        world
            .run(Way::Api, &meant)
            .await
            .done()
            .contains("changed 2 dead letters, 1 unchanged")
    );
    let currency = ["--set", "/payload/currency=USD"];
    let other = [&["dlq", "edit"][..], &code, &currency].concat();
    assert!(
        world
            .run(Way::Database, &other)
            .await
            .done()
            .contains("changed 3")
    );
    assert_eq!(edits().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_shows_what_failed() {
    let world = World::new().await;
    let ids = world.dead_letters("missing_field", 3).await;
    let lacks = BROKEN.replace(r#","provider_auth_id":"a""#, "");
    for (id, detail, value, shown) in [
        (
            ids[0],
            "/payload/amount: is not positive",
            BROKEN,
            "value     \"-1.00\"",
        ),
        (
            ids[1],
            "/payload/provider_auth_id: is required",
            &lacks,
            "value     nothing; /payload is {\"payment_id\":\"pay_1\",\"order_id\":\"o\",\"amount\":\"-1.00\"",
        ),
    ] {
        sqlx::query("UPDATE dead_letters SET detail = $2, value = $3 WHERE id = $1")
            .bind(id)
            .bind(detail)
            .bind(value.as_bytes())
            .execute(&world.pool)
            .await
            .unwrap();
        for way in WAYS {
            let explained = world.run(way, &["explain", &id.to_string()]).await.done();
            assert!(explained.contains(shown), "{explained}");
        }
    }
    let broken = world.dead_letters("not_json", 1).await[0];
    sqlx::query("UPDATE dead_letters SET detail = 'expected value', value = $2 WHERE id = $1")
        .bind(broken)
        .bind(&br#"{"event_id":"e",,"payload":{}}"#[..])
        .execute(&world.pool)
        .await
        .unwrap();
    let explained = world
        .run(Way::Api, &["explain", &broken.to_string()])
        .await
        .done();
    assert!(
        explained.contains(r#"{"event_id":"e", [here] ,"payload":{}}"#),
        "{explained}"
    );
}
