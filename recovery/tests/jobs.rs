//! Jobs: frozen, confirmed, approved, changed once, and every change in the log.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use recovery::error::RecoveryError;
use recovery::model::{ItemState, Job, JobState, Selection};
use recovery::replay::jobs;
use replay::{World, count, world};

fn code<T: std::fmt::Debug>(answer: Result<T, RecoveryError>) -> &'static str {
    answer.unwrap_err().code()
}

async fn actions(world: &World, job: &Job) -> Vec<(String, String)> {
    let log = jobs::audit_log(&world.recovery, Some(&job.id), None, None, 100)
        .await
        .unwrap();
    log.into_iter()
        .rev()
        .map(|entry| (entry.who, entry.action))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_frozen_once_per_key_and_only_its_open_dead_letters() {
    let world = world(&[]).await;
    let ids = world.many(10).await;
    sqlx::query("UPDATE dead_letters SET state = 'resolved' WHERE origin_offset = 0")
        .execute(&world.pool)
        .await
        .unwrap();
    let selection = Selection {
        code: vec!["invalid_amount".to_owned()],
        ..Selection::default()
    };
    let plans = (0..8).map(|_| {
        jobs::plan(
            &world.recovery,
            "ann",
            &selection,
            "why\u{0}not",
            "key",
            None,
        )
    });
    let jobs: Vec<Job> = futures(plans)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        jobs.iter().all(|job| job.id == jobs[0].id),
        "eight at once are one job"
    );
    let job = &jobs[0];
    assert_eq!(
        (
            job.state,
            job.items,
            count(job, "pending"),
            job.needs_confirmation
        ),
        (JobState::Planned, 9, 9, false)
    );
    assert_eq!(job.reason, "why\u{fffd}not");
    let items: Vec<i64> = jobs::items(&world.recovery, &job.id, &[], 100)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|item| item.letter)
        .collect();
    assert_eq!(items, ids[1..], "the oldest first");
    let hashes = world.number("SELECT count(*) FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id WHERE i.value_sha256 = sha256(d.value)");
    assert_eq!(hashes.await, 9);
    // A letter that comes later is not in it.
    world
        .dead(&replay::Dead {
            raw: (5, 5),
            ..Default::default()
        })
        .await;
    let again = jobs::plan(&world.recovery, "bob", &selection, "", "key", None)
        .await
        .unwrap();
    assert_eq!((again.id.as_str(), again.items), (job.id.as_str(), 9));
    let other = Selection {
        limit: Some(3),
        ..selection.clone()
    };
    assert_eq!(
        code(jobs::plan(&world.recovery, "ann", &other, "", "key", None).await),
        "wrong_state"
    );
    assert_eq!(
        jobs::plan(&world.recovery, "ann", &other, "", "key 2", None)
            .await
            .unwrap()
            .items,
        3
    );
    let nothing = Selection {
        id: vec![ids[0]],
        ..Selection::default()
    };
    assert_eq!(
        code(jobs::plan(&world.recovery, "ann", &nothing, "", "key 3", None).await),
        "not_found"
    );
    assert_eq!(
        world.number("SELECT count(*) FROM replay_jobs").await,
        2,
        "a refused plan leaves nothing"
    );
    for (who, key) in [("", "k"), ("ann", ""), ("ann", "a\0b")] {
        assert_eq!(
            code(jobs::plan(&world.recovery, who, &selection, "", key, None).await),
            "invalid_request"
        );
    }
    let all = jobs::history(&world.recovery, &[], None, 10).await.unwrap();
    assert_eq!(all.len(), 2);
    let after = async |job: &str| jobs::history(&world.recovery, &[], Some(job), 10).await;
    let older = after(&all[0].id).await.unwrap();
    assert_eq!(older.len(), 1);
    assert_eq!(older[0].id, all[1].id);
    assert!(after(&all[1].id).await.unwrap().is_empty());
    assert_eq!(code(after("nothing").await), "not_found");
}

