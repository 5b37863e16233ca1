//! Lists: filters in the address, pages, empty ones, and values that are only ever text.

use crate::world::{HOSTILE, World};

#[tokio::test]
async fn what_a_vendor_wrote_is_text_on_every_page() {
    let world = World::new().await;
    let (group, letters) = world.dead_letters("amount_not_positive", 2).await;
    let mut olga = world.browser("olga").await;
    let plan = olga.open(&format!("/plan?group={group}")).await;
    let (job, _) = olga
        .follow(
            &format!("/plan?group={group}"),
            &[("key", &plan.field("key")), ("reason", HOSTILE)],
        )
        .await;
    sqlx::query("UPDATE replay_items SET detail = $1, code = $1")
        .bind(HOSTILE.replace('\u{9b}', ""))
        .execute(&world.pool)
        .await
        .unwrap();
    let hostile =
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
    for path in [
        "/groups".to_owned(),
        format!("/groups?contains={hostile}"),
        format!("/groups/{group}"),
        "/dead-letters".to_owned(),
        format!("/dead-letters?source={hostile}&contains={hostile}"),
        format!("/dead-letters?cod{hostile}=1"),
        format!("/dead-letters/{}", letters[0]),
        format!("/dead-letters/{hostile}"),
        format!("/dead-letters/{}/edit", letters[0]),
        format!("/plan?contains={hostile}"),
        format!("/discard?contains={hostile}"),
        format!("/patch?contains={hostile}"),
        job.clone(),
        format!("/replays/{hostile}"),
        "/replays".to_owned(),
        "/log".to_owned(),
        format!("/log?job={hostile}"),
        format!("/rejections?source={hostile}"),
        format!("/rejections/all?peer={hostile}"),
        "/now".to_owned(),
        "/events".to_owned(),
        format!("/events?q={hostile}"),
        format!("/events?source={hostile}&field={hostile}&event_type={hostile}"),
        format!("/events/0:{}", group * 100_000 + 1),
        format!("/events/{hostile}"),
        format!("/audit?hours={hostile}"),
    ] {
        let page = olga.open(&path).await;
        assert!(
            page.header("content-type").starts_with("text/html"),
            "{path}"
        );
        for raw in [
            "<script>alert",
            "<img src=x",
            "\u{202e}",
            "\u{1b}",
            "\u{9b}",
        ] {
            assert!(!page.text.contains(raw), "{raw:?} on {path}: {}", page.text);
        }
    }
    let letter = format!("/dead-letters/{}", letters[0]);
    olga.open(&letter)
        .await
        .says(200, &["&lt;script&gt;", "U+202E", "U+001B"]);
}

#[tokio::test]
async fn a_list_is_filtered_by_its_address_and_turned_page_by_page() {
    let world = World::new().await;
    let (group, letters) = world.dead_letters("amount_not_positive", 60).await;
    let (other, _) = world.dead_letters("not_json", 1).await;
    let mut vera = world.browser("vera").await;
    let groups = vera.open("/groups").await;
    groups.says(
        200,
        &[
            "61 dead letters",
            "in 2 groups",
            &format!("/groups/{group}"),
            &format!("/groups/{other}"),
            "$ </span>eventflow dlq groups",
        ],
    );
    let filtered = vera.open("/groups?code=not_json").await;
    filtered.says(
        200,
        &[
            &format!("/groups/{other}"),
            "code: not_json",
            "eventflow dlq groups --code not_json",
        ],
    );
    assert!(!filtered.text.contains(&format!("\"/groups/{group}\"")));
    let first = vera.open(&format!("/dead-letters?group={group}")).await;
    let last = letters[10];
    first.says(
        200,
        &[
            "50 of 60 dead letters",
            &format!("group={group}&amp;before={last}"),
        ],
    );
    let second = vera
        .open(&format!("/dead-letters?group={group}&before={last}"))
        .await;
    second.says(
        200,
        &[&format!("/dead-letters/{}\"", letters[0]), "The newest"],
    );
    assert!(!second.text.contains(&format!("/dead-letters/{last}\"")));
    vera.open("/dead-letters?contains=nothing+has+this")
        .await
        .says(200, &["No dead letter matches", "remove the filters"]);
    // As the API says it: a mistyped filter selects nothing.
    vera.open("/dead-letters?cod=x")
        .await
        .says(400, &["unknown_word"]);
    vera.open("/dead-letters?code=not_jsn")
        .await
        .says(400, &["did you mean not_json"]);
    vera.open("/dead-letters/999999")
        .await
        .says(404, &["there is no dead letter 999999"]);
    vera.open("/groups/999999")
        .await
        .says(404, &["there is no group 999999"]);
}

#[tokio::test]
async fn a_list_says_what_is_new_and_stays_as_it_is() {
    let world = World::new().await;
    world.dead_letters("amount_not_positive", 2).await;
    let mut vera = world.browser("vera").await;
    vera.open("/groups").await.says(200, &["/live/new?known=2"]);
    assert_eq!(vera.part("/live/new?known=2").await.text, "");
    world.dead_letters("not_json", 3).await;
    vera.part("/live/new?known=2")
        .await
        .says(200, &["3 new, press"]);
    assert_eq!(
        vera.part("/live/new?known=2&code=amount_not_positive")
            .await
            .text,
        ""
    );
}

#[tokio::test]
async fn empty_pages_say_what_to_do() {
    let world = World::new().await;
    let mut vera = world.browser("vera").await;
    for (path, says) in [
        ("/groups", "No dead letter is open."),
        ("/dead-letters", "No dead letter is open."),
        ("/replays", "Nothing was replayed yet."),
        ("/events", "No event has its fate yet."),
        ("/audit", "Nothing was audited yet."),
        ("/log", "Nobody has done anything here yet."),
        ("/rejections", "Nothing was refused."),
        ("/rejections/all", "No refused request matches."),
        ("/plan?code=not_json", "None of these is open."),
    ] {
        vera.open(path).await.says(200, &[says]);
    }
}
