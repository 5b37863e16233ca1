//! `/openapi.json` describes the edge, `/docs` shows it; the page's assets are compiled in and load nothing from elsewhere.

use crate::Edge;
use crate::error::ApiError;
use axum::http::header;
use axum::response::{Html, Redirect};
use axum::routing::get;
use axum::{Json, Router};
use contracts::webhook::signature::SignatureError;
use runtime::publisher::PublishError;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use swagger_ui_redist::SwaggerUi;

pub(crate) fn routes() -> Router<Arc<Edge>> {
    let mut page = SwaggerUi::new();
    // The page would show documents to a validator elsewhere, and offer to load others.
    page.title("EventFlow")
        .config()
        .urls(["/openapi.json"])
        .validator_url("none")
        .use_base_layout()
        .doc_expansion("list")
        .default_models_expand_depth(0);
    let page = page
        .serve()
        .expect("settings without a map whose keys are not text are JSON");
    let mut routes = Router::new()
        .route("/openapi.json", get(|| async { Json(document()) }))
        // The page names its files relative to itself.
        .route("/docs", get(|| async { Redirect::permanent("docs/") }))
        .route("/docs/", get(|| async { Html(page) }));
    for (file, bytes) in SwaggerUi::static_files() {
        let name = file.file_name();
        let kind = match name.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            _ => "image/png",
        };
        let file = move || async move { ([(header::CONTENT_TYPE, kind)], *bytes) };
        routes = routes.route(&format!("/docs/{name}"), get(file));
    }
    routes
}

/// What any endpoint that publishes may refuse.
fn of_publishing() -> Vec<ApiError> {
    vec![
        ApiError::EmptyBody,
        ApiError::BrokenBody,
        ApiError::AmbiguousLength,
        ApiError::BodyTimeout,
        ApiError::BodyTooSlow,
        ApiError::BodyTooLarge(256 << 10),
        ApiError::PeerOverShare,
        ApiError::BodyBudgetFull,
        ApiError::Overloaded,
        ApiError::Draining,
        PublishError::TooLarge.into(),
        PublishError::QueueFull.into(),
        ApiError::Publish {
            error: PublishError::NotAcknowledged(String::new()),
            waited: Duration::from_millis(4500),
        },
        PublishError::Refused(String::new()).into(),
    ]
}

fn of_webhooks() -> Vec<ApiError> {
    let mut all = of_publishing();
    all.extend([
        SignatureError::MissingHeader.into(),
        SignatureError::DuplicateHeader.into(),
        SignatureError::MalformedHeader.into(),
        SignatureError::Mismatch.into(),
        SignatureError::TooOld.into(),
        SignatureError::InFuture.into(),
        SignatureError::SecretExpired.into(),
        ApiError::SignedAsBatch,
        ApiError::MalformedGzip,
        ApiError::UnknownSource,
        ApiError::UnsupportedEncoding,
        ApiError::OverQuota {
            retry_after_seconds: 1,
        },
        ApiError::OverUnprovenQuota {
            retry_after_seconds: 1,
        },
        ApiError::RepeatedTooOften {
            retry_after_seconds: 1,
        },
        ApiError::TooManyFailures {
            retry_after_seconds: 1,
        },
    ]);
    all
}

/// Also of the sources whose body has several events.
fn of_one() -> Vec<ApiError> {
    let mut all = of_webhooks();
    all.extend([
        ApiError::TooManyEvents(1000),
        ApiError::EventTooLarge(256 << 10),
    ]);
    all
}

/// What a handshake by GET may be refused with.
fn of_handshakes() -> Vec<ApiError> {
    vec![
        ApiError::NoHandshake,
        ApiError::UnknownSource,
        ApiError::MethodNotAllowed,
        ApiError::OverQuota {
            retry_after_seconds: 1,
        },
    ]
}

fn of_batches() -> Vec<ApiError> {
    let mut all = of_webhooks();
    all.extend([
        ApiError::BatchesOff,
        ApiError::MalformedBatch("expected value at line 1 column 1".to_owned()),
        ApiError::TooManyEvents(1000),
        ApiError::EventTooLarge(256 << 10),
    ]);
    all
}

fn of_ingest() -> Vec<ApiError> {
    let mut all = of_publishing();
    all.extend([
        ApiError::MalformedPayload,
        ApiError::BadApiKey,
        ApiError::IngestClosed,
    ]);
    all
}

