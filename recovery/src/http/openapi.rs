//! `/openapi.json`: the routes, described from the table they are made of.

use super::endpoints::{Endpoint, all, reference, schemas};
use serde_json::{Map, Value, json};

/// The OpenAPI document of every route.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in all() {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_lowercase()] = operation(&endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "EventFlow recovery", "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Dead letters listed, explained, edited, replayed, accounted for. Refusals are problem documents (RFC 9457) with \
                a stable `code` and a `detail` that says what to do. Every change may be sent again: it then changes nothing more. \
                A viewer reads; an operator also edits, discards, replays, and approves what somebody else planned."},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": schemas()}
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = endpoint
        .words
        .iter()
        .map(|word| json!({"name": word, "in": "query", "schema": {"type": "string"}}))
        .collect();
    if endpoint.path.contains("{id}") {
        parameters.push(
            json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}),
        );
    }
    if matches!(endpoint.id, "planReplay" | "patchDeadLetters") {
        parameters.push(
            json!({"name": "Idempotency-Key", "in": "header", "required": true, "schema": {"type": "string", "maxLength": 200},
            "description": "The same request with the same key is answered as before; a patch for 30 days"}),
        );
    }
    let media = |schema: &str| {
        if schema == "Lines" {
            "application/x-ndjson"
        } else {
            "application/json"
        }
    };
    let content = |schema: &str| json!({media(schema): {"schema": reference(schema)}});
    let refusal = |what: &str| json!({"description": what, "content": {"application/problem+json": {"schema": reference("Problem")}}});
    let mut responses = Map::from_iter([
        (
            "200".to_owned(),
            json!({"description": "Done", "content": content(endpoint.answer)}),
        ),
        (
            "400".to_owned(),
            refusal(
                "`unknown_word`, `bad_value`, `bad_body`, `invalid_request`, `idempotency_key_required`",
            ),
        ),
        ("401".to_owned(), refusal("`bad_token`")),
        ("403".to_owned(), refusal("`role_too_low`")),
        (
            "503".to_owned(),
            refusal(
                "`unavailable`, `no_tokens_configured`, `overloaded`, `too_slow`: send the same request again later",
            ),
        ),
    ]);
    if endpoint.path.contains("{id}")
        || matches!(endpoint.id, "planReplay" | "patchDeadLetters" | "trace")
    {
        responses.insert("404".to_owned(), refusal("`not_found`"));
    }
    if endpoint.method != axum::http::Method::GET {
        responses.insert(
            "409".to_owned(),
            refusal("`wrong_state`, `needs_confirmation`, `needs_approval`"),
        );
        responses.insert("413".to_owned(), refusal("`body_too_large`"));
        responses.insert("422".to_owned(), refusal("`still_broken`"));
    }
    let mut operation = json!({
        "operationId": endpoint.id, "summary": endpoint.summary, "description": format!("Role: {}.", endpoint.role),
        "x-role": endpoint.role.as_str(), "parameters": parameters, "responses": responses,
    });
    if let Some(schema) = endpoint.body {
        operation["requestBody"] = json!({"required": true, "content": content(schema)});
    }
    operation
}
