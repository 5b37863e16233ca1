//! Scripts and styles, embedded in the program. Each is served under a name with its hash, so that browsers may keep it for good.

use crate::App;
use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A file, and where it is served.
pub(crate) struct Asset {
    path: String,
    media: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(name: &str, media: &'static str, bytes: &'static [u8]) -> Self {
        let hash = hex::encode(&Sha256::digest(bytes)[..8]);
        Self {
            path: format!("/assets/{hash}/{name}"),
            media,
            bytes,
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

macro_rules! assets {
    ($($name:ident = $file:literal, $media:literal;)+) => {
        $(pub(crate) static $name: LazyLock<Asset> =
            LazyLock::new(|| Asset::new($file, $media, include_bytes!(concat!("../assets/", $file))));)+

        fn find(path: &str) -> Option<&'static Asset> {
            [$(&*$name,)+].into_iter().find(|asset| asset.path == path)
        }
    };
}

assets! {
    STYLE = "console.css", "text/css; charset=utf-8";
    SCRIPT = "console.js", "text/javascript; charset=utf-8";
    HTMX = "htmx.min.js", "text/javascript; charset=utf-8";
    SSE = "hx-sse.min.js", "text/javascript; charset=utf-8";
    ICON = "icon.svg", "image/svg+xml";
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/assets/{hash}/{name}", get(serve))
}

async fn serve(Path((hash, name)): Path<(String, String)>) -> Response {
    match find(&format!("/assets/{hash}/{name}")) {
        Some(asset) => {
            let headers = [
                (header::CONTENT_TYPE, asset.media),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, asset.bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_vendored_is_what_the_list_says() {
        let list = include_str!("../assets/README.md");
        for asset in [&*HTMX, &*SSE] {
            let hash = hex::encode(Sha256::digest(asset.bytes));
            assert!(list.contains(&hash), "{} {hash}", asset.path);
        }
    }
}
