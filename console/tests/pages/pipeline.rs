//! The pipeline now, events, and the audit by hour.

use crate::world::{HOSTILE, World};

#[tokio::test]
async fn now_shows_the_path_as_the_pipeline_describes_it() {
    let world = World::new().await;
    world.dead_letters("amount_not_positive", 3).await;
    let mut vera = world.browser("vera").await;
    let page = vera.open("/now").await;
    // This process runs no role: nobody was looked at, and that is said.
    page.says(
        200,
        &[
            "The roles were not looked at yet.",
            "events.raw.v1",
            "events.validated.v1",
            "persistence",
            "Not audited yet.",
            "payment-provider",
            "$ </span>eventflow now",
        ],
    );
    let open = page.text.split(">dead letters<").nth(1).unwrap();
    assert!(open.contains(">3<"), "{open}");
    assert!(
        !page.text.contains("style="),
        "the policy refuses inline style"
    );
    let part = vera.open("/live/now").await;
    assert!(!part.text.contains("<html"), "{}", part.text);
    vera.open("/live/banner").await.says(200, &[]);
}

#[tokio::test]
async fn an_event_is_found_and_its_story_is_told() {
    let world = World::new().await;
    let (group, _) = world.dead_letters("amount_not_positive", 60).await;
    let mut vera = world.browser("vera").await;
    let newest = format!("0:{}", group * 100_000 + 60);
    let list = vera.open("/events").await;
    list.says(
        200,
        &[
            "dead lettered (open)",
            "evt_60",
            "Older",
            "$ </span>eventflow events ls",
        ],
    );
    let place = format!("/events/{}", newest.replace(':', "%3A"));
    assert!(list.text.contains(&place), "{}", list.text);
    let story = vera.open(&place).await;
    story.says(
        200,
        &[
            "evt_60",
            "Dead-lettered",
            "What was signed",
            "-1.00",
            "This record made no row",
            "Signature: ",
            "curl -sS -X POST",
            &format!("eventflow events show {newest}"),
        ],
    );
    vera.open("/events?q=evt_7")
        .await
        .says(200, &["evt_7", "q: evt_7"]);
    vera.open("/events?fate=stored&since=1h").await.says(
        200,
        &[
            "No event matches",
            "eventflow events ls --fate stored --since 1h",
        ],
    );
    vera.open("/events?field=x")
        .await
        .says(400, &["expected /PATH=VALUE"]);
    vera.open("/events/0:1").await.says(404, &["has no fate"]);
    // What is new is said, and not pushed into the list.
    let seen = format!("/live/events?seen=0:{}", group * 100_000 + 55);
    vera.open(&seen)
        .await
        .says(200, &["5 new events", "data-new"]);
    let seen = format!("/live/events?seen={newest}");
    assert!(!vera.open(&seen).await.text.contains("data-new"));
}

#[tokio::test]
async fn a_gap_is_red_in_its_hour() {
    let world = World::new().await;
    sqlx::query(
        "WITH c AS (INSERT INTO audit_checkpoints (at, topic, low, high, validator_next, validated_ends, reached_at)
                    VALUES (now() - interval '3 hours', 'events.raw.v1', '{}', '{\"0\": 100}', '{}', '{}', now())),
              f AS (INSERT INTO audit_frontier (topic, partition, first_offset, next_offset, high) VALUES ('events.raw.v1', 0, 0, 900, 1000)),
              p AS (INSERT INTO audit_pages (topic, partition, page, next_offset, stored, gap) VALUES ('events.raw.v1', 0, 0, 900, 899, 1))
         INSERT INTO audit_findings (topic, partition, \"offset\", kind, detail) VALUES ('events.raw.v1', 0, 500, 'gap', $1)",
    )
    .bind(HOSTILE.replace('\u{9b}', ""))
    .execute(&world.pool)
    .await
    .unwrap();
    let mut vera = world.browser("vera").await;
    let page = vera.open("/audit").await;
    page.says(
        200,
        &[
            "1 without a fate",
            "no fate",
            "/events/0%3A500",
            "&lt;script&gt;",
            "A week",
        ],
    );
    let red = page.text.split("<td class=\"cell").filter(|cell| {
        cell.split('"')
            .next()
            .is_some_and(|class| class.contains(" wrong"))
    });
    assert_eq!(red.count(), 1, "{}", page.text);
    assert!(!page.text.contains("<script>alert"));
    vera.open("/audit?hours=x").await.says(200, &["A day"]);
    vera.open("/audit?hours=9999")
        .await
        .says(400, &["hours: must be"]);
}
