//! Before every page: a session, and for a form that its own page sent it. After it: the frame, and headers that bound what a page may do.

use crate::App;
use crate::api::Problem;
use crate::visit::Visit;
use crate::{layout, login};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;
use recovery::http::ApiProblem;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// Largest form: an edited value of the largest size, percent-encoded.
const FORM_BYTES: usize = 4 << 20;

/// What a page may load, run and send, and who may show it: nothing but what this origin serves, and nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let part = is_part(headers);
    let background = request.uri().path().starts_with("/live/");
    let cookie = login::cookie(headers, login::is_https(&app, headers));
    let member = cookie.and_then(|cookie| {
        let sessions = &app.console.sessions;
        sessions.member(cookie, Instant::now(), background)
    });
    let Some(member) = member else {
        return login::required(&request, part);
    };
    let visit = Visit::new(app, member, request.uri().clone());
    if !request.method().is_safe() {
        request = match own_form(request, &visit.member.csrf).await {
            Ok(request) => request,
            Err(problem) => return layout::framed(&visit, part, problem.into_response()),
        };
    }
    request.extensions_mut().insert(visit.clone());
    let response = next.run(request).await;
    layout::framed(&visit, part, response)
}

/// Whether a script asks for a part of a page.
fn is_part(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

/// What a form of this session posted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A field; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A field of several lines, as a file has them.
    pub(crate) fn lines(&self, name: &str) -> String {
        self.text(name).replace("\r\n", "\n")
    }

    /// Whether a box is checked.
    pub(crate) fn is_checked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let form = parts.extensions.get::<Self>().cloned();
        form.ok_or_else(|| Problem::new(400, "bad_body", "send the page's form"))
    }
}

/// The request with its form read, if a page of this session and this origin sent it.
async fn own_form(request: Request, csrf: &str) -> Result<Request, Problem> {
    if !is_same_origin(request.headers()) {
        return Err(foreign());
    }
    let media = request.headers().get(header::CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    if !media.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::new(415, "bad_body", "send the page's form"));
    }
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, FORM_BYTES).await;
    let bytes = bytes.map_err(|_| {
        let limit = ApiProblem::BodyTooLarge(FORM_BYTES);
        Problem::from(limit)
    })?;
    let form = Form::read(&bytes);
    if !bool::from(form.text("csrf").as_bytes().ct_eq(csrf.as_bytes())) {
        return Err(foreign());
    }
    let mut request = Request::from_parts(parts, axum::body::Body::empty());
    request.extensions_mut().insert(form);
    Ok(request)
}

/// Whether a page of this origin sends it. Browsers say so in a header that no page can set; those that do not, name the origin.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let Some(((_, origin), host)) = origin.zip(text(header::HOST)) else {
        return false;
    };
    origin.eq_ignore_ascii_case(host)
}

pub(crate) fn foreign() -> Problem {
    Problem::new(
        403,
        "foreign_form",
        "this was not sent by a page of this session, so nothing was done: open the page again, and send it from there",
    )
}

/// On everything that the console answers.
pub(crate) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    // Payloads are other people's: no cache keeps a page.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What is no page is for the API; to a browser that looks for one, a page that says so.
pub(crate) async fn fallback(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let looks = accept.is_some_and(|accept| accept.contains("text/html"));
    if !looks || path.starts_with("/api/") || path == "/openapi.json" {
        return app.api.pass(request).await;
    }
    let problem = Problem::new(
        404,
        "no_such_route",
        "there is no such page: begin at the first one",
    );
    let body = html! { (layout::problem_box(&problem)) p { a href="/" { "To the first page" } } };
    let page = (StatusCode::NOT_FOUND, layout::bare("No such page", &body));
    protect(page.into_response()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn only_this_origin_is_the_same() {
        for (pairs, same) in [
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "same-site")], false),
            (
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://a:1"),
                    ("host", "a:1"),
                ],
                false,
            ),
            (vec![("sec-fetch-site", "none")], false),
            (vec![("origin", "https://A:1"), ("host", "a:1")], true),
            (vec![("origin", "https://a:1"), ("host", "a:2")], false),
            (vec![("origin", "null"), ("host", "null")], false),
            (vec![("host", "a:1")], false),
            (vec![], false),
        ] {
            assert_eq!(is_same_origin(&headers(&pairs)), same, "{pairs:?}");
        }
    }
}
