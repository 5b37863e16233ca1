//! The recovery role's pages: HTML made on the server, for people who look before they type.
//!
//! A page never asks the database. It calls the recovery API in this process ([`api`]) as the person who logged in, so every rule (roles,
//! approvals, idempotency, the audit log, limits) is the API's, and nothing here is possible that the API refuses.
//!
//! The way of a request: [`guard`] looks for its session ([`session`]), refuses a form that another site made somebody send, and hands the page a
//! [`Visit`](visit::Visit): who it is, and the API as they may use it. The page answers with a [`Page`](page::Page) or a
//! [`Problem`](api::Problem); [`layout`] puts either into the frame with the navigation. [`login`] opens and ends sessions, [`assets`] serves
//! scripts and styles, [`view`] has the pieces that pages are made of: times, badges, commands, JSON with a place marked, differences.
//!
//! To add a page: one file in `src/pages/` with a function `routes()`, and one line in the table of [`pages`]. A handler is
//! `async fn name(visit: Visit) -> Answer`. It asks with `visit.get(path, &words)`, changes with `visit.post(path, &body)`, and answers
//! `Ok(Page::new("Title", html! { ... }))`. What is polled or streamed is under `/live/` and answers a [`Fragment`](page::Fragment): it does not count as use
//! of the session. A form has `(csrf(&visit))` in it, and its handler takes [`Form`](guard::Form). Forms work without a script.

mod api;
mod asked;
mod assets;
mod attempts;
mod banner;
mod guard;
mod layout;
mod login;
mod page;
mod pages;
mod session;
mod stream;
mod view;
mod visit;

use attempts::Attempts;
use axum::Router;
use axum::middleware::from_fn_with_state;
use recovery::http::Tokens;
use session::Sessions;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Pages that may stream at once, over all sessions.
const STREAMS: usize = 64;

/// How the console is served.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsoleSettings {
    /// The listener does TLS: cookies are then for HTTPS only. Behind a proxy they are where it says `X-Forwarded-Proto: https`
    pub https: bool,
}

/// The sessions of one role, and what is served to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Console {
    tokens: Tokens,
    settings: ConsoleSettings,
    sessions: Arc<Sessions>,
    attempts: Arc<Attempts>,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Console {
    /// A console without sessions. `tokens` are the API's: whoever has one may log in with it. Streams end at `shutdown`.
    #[must_use]
    pub fn new(tokens: &Tokens, settings: ConsoleSettings, shutdown: CancellationToken) -> Self {
        Self {
            tokens: tokens.clone(),
            settings,
            sessions: Arc::new(Sessions::default()),
            attempts: Arc::new(Attempts::default()),
            streams: Arc::new(Semaphore::new(STREAMS)),
            shutdown,
        }
    }

    /// A path that logs in whoever opens it first, as the owner of this token: for a program that prints a link. It holds a code of its own, not
    /// the token. None when nobody has such a token.
    #[must_use]
    pub fn invitation(&self, token: &[u8]) -> Option<String> {
        let person = self.tokens.person(token)?;
        let code = self.sessions.invite(person)?;
        Some(format!("{}{code}", login::INVITATION))
    }

    /// The pages beside the API's routes, which answer what is no page.
    pub fn around(self, api: Router) -> Router {
        let app = App {
            console: self,
            api: api::Api::new(api),
        };
        let pages = pages::routes()
            .route("/logout", axum::routing::post(login::log_out))
            .layer(from_fn_with_state(app.clone(), guard::guard));
        Router::new()
            .merge(pages)
            .merge(login::routes())
            .merge(assets::routes())
            .layer(axum::middleware::map_response(guard::protect))
            .fallback(guard::fallback)
            .with_state(app)
    }
}

/// What handlers share.
#[derive(Debug, Clone)]
struct App {
    console: Console,
    api: api::Api,
}
