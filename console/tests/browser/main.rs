//! The console in a real browser: a dead letter's way to a replay counted in clicks, what moves without a reload, keys, and every page
//! accessible at both widths, light and dark.

#![allow(clippy::unwrap_used, reason = "a test")]

mod driver;
#[path = "../pages/world.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod world;

use console::ConsoleSettings;
use driver::{Chromium, Driver};
use recovery::http::{ApiArgs, serve};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use world::{World, token};

/// The rules of accessibility (axe-core 4.14.1, MPL-2.0).
const AXE: &str = include_str!("axe.min.js");

/// Its address, until the guard is dropped.
async fn served(world: &World) -> (String, DropGuard) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (router, shutdown) = (world.router.clone(), CancellationToken::new());
    let end = shutdown.clone();
    tokio::spawn(async move { serve(listener, router, &ApiArgs::default(), end).await });
    (url, shutdown.drop_guard())
}

async fn log_in(chromium: &Chromium<'_>, url: &str, name: &str) {
    chromium.go(&format!("{url}/groups")).await;
    chromium.write("#token", &token(name)).await;
    chromium.click("Log in").await;
    chromium.sees("Log out").await;
    assert_eq!(chromium.path().await, "/groups");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_in_eight_clicks_and_the_page_follows_it() {
    let world = World::new().await;
    world.dead_letters("amount_not_positive", 1).await;
    let (url, _serving) = served(&world).await;
    let driver = Driver::start();
    let chromium = driver.open(1280, false).await;
    log_in(&chromium, &url, "olga").await;
    let mut clicks = 0;
    let mut click = async |name: &str| {
        clicks += 1;
        chromium.click(name).await;
    };
    click("The amount").await;
    chromium.sees("Replay all 1").await;
    click("dead letter ").await;
    chromium.sees("it still fails").await;
    click("Edit").await;
    // While it is typed: the verdict, without a reload.
    let value = chromium
        .run("return document.querySelector('#text').value", json!([]))
        .await;
    let value = value.as_str().unwrap();
    chromium.write("#text", &value.replace("-1.00", "0")).await;
    chromium.sees("Not taken yet").await;
    chromium
        .write("#text", &value.replace("-1.00", "12.50"))
        .await;
    chromium.sees("It meets its contract").await;
    click("Save, then replay").await;
    chromium.sees("The edited value is saved").await;
    click("Plan, and try it").await;
    chromium.sees("would be stored").await;
    click("Start").await;
    chromium.sees("running").await;
    assert!(clicks <= 8, "{clicks}");
    // What the role would do: the page follows it by itself.
    sqlx::query("UPDATE replay_items SET state = 'sent'")
        .execute(&world.pool)
        .await
        .unwrap();
    chromium.sees("1 sent").await;
    sqlx::query("UPDATE replay_items SET state = 'stored'")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE replay_jobs SET state = 'finished', finished_at = clock_timestamp()")
        .execute(&world.pool)
        .await
        .unwrap();
    chromium.sees("finished").await;
    chromium.sees("1 stored").await;
    let complaints = chromium.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    chromium.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_used_by_keys() {
    let world = World::new().await;
    world.dead_letters("amount_not_positive", 2).await;
    world.dead_letters("not_json", 1).await;
    let (url, _serving) = served(&world).await;
    let driver = Driver::start();
    let chromium = driver.open(1280, false).await;
    log_in(&chromium, &url, "vera").await;
    chromium.press("j").await;
    chromium.press("j").await;
    let here = chromium
        .run(
            "return document.querySelector('tr.here').rowIndex",
            json!([]),
        )
        .await;
    assert_eq!(here, 2);
    chromium.press("k\u{e007}").await;
    chromium.sees("One of them").await;
    chromium.press("gr").await;
    chromium.sees("Nothing was replayed yet").await;
    chromium.press("gd").await;
    chromium.sees("One group usually has one cause").await;
    chromium.press("/").await;
    chromium.press("negative\u{e007}").await;
    chromium.sees("No dead letter matches").await;
    assert!(chromium.path().await.contains("contains=negative"));
    chromium.press("?").await;
    chromium.sees("to the search field").await;
    chromium.close().await;
}

/// What breaks the rules, in short.
async fn violations(chromium: &Chromium<'_>) -> Vec<String> {
    let script = format!(
        "{AXE}; return axe.run(document, {{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}}).then(found => found.violations)"
    );
    let found: Value = chromium.run(&script, json!([])).await;
    let found = found.as_array().unwrap().iter();
    let nodes = |rule: &Value| {
        rule["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["html"].to_string())
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
    };
    found
        .map(|rule| format!("{}: {} {}", rule["id"], rule["help"], nodes(rule)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_and_as_wide_as_its_window() {
    let world = World::with(
        &["--confirm-above", "1", "--require-approval"],
        ConsoleSettings::default(),
    )
    .await;
    let (group, letters) = world.dead_letters("amount_not_positive", 3).await;
    let mut olga = world.browser("olga").await;
    let plan = olga.open(&format!("/plan?group={group}")).await;
    let (job, _) = olga
        .follow(
            &format!("/plan?group={group}"),
            &[("key", &plan.field("key")), ("reason", "INC-42")],
        )
        .await;
    let (url, _serving) = served(&world).await;
    let driver = Driver::start();
    let pages = [
        "/groups".to_owned(),
        "/groups?code=not_json".to_owned(),
        format!("/groups/{group}"),
        "/dead-letters?source=x&code=not_json".to_owned(),
        "/dead-letters".to_owned(),
        format!("/dead-letters/{}", letters[0]),
        format!("/dead-letters/{}/edit", letters[0]),
        format!("/patch?group={group}"),
        format!("/discard?group={group}"),
        format!("/plan?group={group}"),
        "/replays".to_owned(),
        job,
        "/log".to_owned(),
        "/log/verify".to_owned(),
        "/rejections".to_owned(),
        "/nowhere".to_owned(),
    ];
    let mut wrong = Vec::new();
    for (width, dark) in [(1280, false), (390, true), (1280, true), (390, false)] {
        let chromium = driver.open(width, dark).await;
        chromium.go(&format!("{url}/login")).await;
        wrong.extend(
            violations(&chromium)
                .await
                .into_iter()
                .map(|why| format!("/login {width} dark={dark}: {why}")),
        );
        log_in(&chromium, &url, "olga").await;
        for page in &pages {
            chromium.go(&format!("{url}{page}")).await;
            let found = violations(&chromium).await;
            wrong.extend(
                found
                    .into_iter()
                    .map(|why| format!("{page} {width} dark={dark}: {why}")),
            );
            let wide = chromium
                .run("return document.documentElement.scrollWidth", json!([]))
                .await;
            if wide.as_u64() > Some(width.into()) {
                wrong.push(format!("{page} {width}: {wide} px wide"));
            }
        }
        let complaints = chromium.complaints().await;
        wrong.extend(
            complaints
                .into_iter()
                .filter(|why| !why.contains("/nowhere")),
        );
        chromium.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
