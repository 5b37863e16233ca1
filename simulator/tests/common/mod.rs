//! A receiver of webhooks: what it got, and answers as the test says.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use contracts::Secret;
use contracts::webhook::signature::SignedRequest;
use contracts::webhook::source::Sources;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

pub const SECRET: &str = "simulator-test-secret";

#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    /// Answers with `answer`, which is told how many requests came before.
    pub async fn start(
        answer: impl Fn(usize, &HeaderMap, &[u8]) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let got = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&got);
        let handler = move |headers: HeaderMap, body: Bytes| {
            let (seen, answer) = (Arc::clone(&seen), answer.clone());
            async move {
                let before = {
                    let mut seen = seen.lock().unwrap();
                    seen.push((headers.clone(), body.clone()));
                    seen.len() - 1
                };
                answer(before, &headers, &body)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/api/webhooks/payment-authorized",
            listener.local_addr().unwrap()
        );
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
        Self { url, got }
    }

    /// Verifies as the edge does.
    pub async fn verifying() -> Self {
        let sources = Arc::new(Sources::builtin(&Secret::new(SECRET)));
        Self::start(move |_, headers, body| {
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs();
            let verifier = &sources.get("payment-authorized").unwrap().verifier;
            match verifier.verify(
                &SignedRequest::post(headers, body),
                i64::try_from(now).unwrap(),
            ) {
                Ok(_) => StatusCode::OK.into_response(),
                Err(error) => problem(StatusCode::UNAUTHORIZED, error.code()),
            }
        })
        .await
    }

    pub fn got(&self) -> Vec<(HeaderMap, Bytes)> {
        self.got.lock().unwrap().clone()
    }

    pub fn bodies(&self) -> Vec<Bytes> {
        self.got().into_iter().map(|(_, body)| body).collect()
    }
}

pub fn problem(status: StatusCode, code: &str) -> Response {
    (status, axum::Json(serde_json::json!({"code": code}))).into_response()
}
