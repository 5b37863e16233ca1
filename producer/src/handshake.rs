//! Handshakes: asked by GET, by an unsigned POST or by a signed one; counted by source, never published.

use crate::error::ApiError;
use crate::metrics;
use crate::vendors::Vendors;
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use contracts::webhook::handshake::{Asked, HandshakeAnswer};
use contracts::webhook::source::Source;

/// The code that handshakes are counted under.
const CODE: &str = "handshake";

/// A request that is not POST: HEAD is answered as GET, without the body.
pub(crate) fn by_get(vendors: &Vendors, name: &str, head: &Head) -> Result<Response, ApiError> {
    let source = vendors.sources.get(name).ok_or(ApiError::UnknownSource)?;
    let is_get = head.method == Method::GET || head.method == Method::HEAD;
    if !is_get || !source.handshakes.asked_by(&head.method) {
        return Err(ApiError::MethodNotAllowed);
    }
    vendors.quotas.handshake(&source.name)?;
    let answer = source.handshakes.answer(&Asked {
        method: &head.method,
        query: head.uri.query(),
        headers: &head.headers,
        body: b"",
        secret_id: None,
    });
    let mut answer = answer.ok_or(ApiError::NoHandshake)?;
    if head.method == Method::HEAD {
        answer.body.clear();
    }
    Ok(respond(source, answer))
}

/// A POST whose head alone is a handshake of a source that does not sign it; `None` for any other request.
pub(crate) fn unsigned_post(
    vendors: &Vendors,
    source: &Source,
    head: &Head,
) -> Option<Result<Response, ApiError>> {
    if !source.handshakes.by_unsigned_post() {
        return None;
    }
    let answer = source.handshakes.answer(&Asked {
        method: &Method::POST,
        query: head.uri.query(),
        headers: &head.headers,
        body: b"",
        secret_id: None,
    })?;
    let admitted = vendors.quotas.handshake(&source.name);
    Some(admitted.map(|()| respond(source, answer)))
}

/// A verified POST that is a handshake; `None` for an event. It counts against the source's quota as an event does.
pub(crate) fn signed(
    vendors: &Vendors,
    source: &Source,
    head: &Head,
    json: Option<&[u8]>,
    secret_id: &str,
) -> Option<Result<Response, ApiError>> {
    if !source.handshakes.signed() {
        return None;
    }
    let answer = source.handshakes.answer(&Asked {
        method: &Method::POST,
        query: head.uri.query(),
        headers: &head.headers,
        body: json.unwrap_or_default(),
        secret_id: Some(secret_id),
    })?;
    let admitted = vendors.quotas.admit(&source.name, 1);
    Some(admitted.map(|()| respond(source, answer)))
}

/// What the vendor asked for, which may be what a stranger asked for: no browser may take it for a page.
fn respond(source: &Source, answer: HandshakeAnswer) -> Response {
    ::metrics::counter!(metrics::REQUESTS, "source" => source.name.clone(), "code" => CODE)
        .increment(1);
    let mut response = (answer.status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let Some(kind) = answer.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.extend(answer.header);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The methods that a source's URL takes.
pub(crate) fn allow(source: Option<&Source>, headers: &mut HeaderMap) {
    let Some(source) = source else { return };
    let by = |method| source.handshakes.asked_by(&method);
    let methods = match (by(Method::GET), by(Method::HEAD)) {
        (true, _) => "GET, HEAD, POST",
        (false, true) => "HEAD, POST",
        (false, false) => "POST",
    };
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
}
