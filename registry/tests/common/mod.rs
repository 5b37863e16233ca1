//! What the endpoint tests share.

use axum::body::Body;
use axum::http::Request;
use contracts::event::Catalog;
use http_body_util::BodyExt;
use registry::{Subject, app, subjects};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const SUBJECT: &str = "events.validated.v1-eventflow.payment.PaymentAuthorized";

pub(crate) fn builtin() -> Vec<Subject> {
    subjects(&Catalog::builtin(), contracts::kafka::topics::VALIDATED).unwrap()
}

pub(crate) fn avsc(event_type: &str) -> String {
    Catalog::builtin()
        .contract(event_type)
        .unwrap()
        .record_avsc
        .clone()
}

pub(crate) async fn ask(
    subjects: Vec<Subject>,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> (u16, String, Value) {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_owned()));
    // No content type: Confluent's registry takes curl's default too.
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .unwrap();
    let response = app(subjects).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        content_type,
        serde_json::from_slice(&bytes).unwrap(),
    )
}

pub(crate) fn posted(schema: &str) -> String {
    json!({"schema": schema}).to_string()
}
