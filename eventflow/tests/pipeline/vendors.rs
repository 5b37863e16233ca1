//! Real-shaped requests, signed by the vendors' own libraries, become rows with the right id, type, time, entity key and exact amounts, from a
//! few lines of `sources.toml` each; and the vendors' handshakes succeed.

mod handshakes;
mod rows;
mod sdk;

use crate::post::client;
use crate::world::{Role, World, embedded};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use sandbox::broker::EmbeddedBroker;
use sdk::Signed;
use serde_json::Value;
use std::collections::BTreeMap;

/// A pipeline up to its rows, with these vendors.
struct Pipeline {
    world: World,
    broker: EmbeddedBroker,
    _roles: Vec<Role>,
}

/// Starts it. Each name of the environment has the secret of a request.
async fn pipeline(sources: &str, secrets: &[(&'static str, &str)]) -> Pipeline {
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    let secrets = secrets.iter();
    world
        .environment
        .extend(secrets.map(|(name, secret)| (*name, (*secret).to_owned())));
    let contracts = "/tests/pipeline/vendors/contracts";
    world.contracts = Some(concat!(env!("CARGO_MANIFEST_DIR")).to_owned() + contracts);
    let file = world.sources(sources);
    let sources = ["--sources", file.to_str().unwrap()];
    let registry = world.role("registry", &[]);
    let mut roles = vec![
        world.role("producer", &sources),
        world.role("validator", &sources),
        world.role("persistence", &[]),
    ];
    for role in &roles {
        role.until_ready().await;
    }
    roles.push(registry);
    Pipeline {
        world,
        broker,
        _roles: roles,
    }
}

impl Pipeline {
    /// Posts what a vendor sends; status and answer.
    async fn post(&self, source: &str, signed: &Signed, body: Vec<u8>) -> (u16, String) {
        let url = format!("http://{}/api/webhooks/{source}", self.world.edge);
        let mut request = client().post(url).body(body);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn accepted(&self, source: &str, signed: &Signed) -> String {
        let body = signed.body.clone().into_bytes();
        let (status, answer) = self.post(source, signed, body).await;
        assert!((200..300).contains(&status), "{source}: {status} {answer}");
        answer
    }

    /// The rows of a source by their ids; numbers keep their digits.
    async fn rows(&self, source: &str) -> BTreeMap<String, Value> {
        let pool = sqlx::PgPool::connect(&self.world.postgres.url())
            .await
            .unwrap();
        let query = "SELECT event_id, json_build_object(
                'type', event_type, 'contract', contract, 'entity', entity_key, 'amount', amount::text, 'currency', currency, 'payload', payload,
                'time', CASE WHEN occurred_at = received_at THEN 'received'
                             ELSE to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') END)::text
            FROM persistence.events WHERE source = $1";
        let rows: Vec<(String, String)> = sqlx::query_as(query)
            .bind(source)
            .fetch_all(&pool)
            .await
            .unwrap();
        rows.into_iter()
            .map(|(id, row)| (id, serde_json::from_str(&row).unwrap()))
            .collect()
    }

    /// Of each row of a source: its id, type, time, entity key, contract, and its amount with its currency.
    async fn envelopes(&self, source: &str) -> Vec<[String; 6]> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = self.rows(source).await.into_iter();
        rows.map(|(id, row)| {
            let money = format!("{} {}", text(&row["amount"]), text(&row["currency"]));
            [
                id,
                text(&row["type"]),
                text(&row["time"]),
                text(&row["entity"]),
                text(&row["contract"]),
                money.trim().to_owned(),
            ]
        })
        .collect()
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// HMAC-SHA256 in hexadecimal.
fn hmac(secret: &str, bytes: &[u8]) -> String {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    let verifier = Verifier::new(Scheme::preset("meta").unwrap(), vec![key], None).unwrap();
    let headers = verifier.sign(None, 0, bytes, 0);
    headers[0].1.strip_prefix("sha256=").unwrap().to_owned()
}