/// The answers of an endpoint: 200, and every refusal by status with its codes and an example of each.
fn answers(accepted: &Value, errors: &[ApiError]) -> Value {
    let mut by_status: BTreeMap<u16, Vec<&ApiError>> = BTreeMap::new();
    for error in errors {
        by_status
            .entry(error.status().as_u16())
            .or_default()
            .push(error);
    }
    let mut all = Map::new();
    all.insert(
        "200".to_owned(),
        json!({
            "description": "Acknowledged by all in-sync replicas. A source with an `answer` of its own answers with that: 200, 202 or 204, its body \
                and content type",
            "content": {"application/json": {"schema": accepted}}}),
    );
    for (status, errors) in by_status {
        let codes: Vec<_> = errors.iter().map(|error| error.code()).collect();
        let lines: Vec<_> = errors
            .iter()
            .map(|error| format!("- `{}`: {}", error.code(), error.detail()))
            .collect();
        let examples: Map<_, _> = errors
            .iter()
            .map(|error| (error.code().to_owned(), json!({"value": error.problem()})))
            .collect();
        let schema = json!({"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": {"code": {"enum": codes}}}]});
        let mut answer = json!({
            "description": lines.join("\n"),
            "content": {"application/problem+json": {"schema": schema, "examples": examples}},
        });
        if errors
            .iter()
            .any(|error| error.retry_after_seconds().is_some())
        {
            answer["headers"] = json!({"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}});
        }
        all.insert(status.to_string(), answer);
    }
    Value::Object(all)
}

