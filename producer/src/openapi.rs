//! `/openapi.json` describes the edge, `/docs` shows it; the page's assets are compiled in and load nothing from elsewhere.

use crate::Edge;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa_swagger_ui::SwaggerUi;

pub(crate) fn routes() -> Router<Arc<Edge>> {
    Router::new()
        .route("/openapi.json", get(|| async { Json(document()) }))
        .merge(SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json")))
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Value {
    let source =
        json!({"name": "source", "in": "path", "required": true, "schema": {"type": "string"}, "example": "payment-authorized"});
    let refused = |status: &str, what: &str| {
        (
            status.to_owned(),
            json!({"description": what, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}),
        )
    };
    let answers = |accepted: Value| {
        let mut all: serde_json::Map<String, Value> = [
            refused("400", "missing, duplicated or malformed signature header; empty or broken body; both Content-Length and Transfer-Encoding"),
            refused("401", "bad signature, or a timestamp outside the tolerance"),
            refused("404", "unknown source"),
            refused("408", "the body did not arrive in time"),
            refused("413", "body too large"),
            refused("415", "unsupported content encoding"),
            refused("429", "over the source's quota; see Retry-After"),
            refused("503", "not acknowledged in time, overloaded or draining; see Retry-After and send it again: duplicates are harmless"),
        ]
        .into_iter()
        .collect();
        all.insert(
            "200".to_owned(),
            json!({"description": "acknowledged by the broker", "content": {"application/json": {"schema": accepted}}}),
        );
        all
    };
    let one = json!({"type": "object", "required": ["status", "source"], "properties": {
        "status": {"const": "accepted"}, "event_id": {"type": ["string", "null"]}, "source": {"type": "string"}}});
    let many = json!({"type": "object", "required": ["status", "accepted", "source"], "properties": {
        "status": {"const": "accepted"}, "accepted": {"type": "integer"}, "source": {"type": "string"}}});
    json!({
        "openapi": "3.1.0",
        "info": {"title": "EventFlow", "version": env!("CARGO_PKG_VERSION"), "description":
            "Signed webhooks in. A 200 means the event is durable; every accepted event ends stored, duplicate or dead-lettered."},
        "paths": {
            "/api/webhooks/{source}": {"post": {
                "summary": "Receive one signed event", "parameters": [source],
                "description": "The built-in source signs with X-Provider-Timestamp (Unix seconds) and X-Provider-Signature = hex HMAC-SHA256 of `{timestamp}.` + body.",
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Event"}}}},
                "responses": answers(one.clone())}},
            "/api/webhooks/{source}/batch": {"post": {
                "summary": "Receive many events under one signature", "parameters": [source],
                "description": "200 only when every event is acknowledged; otherwise send all again.",
                "requestBody": {"required": true, "content": {
                    "application/x-ndjson": {"schema": {"type": "string"}},
                    "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}}}}},
                "responses": answers(many)}},
            "/api/ingest": {"post": {
                "summary": "Receive a bare payload from a trusted caller", "security": [{"apiKey": []}],
                "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Payment"}}}},
                "responses": answers(one)}},
            "/health": {"get": {"summary": "Alive", "responses": {"200": {"description": "alive"}}}},
            "/ready": {"get": {"summary": "Can do its job now", "responses": {"200": {"description": "ready"}, "503": {"description": "not ready, with reasons"}}}}
        },
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "schemas": {
                "Payment": {"type": "object", "required": ["payment_id", "order_id", "amount", "currency"], "properties": {
                    "payment_id": {"type": "string"}, "order_id": {"type": "string"},
                    "amount": {"type": ["number", "string"], "description": "taken digit for digit", "example": "49.90"},
                    "currency": {"type": "string", "example": "EUR"}, "provider_auth_id": {"type": "string"}}},
                "Event": {"type": "object", "required": ["event_id", "event_type", "schema_version", "source", "timestamp", "payload"], "properties": {
                    "event_id": {"type": "string"}, "event_type": {"type": "string", "example": "payment.authorized.v1"},
                    "schema_version": {"type": "integer", "example": 1}, "source": {"type": "string"},
                    "timestamp": {"type": "string", "format": "date-time"}, "payload": {"$ref": "#/components/schemas/Payment"}}},
                "Problem": {"type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": {
                    "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                    "code": {"type": "string", "description": "stable"}, "detail": {"type": "string"}}}
            }
        }
    })
}
