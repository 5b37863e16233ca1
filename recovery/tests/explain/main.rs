//! Every code explained: where, what is there, the rule, today's verdict, and the next command to type.

#![allow(clippy::unwrap_used, reason = "a test")]

mod codes;
mod conflict;
#[path = "../timeline/mod.rs"]
mod timeline;
mod values;

use recovery::model::Explanation;
use recovery::query::explain;
use timeline::{RAW, World};

/// A dead letter as the index makes it; answers its number.
async fn dead(world: &World, stage: &str, code: &str, detail: &str, value: Option<&[u8]>) -> i64 {
    sqlx::query_scalar(
        "WITH g AS (INSERT INTO groups (stage, code, source, event_type) VALUES ($1, $2, 's', '')
                    ON CONFLICT (stage, code, source, event_type) DO UPDATE SET code = excluded.code RETURNING id)
         INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, consumer_group,
             detail, disposition, attempts, first_failed_at, last_failed_at, headers, value, value_bytes)
         SELECT id, $3, 0, (SELECT count(*) FROM dead_letters), 'eventflow', 0, 0, 'eventflow-' || $1, $4, 'contract', 1, now(), now(), '[[\"ef.source\",\"payment-authorized\"]]', $5,
             length($5) FROM g RETURNING id",
    )
    .bind(stage)
    .bind(code)
    .bind(RAW)
    .bind(detail)
    .bind(value)
    .fetch_one(world.recovery.pool())
    .await
    .unwrap()
}

async fn explained(world: &World, id: i64) -> Explanation {
    explain::explain(&world.recovery, id).await.unwrap()
}

fn body(id: &str, amount: &str) -> String {
    serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1, "source": "s",
        "timestamp": "2026-01-02T03:04:05Z", "payload": {"payment_id": "p", "order_id": "o", "amount": amount, "currency": "EUR", "provider_auth_id": "a"}})
    .to_string()
}
