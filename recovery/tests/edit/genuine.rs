//! Unverified dead letters: no replay sends one before a person says that it is genuine, and where two must agree, another approves it.

use crate::replay::{Dead, RETRY_VALIDATOR, World, body, count, pipeline, world};
use contracts::kafka::headers as h;
use recovery::model::{ItemState, Prediction, Selection};
use recovery::replay::{dry_run, edit, jobs};
use serde_json::json;

/// A dead letter of what the edge could not prove, as the index has it.
async fn unproven(world: &World, unproven: &str, offset: i64) -> i64 {
    let value = body(&format!("e{offset}"), "12.50");
    let dead = Dead {
        code: unproven_code(unproven),
        raw: (0, offset),
        value: Some(value.as_bytes()),
        headers: json!([
            ["ef.source", "acme"],
            [h::UNPROVEN, unproven],
            [h::GENUINE_BY, "mallory"]
        ]),
        ..Dead::default()
    };
    let id = world.dead(&dead).await;
    sqlx::query("UPDATE dead_letters SET unproven = $2 WHERE id = $1")
        .bind(id)
        .bind(unproven)
        .execute(&world.pool)
        .await
        .unwrap();
    id
}

fn unproven_code(unproven: &str) -> &'static str {
    if unproven == "stale" {
        "stale"
    } else {
        "unverified"
    }
}

