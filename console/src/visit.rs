//! One request of somebody who is logged in.

use crate::App;
use crate::api::{Keyed, Problem};
use crate::asked::Asked;
use crate::session::Member;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use recovery::http::TokenRole;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;

/// Who asks, what for, and the API as they may use it.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) app: App,
    pub(crate) member: Member,
    pub(crate) uri: Uri,
    pub(crate) asked: Asked,
}

impl Visit {
    pub(crate) fn new(app: App, member: Member, uri: Uri) -> Self {
        let asked = Asked::of(&uri);
        Self {
            app,
            member,
            uri,
            asked,
        }
    }

    /// Whether they may change something.
    pub(crate) fn may_change(&self) -> bool {
        self.member.person.role() >= TokenRole::Operator
    }

    /// Asks the API.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        words: &Asked,
    ) -> Result<T, Problem> {
        self.call(Method::GET, &words.to(path), None, String::new())
            .await
    }

    /// Has the API change something.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.call(Method::POST, path, None, json(body)?).await
    }

    /// As [`post`](Self::post), once for each key.
    pub(crate) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.call(Method::POST, path, Some(Keyed(key)), json(body)?)
            .await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.call(Method::PUT, path, None, json(body)?).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        key: Option<Keyed<'_>>,
        body: String,
    ) -> Result<T, Problem> {
        let api = &self.app.api;
        api.call(&self.member.person, method, path, key, body).await
    }

    /// Leaves a sentence for the next page.
    pub(crate) fn notify(&self, notice: impl Into<String>) {
        let sessions = &self.app.console.sessions;
        sessions.notify(&self.member.session, notice.into());
    }
}

fn json(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|error| Problem::new(400, "bad_body", error.to_string()))
}

/// [`guard`](crate::guard) has put it there: a route without the guard does not get past this.
impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Problem::new(401, "no_session", "log in"))
    }
}

/// A part of the path in braces, as it was written.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map(|path| path.0).unwrap_or_default()))
    }
}
