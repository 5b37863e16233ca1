//! Who gets in, for how long, and what another site cannot make them do.

use crate::world::{Browser, World, token};
use axum::body::Body;
use axum::http::Request;
use console::ConsoleSettings;

#[tokio::test]
async fn nobody_sees_a_page_without_a_session() {
    let world = World::new().await;
    let (_, letters) = world.dead_letters("amount_not_positive", 1).await;
    let mut nobody = Browser::new(&world);
    for path in [
        "/",
        "/groups",
        "/groups/1",
        "/dead-letters",
        "/plan?group=1",
        "/replays",
        "/log",
        "/rejections",
    ] {
        let answer = nobody.open(path).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        assert!(
            answer.location().starts_with("/login?next=%2F"),
            "{answer:?}"
        );
        assert_eq!(nobody.part(path).await.header("hx-refresh"), "true");
    }
    let live = nobody.part("/live/banner").await;
    assert_eq!((live.status, live.text.as_str()), (401, ""));
    let letter = format!("/dead-letters/{}/edit", letters[0]);
    nobody
        .submit(&letter, &[("text", "{}")])
        .await
        .says(401, &["Nothing was done"]);
    // The API knows no session: a token, as ever.
    let mut olga = world.browser("olga").await;
    let api = olga.open("/api/v1/groups").await;
    api.says(401, &["bad_token"]);
    olga.open("/openapi.json")
        .await
        .says(200, &["EventFlow recovery"]);
}

#[tokio::test]
async fn a_link_from_elsewhere_leads_to_its_page() {
    let world = World::new().await;
    let mut nobody = Browser::new(&world);
    let from_elsewhere = Request::builder()
        .uri("/groups?code=a%3Cb")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty())
        .unwrap();
    // The cookie is not sent along: the page asks again, from here.
    world
        .ask(from_elsewhere)
        .await
        .says(200, &["url=/groups?code=a%3Cb"]);
    let answer = nobody.open("/groups?code=not_json").await;
    assert_eq!(answer.location(), "/login?next=%2Fgroups%3Fcode%3Dnot_json");
    let login = nobody.open("/login?next=%2Fgroups%3Fcode%3Dnot_json").await;
    assert_eq!(login.field("next"), "/groups?code=not_json");
    let token = token("vera");
    let answer = nobody
        .submit(
            "/login",
            &[("token", &token), ("next", "/groups?code=not_json")],
        )
        .await;
    assert_eq!(
        (answer.status, answer.location()),
        (303, "/groups?code=not_json")
    );
    let answer = Browser::new(&world)
        .submit("/login", &[("token", &token), ("next", "//evil.example")])
        .await;
    assert_eq!(answer.location(), "/");
}

#[tokio::test]
async fn a_log_in_takes_a_token_of_this_page_and_few_attempts() {
    let world = World::new().await;
    let token = token("vera");
    let foreign = Browser::new(&world)
        .submit_as(
            "/login",
            &[("token", &token)],
            &[("origin", "http://evil.test")],
        )
        .await;
    foreign.says(403, &["not sent by a page of this session"]);
    for _ in 0..10 {
        let refused = Browser::new(&world)
            .submit("/login", &[("token", "guessed-0123456789")])
            .await;
        refused.says(401, &["not known"]);
        assert!(refused.headers.get("set-cookie").is_none() && !refused.text.contains("guessed"));
    }
    Browser::new(&world)
        .submit("/login", &[("token", &token)])
        .await
        .says(429, &["wait a minute"]);
}

#[tokio::test]
async fn a_cookie_is_for_this_host_and_no_script_and_ends_with_the_log_out() {
    let world = World::with(&[], ConsoleSettings { https: true }).await;
    let mut browser = Browser::new(&world);
    let answer = browser.submit("/login", &[("token", &token("vera"))]).await;
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-eventflow=")
            && cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    assert!(!cookie.contains(&token("vera")));
    browser.open("/groups").await.says(200, &["vera", "viewer"]);
    let stolen = browser.cookie().to_owned();
    let out = browser.submit("/logout", &[]).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let late = Request::builder()
        .uri("/groups")
        .header("cookie", stolen)
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.ask(late).await.status, 303);
}

#[tokio::test]
async fn an_invitation_opens_one_session() {
    let world = World::new().await;
    assert_eq!(world.console.invitation(b"no token of anybody"), None);
    let path = world.console.invitation(token("olga").as_bytes()).unwrap();
    assert!(!path.contains(&token("olga")));
    let mut first = Browser::new(&world);
    first.open(&path).await.says(200, &["url=/"]);
    first.open("/groups").await.says(200, &["olga", "operator"]);
    Browser::new(&world)
        .open(&path)
        .await
        .says(410, &["used before"]);
}

