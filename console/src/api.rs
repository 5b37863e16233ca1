//! The recovery API, called in this process as the person of a session.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use recovery::http::{ApiProblem, Person};
use recovery::model::Refusal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

/// Largest answer that a page is made of.
const ANSWER_BYTES: usize = 64 << 20;

/// The API's routes.
#[derive(Debug, Clone)]
pub(crate) struct Api(Router);

/// A change that may be sent twice: its `Idempotency-Key` comes with the form.
pub(crate) struct Keyed<'a>(pub(crate) &'a str);

/// Why the API refused, or a page cannot be shown: its problem document.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    /// Stable
    pub(crate) code: String,
    /// What to do
    pub(crate) detail: String,
    /// Of a value that is refused: the rule that is broken, and where
    pub(crate) rejection: Option<Box<Refusal>>,
}

impl Api {
    pub(crate) fn new(routes: Router) -> Self {
        Self(routes)
    }

    /// A request from outside, as it came: with a token of its own, or none.
    pub(crate) async fn pass(&self, request: axum::extract::Request) -> Response {
        let Ok(response) = self.0.clone().oneshot(request).await;
        response
    }

    /// One request as this person; its answer read.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        key: Option<Keyed<'_>>,
        body: String,
    ) -> Result<T, Problem> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(Keyed(key)) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .extension(person.clone())
            .body(Body::from(body))
            .map_err(|_| {
                Problem::new(
                    400,
                    "bad_value",
                    "this address has characters that no request may have",
                )
            })?;
        let Ok(response) = self.0.clone().oneshot(request).await;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_BYTES).collect();
        let bytes = read
            .await
            .map_err(|_| {
                Problem::new(
                    502,
                    "too_large",
                    "the answer is too large for a page: narrow the filters",
                )
            })?
            .to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| unreadable(&error.to_string()));
        }
        Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| unreadable(status.as_str())))
    }
}

fn unreadable(why: &str) -> Problem {
    tracing::error!(event = "answer_unreadable", why);
    Problem::new(
        500,
        "answer_unreadable",
        "the API's answer is not what this page reads; look at the role's log, and tell the owner of EventFlow",
    )
}

impl Problem {
    pub(crate) fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            rejection: None,
        }
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }
}

impl From<ApiProblem> for Problem {
    fn from(problem: ApiProblem) -> Self {
        Self::new(
            problem.status().as_u16(),
            problem.code(),
            problem.to_string(),
        )
    }
}

/// The layout finds it in the extensions and makes a page of it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
