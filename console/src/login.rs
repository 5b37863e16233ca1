//! Log-in with an API token, once; after that a cookie that no script can read. And log-out.

use crate::App;
use crate::guard::{Form, foreign, is_same_origin};
use crate::visit::Visit;
use crate::{layout, session};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};
use recovery::http::Person;
use runtime::http::Peer;
use std::time::Instant;

/// Before the code of an invitation.
pub(crate) const INVITATION: &str = "/enter/";

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/login", get(form).post(log_in))
        .route("/enter/{code}", get(enter))
}

/// Whether the browser speaks HTTPS, to us or to the proxy in front. Whoever lies about it only loses the session's cookie.
pub(crate) fn is_https(app: &App, headers: &HeaderMap) -> bool {
    let forwarded = headers.get("x-forwarded-proto");
    app.console.settings.https || forwarded.is_some_and(|scheme| scheme == "https")
}

/// With the prefix a browser takes it from nobody but this host, over HTTPS.
fn cookie_name(https: bool) -> &'static str {
    if https {
        "__Host-eventflow"
    } else {
        "eventflow"
    }
}

pub(crate) fn cookie(headers: &HeaderMap, https: bool) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all.filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = pairs.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == cookie_name(https)).then_some(value)
    })
}

fn set_cookie(value: &str, https: bool) -> String {
    let (name, secure) = (cookie_name(https), if https { "; Secure" } else { "" });
    let seconds = if value.is_empty() {
        0
    } else {
        session::LONGEST.as_secs()
    };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// A place of this origin; anything else is the first page.
fn place(next: &str) -> &str {
    let local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(['\\', '\t', '\n', '\r']);
    if local { next } else { "/" }
}

/// The answer to somebody without a session.
pub(crate) fn required(request: &Request, part: bool) -> Response {
    if part {
        // The page is loaded again, and that leads to the log-in.
        return (StatusCode::UNAUTHORIZED, [("hx-refresh", "true")]).into_response();
    }
    let wanted = request.uri().path_and_query();
    let wanted = place(wanted.map_or("/", |wanted| wanted.as_str()));
    let next = crate::asked::Asked::from_iter([("next", wanted)]).to("/login");
    if request.method() != Method::GET {
        let page = layout::bare(
            "Your session has ended",
            &html! {
                p { "Nothing was done. " a href="/login" target="_blank" { "Log in in another tab" } ", then come back and send it again." }
            },
        );
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    // The cookie does not come along with a link on another site: this page asks once more, from here.
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site") {
        return onward(wanted);
    }
    Redirect::to(&next).into_response()
}

/// A page that goes on to another by itself.
fn onward(place: &str) -> Response {
    let page: Markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content={ "0;url=" (place) };
                title { "EventFlow" }
            }
            body { a href=(place) { "Continue" } }
        }
    };
    axum::response::Html(page.into_string()).into_response()
}

/// Opens a session; none when the machine has no randomness.
fn opened(app: &App, headers: &HeaderMap, person: Person) -> Option<HeaderValue> {
    tracing::info!(event = "console_login", who = person.name(), role = %person.role());
    let cookie = app.console.sessions.open(person, Instant::now())?;
    HeaderValue::from_str(&set_cookie(&cookie, is_https(app, headers))).ok()
}

async fn form(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = crate::asked::Asked::of(&uri);
    let next = place(asked.get("next").unwrap_or("/")).to_owned();
    let known = cookie(&headers, is_https(&app, &headers))
        .and_then(|cookie| app.console.sessions.member(cookie, Instant::now(), false));
    if known.is_some() {
        return Redirect::to(&next).into_response();
    }
    login_page(&app, &next, None).into_response()
}

fn login_page(app: &App, next: &str, problem: Option<&str>) -> Response {
    layout::bare("Log in", &html! {
        @if app.console.tokens.is_empty() {
            div.problem role="alert" {
                p { "Nobody can log in: no API token is configured. Start the role with " code { "--api-token NAME:ROLE=env:VARIABLE" } "." }
            }
        }
        @if let Some(problem) = problem {
            div.problem role="alert" { p { (problem) } }
        }
        form.card method="post" action="/login" {
            input type="hidden" name="next" value=(next);
            label for="token" { "Your API token" }
            // For the browser's memory of passwords.
            input type="text" name="username" value="eventflow" autocomplete="username" aria-label="Name" hidden;
            input #token type="password" name="token" autocomplete="current-password" required autofocus spellcheck="false";
            p.hint { "It is sent once and not kept: a cookie takes its place for as long as you work, at most 12 hours. Your name goes to the log of what was done." }
            button.primary type="submit" { "Log in" }
        }
    })
    .into_response()
}

async fn log_in(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&body);
    let next = place(form.text("next"));
    let refused = |status: StatusCode, problem: &str| {
        let mut response = login_page(&app, next, Some(problem));
        *response.status_mut() = status;
        response
    };
    if !is_same_origin(&headers) {
        return refused(StatusCode::FORBIDDEN, &foreign().detail);
    }
    let (address, now) = (peer.map(|peer| peer.0.0), Instant::now());
    let attempts = &app.console.attempts;
    if !attempts.may(address, now) {
        let problem = "Too many failed log-ins from this address: wait a minute, and look where your token is kept.";
        return refused(StatusCode::TOO_MANY_REQUESTS, problem);
    }
    let Some(person) = app
        .console
        .tokens
        .person(form.text("token").trim().as_bytes())
    else {
        attempts.failed(address, now);
        tracing::warn!(event = "console_login_failed", peer = ?address);
        let problem = "This token is not known. Paste it whole, without NAME and ROLE; whoever configures --api-token has it.";
        return refused(StatusCode::UNAUTHORIZED, problem);
    };
    match opened(&app, &headers, person) {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
        None => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "This machine gives no random numbers: try again.",
        ),
    }
}

async fn enter(State(app): State<App>, Path(code): Path<String>, headers: HeaderMap) -> Response {
    let person = app.console.sessions.accept(&code);
    match person.and_then(|person| opened(&app, &headers, person)) {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], onward("/")).into_response(),
        None => {
            let problem = "This link was used before, or is of another run: log in with the token.";
            let mut response = login_page(&app, "/", Some(problem));
            *response.status_mut() = StatusCode::GONE;
            response
        }
    }
}

pub(crate) async fn log_out(visit: Visit, headers: HeaderMap) -> Response {
    visit.app.console.sessions.close(&visit.member.session);
    let cookie = set_cookie("", is_https(&visit.app, &headers));
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, leads) in [
            ("/groups?a=b", "/groups?a=b"),
            ("//evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("https://evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(place(next), leads, "{next}");
        }
    }

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let plain = set_cookie("x", false);
        assert!(
            plain.starts_with("eventflow=x; Path=/;")
                && plain.contains("HttpOnly; SameSite=Strict")
                && !plain.contains("Secure")
        );
        assert!(
            set_cookie("x", true).starts_with("__Host-eventflow=x; Path=/;")
                && set_cookie("x", true).ends_with("; Secure")
        );
        assert!(set_cookie("", true).contains("Max-Age=0"));
    }
}
