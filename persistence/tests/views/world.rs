//! A migrated database, contracts made in place, and rows stored as persistence stores them.

use contracts::Secret;
use contracts::avro::datum::Decoder;
use contracts::event::{Catalog, ContractFiles, Envelope};
use persistence::views::database::{self, Plan, State};
use persistence::views::{self, View};
use persistence::writer::SCHEMA;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use std::sync::atomic::{AtomicI64, Ordering};
use store::row::{EventRow, Insert, RawPosition};

pub(crate) struct World {
    pub(crate) url: String,
    /// Of persistence
    pub(crate) rows: PgPool,
    /// Of whoever makes views
    pub(crate) pool: PgPool,
}

pub(crate) async fn world() -> World {
    let url = sandbox::harness::database().await;
    let secret = Secret::new(url.clone());
    let rows = SCHEMA.pool(&secret, 1).unwrap();
    SCHEMA.migrate(&rows).await.unwrap();
    World {
        pool: database::pool(&secret).unwrap(),
        url,
        rows,
    }
}

/// A version of a contract, without a record.
pub(crate) fn version(name: &str, version: u32, schema: &Value) -> ContractFiles {
    ContractFiles {
        name: name.to_owned(),
        version,
        schema_json: schema.to_string(),
        record_avsc: None,
        schema_id: None,
    }
}

impl World {
    pub(crate) async fn apply(&self, views: &[View]) -> Plan {
        database::apply(&self.pool, views).await.unwrap()
    }

    /// Applies the views of these contracts; which differed, and how.
    pub(crate) async fn step(&self, contracts: &Catalog) -> Vec<(String, State)> {
        let plan = self.apply(&views::of(contracts)).await;
        let changed = plan.steps.into_iter();
        changed
            .filter(|step| step.state != State::InStep)
            .map(|step| (step.view, step.state))
            .collect()
    }

    /// Stores an event that a mapping found.
    pub(crate) async fn store(&self, contracts: &Catalog, source: &str, envelope: Envelope<'_>) {
        static OFFSET: AtomicI64 = AtomicI64::new(0);
        let entity = envelope.entity.as_deref().map(str::to_owned);
        let event = contracts.validate(envelope).unwrap();
        let contract = event.contract();
        let mut datum = Vec::new();
        event.encode(&mut datum);
        let headers: [(&str, Option<&[u8]>); 3] = [
            ("ef.source", Some(source.as_bytes())),
            ("ef.contract", Some(contract.label.as_bytes())),
            ("ef.received_at", Some(b"1767323045000000")),
        ];
        let decoder = Decoder::new(&contract.record_avsc).unwrap();
        let row = EventRow::new(
            headers.into_iter(),
            entity.as_deref().map(str::as_bytes),
            RawPosition::new(0, OFFSET.fetch_add(1, Ordering::Relaxed)),
            1,
            decoder.decode(&datum).unwrap(),
        )
        .unwrap();
        let mut connection = self.rows.acquire().await.unwrap();
        let insert = Insert::into_table("events");
        assert_eq!(insert.run(&mut connection, &[&row]).await.unwrap(), 1);
    }

    /// Stores an event of the contract with this label.
    pub(crate) async fn event(&self, contracts: &Catalog, id: &str, label: &str, payload: &Value) {
        let body = serde_json::json!({"event_id": id, "event_type": label, "timestamp": "2026-01-02T03:04:05Z", "payload": payload});
        let body = body.to_string();
        let envelope = Envelope::own(body.as_bytes()).unwrap();
        self.store(contracts, "acme", envelope).await;
    }

    /// The rows of a query as JSON, in its order.
    pub(crate) async fn query(&self, query: &str) -> Result<Vec<Value>, sqlx::Error> {
        let query = format!("SELECT to_jsonb(q) FROM ({query}) AS q");
        let rows: Vec<(Value,)> = sqlx::query_as(AssertSqlSafe(query))
            .fetch_all(&self.rows)
            .await?;
        Ok(rows.into_iter().map(|(row,)| row).collect())
    }

    /// One text of one row.
    pub(crate) async fn text(&self, query: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.rows)
            .await
            .unwrap()
    }

    pub(crate) async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&self.rows)
            .await
            .unwrap();
    }
}
