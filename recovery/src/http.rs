//! Everything on-call can do, over HTTP: one route a word, tokens with roles, problem documents.
//!
//! A request passes in this order: its token, or the [`Person`] that a caller in this process has checked ([`tokens`]), a permit among those in flight, a time limit, then the words of its query and
//! body ([`input`]), then the work. [`endpoints`] is the table the router and [`openapi`] are made of.

mod dead_letters;
mod endpoints;
mod events;
mod input;
pub mod openapi;
pub mod problem;
mod rejections;
mod replays;
mod role;
mod server;
mod tokens;

pub use input::selection;
pub use problem::ApiProblem;
pub use role::TokenRole;
pub use server::serve;
pub use tokens::{Person, Tokens};

use crate::context::Context;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use runtime::config::ConfigError;
use runtime::http::Certificates;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest body; the command line imports in parts below it.
pub const BODY_BYTES: usize = 16 << 20;
/// Requests in flight.
const IN_FLIGHT: usize = 32;
/// Longest a question about a few dead letters may take.
const QUICK: Duration = Duration::from_secs(60);
/// Longest work on many may take.
const SLOW: Duration = Duration::from_secs(600);

/// Who may use the API, and how it is reached.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ApiArgs {
    /// Token for the API, as NAME:ROLE=REF; repeatable. REF is env:VARIABLE or file:/path, never the token itself; NAME goes to the
    /// audit log. Roles: viewer reads; operator also edits, discards, replays and approves what another person planned.
    /// Without any token the API answers 503 no_tokens_configured
    #[arg(
        help_heading = "API",
        long = "api-token",
        value_name = "NAME:ROLE=REF",
        env = "EVENTFLOW_RECOVERY_API_TOKENS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub api_tokens: Vec<String>,
    /// File with the certificate chain of the API (PEM); with it the API serves HTTPS. Read again when it changes
    #[arg(
        help_heading = "API",
        long,
        env = "EVENTFLOW_RECOVERY_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key of that certificate (PEM)
    #[arg(
        help_heading = "API",
        long,
        env = "EVENTFLOW_RECOVERY_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Serve plain HTTP to other machines, where others on the network can read tokens and payloads: only behind a proxy that does TLS
    #[arg(
        help_heading = "API",
        long,
        env = "EVENTFLOW_RECOVERY_INSECURE_HTTP",
        default_value_t = false
    )]
    pub insecure_http: bool,
}

impl ApiArgs {
    /// Refuses what cannot work or would show tokens to a network; resolves the tokens.
    ///
    /// # Errors
    /// Names the setting, never a secret.
    pub fn check(&self, listen: SocketAddr) -> Result<Tokens, ConfigError> {
        self.check_listen(listen)?;
        self.certificates()?;
        Tokens::parse(&self.api_tokens)
    }

    fn check_listen(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        if listen.ip().is_loopback() || self.tls_cert.is_some() || self.insecure_http {
            return Ok(());
        }
        Err(ConfigError::new(
            "--listen",
            format!(
                "{listen} is reachable from other machines, and without TLS tokens and payloads are readable on the way: give --tls-cert and \
                 --tls-key, or listen on 127.0.0.1, or, behind a proxy that does TLS, add --insecure-http"
            ),
        ))
    }

    fn certificates(&self) -> Result<Option<Certificates>, ConfigError> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        Certificates::load(certificate, key).map(Some)
    }
}

/// A permit among [`IN_FLIGHT`], released when its last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct RequestPermit(
    #[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>,
);

/// Before the work of one endpoint.
#[derive(Clone)]
struct Gate {
    tokens: Tokens,
    needs: TokenRole,
    permits: Arc<Semaphore>,
    limit: Duration,
}

/// The API's routes. The command line calls them in-process when it works straight on the database.
pub fn routes(recovery: Context, tokens: &Tokens) -> Router {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut router = Router::new();
    for endpoint in endpoints::all() {
        let limit = if endpoint.slow { SLOW } else { QUICK };
        let gate = Gate {
            tokens: tokens.clone(),
            needs: endpoint.role,
            permits: Arc::clone(&permits),
            limit,
        };
        router = router.route(
            endpoint.path,
            endpoint.handler.layer(from_fn_with_state(gate, pass)),
        );
    }
    router
        .route("/openapi.json", get(|| async { Json(openapi::document()) }))
        .fallback(|| async { ApiProblem::NoSuchRoute })
        .method_not_allowed_fallback(|| async { ApiProblem::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(axum::middleware::map_response(private))
        .with_state(recovery)
}

/// A request without a known token costs a comparison and takes no permit.
async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let who = match request.extensions().get::<Person>() {
        Some(person) => person.admit(gate.needs),
        None => gate.tokens.admit(request.headers(), gate.needs),
    };
    let who = match who {
        Ok(who) => who,
        Err(error) => return error.into_response(),
    };
    let Ok(permit) = Arc::clone(&gate.permits).try_acquire_owned() else {
        return ApiProblem::Overloaded.into_response();
    };
    let permit = RequestPermit(Arc::new(permit));
    request.extensions_mut().insert(who);
    // An answer that is a stream keeps its permit to its end.
    request.extensions_mut().insert(permit.clone());
    match tokio::time::timeout(gate.limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiProblem::TooSlow(gate.limit.as_secs()).into_response(),
    }
}

/// Payloads are other people's: no cache keeps them, and no browser takes them for a page.
async fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