/// The answers to a handshake by GET.
fn handshake_answers() -> Value {
    let mut all = answers(&json!({}), &of_handshakes());
    let text = json!({"schema": {"type": "string"}});
    let object = json!({"schema": {"type": "object"}});
    all["200"] = json!({
        "description": "The vendor's challenge, given back as the source describes",
        "content": {"text/plain": text, "application/json": object}});
    all
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Value {
    let header = |name: &str, what: &str| json!({"name": name, "in": "header", "description": what, "schema": {"type": "string"}});
    let parameters = json!([
        {"name": "source", "in": "path", "required": true, "description": "A configured vendor", "schema": {"type": "string"}, "example": "payment-authorized"},
        header("X-Provider-Timestamp", "payment-authorized: Unix seconds, within the tolerance of 300"),
        header("X-Provider-Signature", "payment-authorized: hex HMAC-SHA256, with the vendor's secret, of the timestamp, a dot and the body"),
    ]);
    let accepted = |name: &str, schema: Value| {
        let mut properties = json!({"status": {"const": "accepted"}, "source": {"type": "string"}});
        properties[name] = schema;
        json!({"type": "object", "required": ["status", name, "source"], "properties": properties})
    };
    let one = accepted(
        "event_id",
        json!({"type": ["string", "null"], "description": "null where the body has none"}),
    );
    let many = accepted(
        "accepted",
        json!({"type": "integer", "description": "events"}),
    );
    let body = |schema: &str| json!({"required": true, "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}}});
    let state = |what: &str| json!({"description": what, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ready"}}}});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "EventFlow", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Signed webhooks in. A 200 means the event is durable; every accepted event ends stored, duplicate, filtered or \
                dead-lettered. Everything else is a problem document (RFC 9457) with a stable `code`. After 429, 503 or no answer, send \
                the same request again: duplicates are harmless."},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "webhooks", "description": "For vendors: signed"},
            {"name": "ingest", "description": "For trusted callers: an API key instead of a signature"},
            {"name": "operations", "description": "For load balancers"}],
        "paths": {
            "/api/webhooks/{source}": {"get": {
                "tags": ["webhooks"], "operationId": "handshake", "summary": "Answer a vendor's handshake", "parameters": [parameters[0]],
                "description": "For sources that describe one by GET (`[[source.handshake]]`); 405 for all others. A handshake by POST goes where \
                    events go. No handshake is an event.",
                "responses": handshake_answers()}, "post": {
                "tags": ["webhooks"], "operationId": "receiveEvent", "summary": "Receive one signed event", "parameters": parameters,
                "description": "Which headers carry the signature is the source's configuration; those of the built-in source are below. \
                    An authentic body that breaks its contract is accepted too, and dead-lettered with its reason. So are, where the source says so, \
                    an authentic one outside its time window, and, while the source is in onboarding, one that is not authentic. For a source \
                    with `items` a body has several events, and the answer says how many.",
                "requestBody": {"required": true, "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Event"}},
                    "application/x-www-form-urlencoded": {"schema": {"type": "object", "description": "For sources whose body is a form"}}}},
                "responses": answers(&one, &of_one())}},
            "/api/webhooks/{source}/batch": {"post": {
                "tags": ["webhooks"], "operationId": "receiveBatch", "summary": "Receive many events under one signature",
                "parameters": parameters, "description": "For sources that say so (batches = true). The content type says how to read the body: \
                    `application/x-ndjson` (also `application/jsonl`) is one JSON object a line, anything else a JSON array of objects. \
                    200 only when every event is acknowledged; otherwise send all again.",
                "requestBody": {"required": true, "content": {
                    "application/x-ndjson": {"schema": {"type": "string", "description": "One event a line"}},
                    "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}}}}},
                "responses": answers(&many, &of_batches())}},
            "/api/ingest": {"post": {
                "tags": ["ingest"], "operationId": "ingest", "summary": "Receive a bare payload", "security": [{"apiKey": []}],
                "description": "It becomes an event of the source `ingest`, with a new id and the event type that the sources file names (`[ingest]`).",
                "requestBody": body("Payload"), "responses": answers(&one, &of_ingest())}},
            "/api/ingest/{event_type}": {"post": {
                "tags": ["ingest"], "operationId": "ingestOfType", "summary": "Receive a bare payload of this event type", "security": [{"apiKey": []}],
                "description": "As `/api/ingest`.",
                "parameters": [{"name": "event_type", "in": "path", "required": true, "schema": {"type": "string"}, "example": "payment.refunded.v1"}],
                "requestBody": body("Payload"), "responses": answers(&one, &of_ingest())}},
            "/health": {"get": {
                "tags": ["operations"], "operationId": "health", "summary": "Alive", "responses": {"200": {
                    "description": "Alive", "content": {"application/json": {"schema": {
                        "type": "object", "required": ["status"], "properties": {"status": {"const": "alive"}}}}}}}}},
            "/ready": {"get": {
                "tags": ["operations"], "operationId": "ready", "summary": "Can do its job now",
                "responses": {"200": state("Ready"), "503": state("Not ready, with every failing check and its reason")}}}
        },
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "schemas": {
                "Payload": {"type": "object", "description": "What the contract of the event type describes; numbers are taken digit for digit", "example": {
                    "payment_id": "pay_1", "order_id": "ord_1", "amount": "49.90", "currency": "EUR", "provider_auth_id": "auth_1"}},
                "Event": {"type": "object", "required": ["event_id", "event_type", "timestamp", "payload"], "properties": {
                    "event_id": {"type": "string", "example": "evt_1"}, "event_type": {"type": "string", "example": "payment.authorized.v1"},
                    "schema_version": {"type": "integer", "example": 1, "description": "When it is there, it must be the version of the contract"},
                    "timestamp": {"type": "string", "format": "date-time"}, "payload": {"$ref": "#/components/schemas/Payload"}}},
                "Ready": {"type": "object", "required": ["ready", "reasons"], "properties": {
                    "ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "object", "required": ["check", "reason"],
                        "properties": {"check": {"type": "string"}, "reason": {"type": "string"}}}}}},
                "Problem": {"type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": {
                    "type": {"type": "string", "format": "uri-reference"}, "title": {"type": "string"}, "status": {"type": "integer"},
                    "code": {"type": "string", "description": "Stable"}, "detail": {"type": "string"}}}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The reference's table of the edge's answers, the enum and the document list the same.
    #[test]
    fn the_document_has_every_code_of_the_reference_and_no_other() {
        let reference = include_str!("../../docs/reference/codes.md");
        let table = reference
            .split("## What the edge answers")
            .nth(1)
            .and_then(|rest| rest.split("\n## ").next())
            .unwrap();
        let rows = table
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains('`'));
        let documented: BTreeSet<&str> = rows
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .collect();
        let errors = [
            of_batches(),
            of_ingest(),
            of_handshakes(),
            vec![ApiError::NotFound],
        ]
        .concat();
        let known: BTreeSet<&str> = errors.iter().map(ApiError::code).collect();
        assert_eq!(documented, known);
        let text = document().to_string();
        for error in [of_batches(), of_ingest()].concat() {
            assert!(
                text.contains(&format!("- `{}`: ", error.code())),
                "{}",
                error.code()
            );
        }
    }

    #[test]
    fn a_status_says_its_codes_and_when_to_come_back() {
        let document = document();
        let answers = &document["paths"]["/api/webhooks/{source}"]["post"]["responses"];
        let statuses: Vec<_> = answers
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            statuses,
            [
                "200", "400", "401", "404", "408", "413", "415", "429", "503"
            ]
        );
        let codes = &answers["429"]["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
            ["code"]["enum"];
        assert_eq!(
            codes,
            &json!([
                "peer_over_share",
                "over_quota",
                "over_unproven_quota",
                "repeated_too_often",
                "too_many_failures"
            ])
        );
        assert!(
            answers["429"]["headers"]["Retry-After"].is_object()
                && answers["503"]["headers"]["Retry-After"].is_object()
        );
        assert!(answers["401"]["headers"].is_null());
    }
}
