//! Signed posts, one at a time.

use crate::world::SECRET;
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use std::time::{Duration, SystemTime};

/// A sound event of the built-in source.
pub(crate) fn authorized(event_id: &str) -> String {
    serde_json::json!({
        "event_id": event_id, "event_type": "payment.authorized.v1", "schema_version": 1, "source": "test",
        "timestamp": "2026-01-02T03:04:05Z",
        "payload": {
            "payment_id": format!("pay-{event_id}"), "order_id": "ord", "provider_auth_id": "auth", "amount": "1.50", "currency": "EUR",
        },
    })
    .to_string()
}

/// A client with a timeout of ten seconds.
pub(crate) fn client() -> reqwest::Client {
    client_from(None)
}

/// The same, from an address of its own.
pub(crate) fn client_from(address: Option<std::net::IpAddr>) -> reqwest::Client {
    runtime::http_client::builder()
        .local_address(address)
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .unwrap()
}

/// Posts a body, signed with `secret`; its status and answer.
pub(crate) async fn post(
    client: &reqwest::Client,
    edge: &str,
    body: String,
    secret: &str,
) -> Result<(u16, serde_json::Value), reqwest::Error> {
    post_to(
        client,
        &format!("http://{edge}/api/webhooks/payment-authorized"),
        body,
        secret,
    )
    .await
}

/// Posts many events, a thousand a request; all of them are accepted.
pub(crate) async fn post_all(edge: &str, events: &[String]) {
    let (client, url) = (
        client(),
        format!("http://{edge}/api/webhooks/payment-authorized/batch"),
    );
    for some in events.chunks(1000) {
        let (status, answer) = post_to(&client, &url, format!("[{}]", some.join(",")), SECRET)
            .await
            .unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

/// The signature headers of the built-in scheme, of now.
pub(crate) fn signature(body: &str, secret: &str) -> Vec<(String, String)> {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    let verifier = Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None).unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    verifier.sign(None, i64::try_from(now).unwrap(), body.as_bytes(), 0)
}

pub(crate) async fn post_to(
    client: &reqwest::Client,
    url: &str,
    body: String,
    secret: &str,
) -> Result<(u16, serde_json::Value), reqwest::Error> {
    let mut request = client.post(url);
    for (name, value) in signature(&body, secret) {
        request = request.header(name, value);
    }
    let response = request
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await?;
    Ok((response.status().as_u16(), response.json().await?))
}
