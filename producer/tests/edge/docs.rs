//! The page that shows the API: it and every file it names are served by the edge itself.

use crate::world::world;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_api_loads_nothing_from_elsewhere() {
    let world = world(&[], 10).await;
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = world.app.clone().oneshot(request).await.unwrap();
        let text = |name| {
            let value = answer.headers().get(name);
            value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        let (kind, to) = (text(header::CONTENT_TYPE), text(header::LOCATION));
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            kind,
            to,
            String::from_utf8_lossy(&body).into_owned(),
        )
    };
    let (status, _, to, _) = get("/docs").await;
    // Relative, so that it also works behind a proxy's prefix.
    assert_eq!(
        (status, to.as_str()),
        (StatusCode::PERMANENT_REDIRECT, "docs/")
    );
    let (status, kind, _, page) = get("/docs/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(
        page.contains("/openapi.json") && !page.contains("https://"),
        "{page}"
    );
    let mut files = 0;
    for named in page
        .split(['"', '\''])
        .filter_map(|text| text.strip_prefix("./"))
    {
        let (status, kind, _, content) = get(&format!("/docs/{named}")).await;
        let expected = match named.rsplit_once('.').unwrap().1 {
            "css" => "text/css",
            "js" => "text/javascript",
            _ => "image/png",
        };
        assert_eq!(status, StatusCode::OK, "{named}");
        assert!(
            kind.starts_with(expected) && !content.is_empty(),
            "{named}: {kind}"
        );
        files += 1;
    }
    assert_eq!(files, 6);
    let (status, _, _, document) = get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert!(document.contains("/api/webhooks/{source}"));
}