#[tokio::test]
async fn another_site_makes_nobody_send_a_form() {
    let world = World::new().await;
    let (group, _) = world.dead_letters("amount_not_positive", 2).await;
    let mut olga = world.browser("olga").await;
    let path = format!("/discard?group={group}");
    olga.open(&path)
        .await
        .says(200, &["Discard 2 dead letters"]);
    let csrf = olga.csrf().to_owned();
    let here = ("origin", "http://console.test");
    for (fields, headers) in [
        (vec![("reason", "r")], vec![here]),
        (vec![("reason", "r"), ("csrf", "")], vec![here]),
        (vec![("reason", "r"), ("csrf", "0123")], vec![here]),
        (
            vec![("reason", "r"), ("csrf", csrf.as_str())],
            vec![("origin", "http://evil.test")],
        ),
        (
            vec![("reason", "r"), ("csrf", csrf.as_str())],
            vec![("origin", "null")],
        ),
        (vec![("reason", "r"), ("csrf", csrf.as_str())], vec![]),
        (
            vec![("reason", "r"), ("csrf", csrf.as_str())],
            vec![here, ("sec-fetch-site", "cross-site")],
        ),
        (
            vec![("reason", "r"), ("csrf", csrf.as_str())],
            vec![here, ("sec-fetch-site", "same-site")],
        ),
    ] {
        olga.submit_as(&path, &fields, &headers)
            .await
            .says(403, &["nothing was done"]);
    }
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM dead_letters WHERE state = 'open'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(open, 2);
    // The token of another session opens nothing here.
    let mut otto = world.browser("otto").await;
    otto.open(&path).await;
    let theirs = otto.csrf().to_owned();
    olga.submit_as(&path, &[("reason", "r"), ("csrf", &theirs)], &[here])
        .await
        .says(403, &["foreign_form"]);
    let (_, page) = olga.follow(&path, &[("reason", "test traffic")]).await;
    page.says(200, &["2 dead letters discarded."]);
}

#[tokio::test]
async fn a_viewer_reads_and_changes_nothing() {
    let world = World::new().await;
    let (group, letters) = world.dead_letters("amount_not_positive", 2).await;
    let letter = letters[0];
    let mut olga = world.browser("olga").await;
    let plan = olga.open(&format!("/plan?group={group}")).await;
    let (job, _) = olga
        .follow(
            &format!("/plan?group={group}"),
            &[("key", &plan.field("key"))],
        )
        .await;
    let mut vera = world.browser("vera").await;
    for path in [
        format!("/groups/{group}"),
        format!("/dead-letters/{letter}"),
        format!("/discard?id={letter}"),
        format!("/patch?group={group}"),
        job.clone(),
    ] {
        let page = vera.open(&path).await;
        page.says(200, &["the role viewer, which reads"]);
        assert!(
            !page.text.contains("<form method=\"post\" action=\"/d")
                && !page.text.contains("action=\"/replays"),
            "{path}"
        );
    }
    for (path, fields) in [
        (format!("/dead-letters/{letter}/edit"), vec![("text", "{}")]),
        (format!("/discard?id={letter}"), vec![("reason", "r")]),
        (format!("/genuine?id={letter}"), vec![("reason", "r")]),
        (
            format!("/patch?group={group}"),
            vec![("set", "/a=1"), ("do", "apply"), ("key", "k")],
        ),
        (format!("/plan?group={group}"), vec![("key", "k")]),
        (format!("{job}/apply"), vec![]),
        (format!("{job}/change/stop"), vec![]),
        (format!("{job}/dry-run"), vec![]),
    ] {
        vera.submit(&path, &fields)
            .await
            .says(403, &["role_too_low"]);
    }
}

#[tokio::test]
async fn a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() {
    let world = World::new().await;
    let mut vera = world.browser("vera").await;
    let page = vera.open("/groups").await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'")
            && policy.contains("frame-ancestors 'none'")
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(
        (
            page.header("x-content-type-options"),
            page.header("referrer-policy")
        ),
        ("nosniff", "no-referrer")
    );
    for forbidden in ["style=\"", "onclick", "<style", "javascript:", "//cdn"] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    let mut assets = 0;
    for piece in page
        .text
        .split('"')
        .filter(|piece| piece.starts_with("/assets/"))
    {
        let asset = vera.open(piece).await;
        assert_eq!(asset.status, 200, "{piece}");
        assert!(
            asset.header("cache-control").contains("immutable"),
            "{piece}"
        );
        assets += 1;
    }
    assert!(assets >= 5, "{assets}");
    vera.open("/assets/0000/console.js").await.says(404, &[]);
    vera.open("/nowhere").await.says(404, &["no such page"]);
}
