//! Every HTTP route: of the edge and recovery from their OpenAPI documents, of the others from their routers.

use super::{code, page, source, table};
use serde_json::Value;

#[test]
fn routes_page_has_every_route_of_every_role() {
    let mut text = String::from(
        "The producer and recovery describe theirs at `/openapi.json`, with every answer and its codes; the producer's `/docs` shows it. \
         Refusals are problem documents (RFC 9457) with a `code` of [codes.md](codes.md).\n",
    );
    text += "\n## Producer\n\n";
    text += &documented(&producer::openapi::document());
    text += "\n## Recovery\n\n";
    text += "`role` is the least role of an `--api-token` that may use the route.\n\n";
    text += &documented(&recovery::http::openapi::document());
    for (title, krate) in [
        (
            "Operations endpoints of every role (`--ops-listen`)",
            "runtime",
        ),
        ("Analytics, beside its operations endpoints", "analytics"),
        ("Registry (Confluent's API)", "registry"),
        ("Simulator", "simulator"),
    ] {
        text += &format!("\n## {title}\n\n");
        let rows = routed(krate);
        assert!(!rows.is_empty(), "{krate} has routes");
        text += &table(&["method", "path"], rows);
    }
    page("routes.md", "HTTP routes", &text);
}

/// The routes of an OpenAPI document; with roles where it names them.
fn documented(document: &Value) -> String {
    let (mut rows, mut roles) = (Vec::new(), false);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap();
            let mut row = vec![method.to_uppercase(), code(path)];
            if let Some(role) = operation["x-role"].as_str() {
                roles = true;
                row.push(role.to_owned());
            }
            row.push(summary.to_owned());
            rows.push(row);
        }
    }
    let head: &[&str] = if roles {
        &["method", "path", "role", "what"]
    } else {
        &["method", "path", "what"]
    };
    table(head, rows)
}

/// The routes in the sources of a crate, as its routers are written: `.route("PATH", get(..).post(..))`.
fn routed(krate: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (name, text) in source::files() {
        if !name.starts_with(&format!("{krate}/src/")) || name.contains("tests") {
            continue;
        }
        let product = text.split("#[cfg(test)]").next().unwrap();
        for rest in product.split(".route(").skip(1) {
            let path = rest.split('"').nth(1).unwrap();
            // Up to the next route or the end of the function.
            let handlers = rest.split("\n        .").next().unwrap();
            let handlers = handlers.split("\n}").next().unwrap();
            for method in ["get", "post", "put", "delete"] {
                let routed = [" ", ".", "\n", "("]
                    .iter()
                    .any(|before| handlers.contains(&format!("{before}{method}(")));
                if routed {
                    rows.push(vec![method.to_uppercase(), code(path)]);
                }
            }
        }
    }
    rows
}
