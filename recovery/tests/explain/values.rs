//! What the value is today: fixed, resolved, hostile, or gone.

use crate::timeline::world;
use crate::{body, dead, explained};

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_value_passes_now_and_resolved_ones_need_nothing() {
    let world = world(true, None, &[]).await;
    let broken = body("e", "x");
    let id = dead(
        &world,
        "validator",
        "invalid_amount",
        "/payload/amount: \"x\" is no amount",
        Some(broken.as_bytes()),
    )
    .await;
    dead(&world, "validator", "invalid_amount", "d", Some(b"x")).await;
    let explanation = explained(&world, id).await;
    assert_eq!(
        (explanation.value.as_deref(), explanation.like_it),
        (Some("\"x\""), 2)
    );
    assert!(
        explanation
            .rule
            .as_deref()
            .is_some_and(|rule| rule.starts_with("required, ") && rule.contains("amount")),
        "{explanation:?}"
    );
    sqlx::query("WITH e AS (INSERT INTO edits (dead_letter_id, edited_by, value, patch) VALUES ($1, 'ada', $2, '[]') RETURNING id) UPDATE dead_letters SET edit_id = e.id FROM e WHERE dead_letters.id = $1")
        .bind(id)
        .bind(body("e", "1").as_bytes())
        .execute(world.recovery.pool())
        .await
        .unwrap();
    let explanation = explained(&world, id).await;
    assert_eq!(
        explanation.today,
        "as edited, it meets its contract (payment.authorized.v1) now"
    );
    assert_eq!(
        explanation.value.as_deref(),
        Some("\"x\""),
        "what failed is the original"
    );
    assert!(
        explanation.next[0].ends_with(&format!("eventflow replay plan --id {id}")),
        "{:?}",
        explanation.next
    );
    for (state, words) in [
        ("resolved", "it is resolved"),
        ("discarded", "it was discarded"),
        ("replaying", "Wait: "),
    ] {
        world
            .run(format!(
                "UPDATE dead_letters SET state = '{state}' WHERE id = {id}"
            ))
            .await;
        let explanation = explained(&world, id).await;
        assert!(
            explanation.next.len() == 1 && explanation.next[0].contains(words),
            "{:?}",
            explanation.next
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_is_shown_bounded_and_without_control() {
    let world = world(true, None, &[]).await;
    let long = format!(
        "{{\"event_type\":\"payment.authorized.v1\",\"payload\":{{\"amount\":\"\u{202e}{}\"}}}}",
        "9".repeat(5000)
    );
    let detail = format!("/payload/amount: \u{1b}]0;owned\u{7}{}", "y".repeat(5000));
    let id = dead(
        &world,
        "validator",
        "invalid_amount",
        &detail,
        Some(long.as_bytes()),
    )
    .await;
    let explanation = explained(&world, id).await;
    let text = serde_json::to_string(&explanation).unwrap();
    assert!(
        !text.contains('\u{202e}') && !text.contains("\\u001b") && !text.contains("\\u0007"),
        "{text}"
    );
    assert!(
        text.len() < 5000
            && explanation
                .value
                .is_some_and(|value| value.contains("999") && value.chars().count() <= 201)
    );
    for value in [
        None,
        Some(&b"\xff\xfe"[..]),
        Some(&b""[..]),
        Some(&b"{"[..]),
        Some(&b"\0\0"[..]),
    ] {
        let id = dead(&world, "validator", "not_json", "/x: y", value).await;
        assert!(
            explained(&world, id).await.today.contains("still fails"),
            "{value:?}"
        );
        let id = dead(&world, "persistence", "bad_frame", "d", value).await;
        assert!(
            explained(&world, id).await.today.contains("still fails"),
            "{value:?}"
        );
    }
    world
        .run("UPDATE dead_letters SET value = NULL, value_bytes = 70000")
        .await;
    assert!(
        explained(&world, id)
            .await
            .today
            .contains("dropped its value of 70000 bytes")
    );
}