fn of(ids: &[i64]) -> Selection {
    Selection {
        id: ids.to_vec(),
        ..Selection::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_one_is_replayed_only_after_a_person_said_that_it_is_genuine() {
    let world = world(&["--confirm-above", "2"])
        .await
        .with_persistence()
        .await;
    let ids = [
        unproven(&world, "unverified", 0).await,
        unproven(&world, "unverified", 1).await,
        unproven(&world, "unverified", 2).await,
    ];
    let (stale, sound) = (unproven(&world, "stale", 3).await, {
        let value = body("e4", "1.00");
        let dead = Dead {
            raw: (0, 4),
            value: Some(value.as_bytes()),
            ..Dead::default()
        };
        world.dead(&dead).await
    });
    let everything = [&ids[..], &[stale, sound]].concat();
    let refused = jobs::plan(&world.recovery, "ann", &of(&everything), "", "k1", None).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "wrong_state");
    assert!(
        refused.to_string().starts_with("3 of the 5 selected")
            && refused.to_string().contains("eventflow dlq genuine"),
        "{refused}"
    );
    assert_eq!(world.number("SELECT count(*) FROM replay_jobs").await, 0);
    // Who says so says why, and is asked about many.
    let say = async |ids: &[i64], reason: &str, yes: bool| {
        edit::genuine(&world.recovery, "eve", &of(ids), reason, yes).await
    };
    let code = |answer: Result<u64, recovery::error::RecoveryError>| answer.unwrap_err().code();
    assert_eq!(code(say(&ids[..1], "  ", true).await), "invalid_request");
    assert_eq!(
        code(say(&ids, "vendor's log", false).await),
        "needs_confirmation"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE genuine_by IS NOT NULL")
            .await,
        0
    );
    // Of those that need nobody's word none is changed.
    let both = [ids[0], ids[1], stale, sound];
    assert_eq!(say(&both, "vendor's log", true).await.unwrap(), 2);
    assert_eq!(
        say(&both, "vendor's log", true).await.unwrap(),
        0,
        "it is said"
    );
    let log = jobs::audit_log(&world.recovery, None, None, None, 5)
        .await
        .unwrap();
    assert_eq!(
        (
            log[0].action.as_str(),
            log[0].who.as_str(),
            log[0].reason.as_str(),
            &log[0].counts["genuine"]
        ),
        ("dead_letter.genuine", "eve", "vendor's log", &json!(2))
    );
    assert_eq!(log.len(), 1);
    let job = world.planned(&both, "k2").await;
    // A command of an older version, or a row changed by hand: the role asks again before it sends.
    sqlx::query("UPDATE dead_letters SET genuine_by = NULL WHERE id = $1")
        .bind(ids[1])
        .execute(&world.pool)
        .await
        .unwrap();
    jobs::apply(&world.recovery, "ann", &job.id, Some(1000.0), true)
        .await
        .unwrap();
    let runner = world.start_runner();
    let job = world.job_when(&job.id, |job| count(job, "sent") == 3).await;
    assert_eq!(job.by_code.get("not_genuine"), Some(&1), "{job:?}");
    runner.end().await;
    let retried = world.retried();
    let said = |offset: i64| {
        let raw = format!("0:{offset}");
        let record = retried
            .iter()
            .find(|record| record.header(h::RAW) == Some(raw.clone()));
        let record = record.unwrap();
        (record.header(h::UNPROVEN), record.header(h::GENUINE_BY))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(said(0), (text("unverified"), text("eve")));
    assert_eq!(said(3), (text("stale"), None));
    assert_eq!(said(4), (None, None));
    assert_eq!(retried.len(), 3, "{RETRY_VALIDATOR}");
}

#[tokio::test(flavor = "multi_thread")]
async fn today_it_fails_until_somebody_vouches_for_it_and_the_explanation_says_how() {
    let world = world(&[]).await.with_persistence().await;
    let id = unproven(&world, "unverified", 0).await;
    let explained = recovery::query::explain::explain(&world.recovery, id)
        .await
        .unwrap();
    assert!(explained.today.contains("nobody has said"), "{explained:?}");
    let next = explained.next.join("\n");
    assert!(
        next.contains(&format!("eventflow dlq genuine {id} --reason")),
        "{next}"
    );
    assert!(!next.contains("it would pass now"), "{next}");
    // The stage would refuse it, too: the dry run of a job that was planned past the API says so.
    edit::genuine(&world.recovery, "eve", &of(&[id]), "asked", true)
        .await
        .unwrap();
    let job = world.planned(&[id], "k").await;
    let tried = dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    assert_eq!((tried.would_store, tried.would_fail), (1, 0), "{tried:?}");
    sqlx::query("UPDATE dead_letters SET genuine_by = NULL")
        .execute(&world.pool)
        .await
        .unwrap();
    let tried = dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    assert_eq!(
        tried.would_fail_by_code.get("unverified"),
        Some(&1),
        "{tried:?}"
    );
    assert_eq!(tried.samples[0].would, Prediction::Fail);
    let explained =
        recovery::query::explain::explain(&world.recovery, unproven(&world, "stale", 1).await);
    let explained = explained.await.unwrap();
    assert!(
        explained.today.contains("meets its contract"),
        "{explained:?}"
    );
    assert!(
        explained
            .next
            .join(" ")
            .contains("a copy of an older request"),
        "{explained:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_two_must_agree_whoever_called_it_genuine_is_not_the_second() {
    let world = world(&["--require-approval"]).await;
    let id = unproven(&world, "unverified", 0).await;
    edit::genuine(&world.recovery, "eve", &of(&[id]), "asked", false)
        .await
        .unwrap();
    let job = world.planned(&[id], "k").await;
    assert!(job.needs_approval);
    // Also where a command without --require-approval has applied it.
    let lax = recovery::Context::new(pipeline(&world.url, &[]), None).unwrap();
    jobs::apply(&lax, "ann", &job.id, Some(1000.0), true)
        .await
        .unwrap();
    let runner = world.start_runner();
    let blocked = world.job_when(&job.id, |job| job.blocked.is_some()).await;
    assert!(
        blocked.blocked.as_deref().unwrap().contains("not verified"),
        "{blocked:?}"
    );
    assert_eq!(blocked.by_state[&ItemState::Pending], 1);
    let refused = jobs::approve(&world.recovery, "eve", &job.id)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("called genuine by eve"),
        "{refused}"
    );
    jobs::approve(&world.recovery, "bob", &job.id)
        .await
        .unwrap();
    world.job_when(&job.id, |job| count(job, "sent") == 1).await;
    runner.end().await;
}
