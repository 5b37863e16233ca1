//! What handlers answer.

use crate::api::Problem;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::Markup;

/// A page, without its frame: [`layout`](crate::layout) adds that, for whoever asked.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    pub(crate) body: Markup,
    /// Without a script, it is loaded again after so many seconds
    pub(crate) refresh: Option<u32>,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            body,
            refresh: None,
        }
    }

    /// What it shows moves.
    pub(crate) fn refreshed(self, seconds: u32) -> Self {
        Self {
            refresh: Some(seconds),
            ..self
        }
    }

    /// A form that was refused, shown again with the reason.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            ..self
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A part of a page, for a script to put in its place.
#[derive(Debug)]
pub(crate) struct Fragment(pub(crate) Markup);

impl IntoResponse for Fragment {
    fn into_response(self) -> Response {
        Html(self.0.into_string()).into_response()
    }
}

/// What a page that shows something answers.
pub(crate) type Answer = Result<Page, Problem>;

/// What a form answers: where to look next, or itself once more.
#[derive(Debug)]
pub(crate) enum Changed {
    /// Done; look there
    Done(String),
    /// Not done; the form again, with the reason
    Again(Page),
}

impl IntoResponse for Changed {
    fn into_response(self) -> Response {
        match self {
            Self::Done(path) => Redirect::to(&path).into_response(),
            Self::Again(page) => page.into_response(),
        }
    }
}