/// All at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_happens_once_and_in_the_right_state_only() {
    let world = world(&[]).await;
    let ids = world.many(2).await;
    let job = world.planned(&ids, "k").await;
    let recovery = &world.recovery;
    assert_eq!(
        code(jobs::pause(recovery, "ann", &job.id).await),
        "wrong_state"
    );
    assert_eq!(
        code(jobs::resume(recovery, "ann", &job.id).await),
        "wrong_state"
    );
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            code(jobs::apply(recovery, "ann", &job.id, Some(rate), false).await),
            "invalid_request"
        );
    }
    let applied =
        futures((0..5).map(|_| jobs::apply(recovery, "ann", &job.id, Some(7.0), false))).await;
    assert!(
        applied
            .iter()
            .all(|job| job.as_ref().unwrap().state == JobState::Running)
    );
    assert_eq!(
        jobs::apply(recovery, "ann", &job.id, Some(9.0), false)
            .await
            .unwrap()
            .eta_seconds,
        Some(2.0 / 9.0)
    );
    let unchanged = jobs::apply(recovery, "ann", &job.id, None, false)
        .await
        .unwrap();
    assert_eq!(
        unchanged.eta_seconds,
        Some(2.0 / 9.0),
        "without a rate it stays"
    );
    for _ in 0..2 {
        assert_eq!(
            jobs::pause(recovery, "bob", &job.id).await.unwrap().state,
            JobState::Paused
        );
    }
    assert_eq!(
        code(jobs::apply(recovery, "ann", &job.id, None, false).await),
        "wrong_state"
    );
    for _ in 0..2 {
        assert_eq!(
            jobs::resume(recovery, "bob", &job.id).await.unwrap().state,
            JobState::Running
        );
    }
    for _ in 0..2 {
        assert_eq!(
            jobs::stop(recovery, "cat", &job.id).await.unwrap().state,
            JobState::Stopped
        );
    }
    assert_eq!(
        code(jobs::resume(recovery, "ann", &job.id).await),
        "wrong_state"
    );
    assert_eq!(
        code(jobs::apply(recovery, "ann", &job.id, None, true).await),
        "wrong_state"
    );
    let who = |who: &str, action: &str| (who.to_owned(), format!("replay.{action}"));
    let expected = [
        who("ann", "plan"),
        who("ann", "apply"),
        who("ann", "rate"),
        who("bob", "pause"),
        who("bob", "resume"),
        who("cat", "stop"),
    ];
    assert_eq!(actions(&world, &job).await, expected);
    assert_eq!(code(jobs::get(recovery, "nothere\0").await), "not_found");
    assert_eq!(
        code(jobs::stop(recovery, "ann", "'; DROP TABLE replay_jobs; --").await),
        "not_found"
    );
    assert_eq!(
        code(jobs::items(recovery, "nothere", &[], 1).await),
        "not_found"
    );
    assert!("lost".parse::<ItemState>().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_or_no_filter_needs_confirmation_and_where_required_a_second_person() {
    let world = world(&["--confirm-above", "3", "--require-approval"]).await;
    let ids = world.many(4).await;
    let recovery = &world.recovery;
    let small = world.planned(&ids[..3], "small").await;
    assert!(!small.needs_confirmation && !small.needs_approval);
    assert_eq!(
        jobs::apply(recovery, "ann", &small.id, None, false)
            .await
            .unwrap()
            .state,
        JobState::Running
    );
    let no_filter = jobs::plan(
        recovery,
        "ann",
        &Selection {
            limit: Some(1),
            ..Selection::default()
        },
        "",
        "no filter",
        None,
    )
    .await
    .unwrap();
    assert!(no_filter.needs_confirmation);
    let large = world.planned(&ids, "large").await;
    assert!(large.needs_confirmation && large.needs_approval);
    assert_eq!(
        code(jobs::apply(recovery, "ann", &large.id, None, false).await),
        "needs_confirmation"
    );
    assert_eq!(
        code(jobs::apply(recovery, "ann", &large.id, None, true).await),
        "needs_approval"
    );
    for planner in ["ann", " ann ", ""] {
        assert_eq!(
            code(jobs::approve(recovery, planner, &large.id).await),
            "wrong_state",
            "the planner is no second person"
        );
    }
    for _ in 0..2 {
        assert_eq!(
            jobs::approve(recovery, "bob", &large.id)
                .await
                .unwrap()
                .approved_by
                .as_deref(),
            Some("bob")
        );
    }
    assert_eq!(
        jobs::approve(recovery, "cat", &large.id)
            .await
            .unwrap()
            .approved_by
            .as_deref(),
        Some("bob")
    );
    assert_eq!(
        code(jobs::apply(recovery, "ann", &large.id, None, false).await),
        "needs_confirmation"
    );
    assert_eq!(
        jobs::apply(recovery, "ann", &large.id, None, true)
            .await
            .unwrap()
            .state,
        JobState::Running
    );
    let log: Vec<String> = actions(&world, &large)
        .await
        .into_iter()
        .map(|(_, action)| action)
        .collect();
    assert_eq!(log, ["replay.plan", "replay.approve", "replay.apply"]);
}

/// An edit of a dead letter, as one is stored.
async fn edited(world: &World, id: i64, who: &str) {
    let edit = "WITH e AS (INSERT INTO edits (dead_letter_id, edited_by, value, patch) VALUES ($1, $2, '{}', '[]') RETURNING id)
         UPDATE dead_letters SET edit_id = e.id FROM e WHERE dead_letters.id = $1";
    sqlx::query(edit)
        .bind(id)
        .bind(who)
        .execute(&world.pool)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_value_needs_somebody_who_neither_edited_nor_planned() {
    let world = world(&["--require-approval"]).await;
    let ids = world.many(3).await;
    let recovery = &world.recovery;
    edited(&world, ids[0], "cat").await;
    // A later edit may hold what an earlier one changed.
    edited(&world, ids[0], "eve").await;
    // What came back of an edited replay is still what a person wrote.
    sqlx::query("UPDATE dead_letters SET replay_count = 1, headers = '[[\"ef.edited_by\",\"dan\"]]' WHERE id = $1")
        .bind(ids[1])
        .execute(&world.pool)
        .await
        .unwrap();
    for (letters, needed) in [(&ids[..1], true), (&ids[1..2], true), (&ids[2..], false)] {
        let job = world.planned(letters, &format!("{letters:?}")).await;
        assert_eq!(
            (job.needs_confirmation, job.needs_approval),
            (false, needed)
        );
        let applied = jobs::apply(recovery, "ann", &job.id, None, true).await;
        if needed {
            let refused = applied.unwrap_err();
            assert_eq!(refused.code(), "needs_approval");
            assert!(refused.to_string().contains("edited values"), "{refused}");
        } else {
            assert_eq!(applied.unwrap().state, JobState::Running);
        }
    }
    let job = world.planned(&ids[1..2], "by dan").await;
    let refused = jobs::approve(recovery, "dan", &job.id).await.unwrap_err();
    assert!(refused.to_string().contains("edited by dan"), "{refused}");
    let job = world.planned(&ids[..1], "approved").await;
    for (who, says) in [
        ("ann", "planned by ann"),
        ("eve", "edited by eve"),
        ("cat", "edited by cat"),
        ("eve (as bob)", "edited by eve"),
        ("eventflow_recovery (as bob)", "login of your own"),
    ] {
        let refused = jobs::approve(recovery, who, &job.id).await.unwrap_err();
        assert_eq!(refused.code(), "wrong_state", "{who}");
        assert!(refused.to_string().contains(says), "{who}: {refused}");
    }
    jobs::approve(recovery, "bob", &job.id).await.unwrap();
    let applied = jobs::apply(recovery, "ann", &job.id, None, true).await;
    assert_eq!(applied.unwrap().state, JobState::Running);
    // A login that many have says nothing of who planned.
    let selection = Selection {
        id: vec![ids[0]],
        ..Selection::default()
    };
    let who = "eventflow_recovery (as ann)";
    let job = jobs::plan(recovery, who, &selection, "", "shared", None)
        .await
        .unwrap();
    let refused = jobs::approve(recovery, "bob", &job.id).await.unwrap_err();
    assert!(
        refused.to_string().contains("does not say by whom"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_replays_of_one_person_add_up_and_those_of_another_do_not() {
    let world = world(&["--confirm-above", "5", "--require-approval"]).await;
    let ids = world.many(9).await;
    let recovery = &world.recovery;
    let apply = async |job: &Job| jobs::apply(recovery, "ann", &job.id, None, true).await;
    let first = world.planned(&ids[..3], "first").await;
    // Both are small, and neither is started: only what is started counts.
    let second = world.planned(&ids[3..6], "second").await;
    assert!(!first.needs_approval && !second.needs_approval);
    let both = futures([&first, &second].into_iter().map(apply)).await;
    let refused: Vec<_> = both
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    assert_eq!(
        refused.len(),
        1,
        "of two at once, one is too much: {both:?}"
    );
    assert_eq!(refused[0].code(), "needs_approval");
    assert!(
        refused[0]
            .to_string()
            .contains("of ann in 24 hours come to 6 dead letters, more than 5"),
        "{}",
        refused[0]
    );
    let third = world.planned(&ids[6..8], "third").await;
    assert!(!third.needs_approval, "three and two are five");
    apply(&third).await.unwrap();
    let fourth = world.planned(&ids[8..], "fourth").await;
    assert!(fourth.needs_approval);
    let selection = Selection {
        id: vec![ids[8]],
        ..Selection::default()
    };
    let other = jobs::plan(recovery, "bob", &selection, "", "of bob", None).await;
    assert!(!other.unwrap().needs_approval);
    // What somebody approved does not count, nor what is a day old.
    jobs::approve(recovery, "bob", &third.id).await.unwrap();
    assert!(
        !jobs::get(recovery, &fourth.id)
            .await
            .unwrap()
            .needs_approval
    );
    sqlx::query("UPDATE replay_jobs SET started_at = started_at - interval '25 hours'")
        .execute(&world.pool)
        .await
        .unwrap();
    let all = world.planned(&ids[..5], "fifth").await;
    assert!(!all.needs_approval);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_refuses_every_change() {
    let world = world(&[]).await;
    let ids = world.many(1).await;
    world.planned(&ids, "k").await;
    for change in [
        "UPDATE audit_log SET who = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DELETE FROM audit_log WHERE false",
    ] {
        let error = sqlx::query(change).execute(&world.pool).await.unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().as_deref(),
            Some("42501"),
            "{change}"
        );
    }
    assert_eq!(
        world
            .number("SELECT count(*) FROM audit_log WHERE who = 'ann'")
            .await,
        1
    );
}
