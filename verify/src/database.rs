//! Reads what the database has of events, by plain SQL, in one snapshot.

use crate::piece::{Position, Row};
use anyhow::Context;
use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row as _, Transaction};
use std::time::Duration;
use store::DatabaseArgs;
use store::servers::Servers;

/// Longest wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(15);
const EVENTS: &str = "SELECT raw_epoch, raw_partition, raw_offset, source, event_id, event_type, entity_key,
    (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred_at, (extract(epoch FROM received_at) * 1000000)::bigint AS received_at,
    amount::text AS amount, currency, payload::text AS payload, edited_by FROM persistence.events";
const DUPLICATES: &str = "SELECT raw_epoch, raw_partition, raw_offset, source, event_id, same_body_as FROM persistence.duplicates";
const FILTERED: &str =
    "SELECT raw_epoch, raw_partition, raw_offset, source, event_id FROM persistence.filtered";

/// A fate that is a row of one of three tables.
pub(crate) enum Kept {
    Stored(Row),
    /// The id under which the event is stored, which is another where only the body is the same
    Duplicate {
        source: String,
        event_id: String,
        stored_as: String,
    },
    Filtered {
        source: String,
        event_id: String,
    },
}

/// Sums of the audit's pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Audited {
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    pub(crate) filtered: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) gaps: u64,
    pub(crate) double_fates: u64,
}

type Read = fn(&PgRow) -> Result<Kept, sqlx::Error>;

/// A snapshot.
pub(crate) struct Snapshot(Transaction<'static, Postgres>);

impl Snapshot {
    pub(crate) async fn open(args: &DatabaseArgs) -> anyhow::Result<Self> {
        let servers = Servers::parse(&args.database_url, "verify")?;
        // Reading everything takes as long as it takes.
        let servers = servers.with(&[("statement_timeout", "0")]);
        let pool = servers.pool(1, ACQUIRE);
        let cannot = "the database cannot be read; check that PostgreSQL is up, and --database-url";
        let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(Self(pool.begin_with(begin).await.context(cannot)?))
    }

    fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// The id of the raw topic that the database began with.
    pub(crate) async fn first_raw_topic(&mut self) -> anyhow::Result<Option<String>> {
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass('persistence.events') IS NOT NULL")
                .fetch_one(self.connection())
                .await?;
        anyhow::ensure!(
            there,
            "the database has no table persistence.events: is --database-url the one that persistence writes?"
        );
        let id = sqlx::query_scalar("SELECT topic_id FROM persistence.first_raw_topic");
        Ok(id.fetch_optional(self.connection()).await?)
    }

    /// Calls this with every row.
    pub(crate) async fn each(
        &mut self,
        take: &mut dyn FnMut(Position, Kept) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let tables: [(&'static str, Read); 3] = [
            (EVENTS, stored),
            (DUPLICATES, duplicate),
            (FILTERED, filtered),
        ];
        for (statement, read) in tables {
            let mut rows = sqlx::query(statement).fetch(self.connection());
            while let Some(row) = rows.try_next().await? {
                let position = Position {
                    epoch: row.try_get("raw_epoch")?,
                    partition: row.try_get("raw_partition")?,
                    offset: row.try_get("raw_offset")?,
                };
                take(position, read(&row)?)?;
            }
        }
        Ok(())
    }

    /// What the audit says of a raw topic, once it has come to its ends; `None` before, and where there is no recovery.
    pub(crate) async fn audited(
        &mut self,
        topic: &str,
    ) -> anyhow::Result<Option<(Audited, Vec<(i32, i64)>)>> {
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass('recovery.audit_pages') IS NOT NULL")
                .fetch_one(self.connection())
                .await?;
        if !there {
            return Ok(None);
        }
        let frontier = "SELECT partition, next_offset FROM recovery.audit_frontier WHERE topic = $1 ORDER BY partition";
        let frontier = sqlx::query_as(frontier)
            .bind(topic)
            .fetch_all(self.connection())
            .await?;
        let sum = |columns| format!("coalesce(sum({columns}), 0)::bigint");
        let sums = [
            "stored",
            "duplicate",
            "filtered",
            "open + replaying + discarded",
            "gap",
            "double_fate",
        ]
        .map(sum);
        let statement = format!(
            "SELECT {} FROM recovery.audit_pages WHERE topic = $1",
            sums.join(", ")
        );
        let sums: (i64, i64, i64, i64, i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(topic)
            .fetch_one(self.connection())
            .await?;
        let count = |sum: i64| u64::try_from(sum).unwrap_or(0);
        let audited = Audited {
            stored: count(sums.0),
            duplicate: count(sums.1),
            filtered: count(sums.2),
            dead_lettered: count(sums.3),
            gaps: count(sums.4),
            double_fates: count(sums.5),
        };
        Ok(Some((audited, frontier)))
    }

    /// What the audit called a gap or a double fate and took back, the first of it; `None` where the database was set back to an
    /// earlier state, whose rows were gone for a while.
    pub(crate) async fn taken_back(&mut self) -> anyhow::Result<Option<Vec<String>>> {
        let there: bool = sqlx::query_scalar(
            "SELECT to_regclass('recovery.audit_findings') IS NOT NULL AND to_regclass('persistence.set_back') IS NOT NULL",
        )
        .fetch_one(self.connection())
        .await?;
        if !there {
            return Ok(Some(Vec::new()));
        }
        let is_set_back: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM persistence.set_back)")
                .fetch_one(self.connection())
                .await?;
        if is_set_back {
            return Ok(None);
        }
        let findings = "SELECT format('%s:%s of %s, a %s until %s: %s', partition, \"offset\", topic, kind, healed_at, detail)
             FROM recovery.audit_findings WHERE kind IN ('gap', 'double_fate') AND healed_at IS NOT NULL ORDER BY found_at LIMIT 1000";
        let findings = sqlx::query_scalar(findings).fetch_all(self.connection());
        Ok(Some(findings.await?))
    }

    /// Rows of an event as JSON, to be shown.
    pub(crate) async fn shown(
        &mut self,
        source: &str,
        event_id: &str,
    ) -> anyhow::Result<Vec<String>> {
        let rows = "SELECT row_to_json(e)::text FROM persistence.events e WHERE source = $1 AND event_id = $2 LIMIT 3";
        let rows = sqlx::query_scalar(rows).bind(source).bind(event_id);
        Ok(rows.fetch_all(self.connection()).await?)
    }
}

fn stored(row: &PgRow) -> Result<Kept, sqlx::Error> {
    Ok(Kept::Stored(Row {
        source: row.try_get("source")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        entity_key: row.try_get("entity_key")?,
        occurred_at_micros: row.try_get("occurred_at")?,
        received_at_micros: row.try_get("received_at")?,
        amount: row.try_get("amount")?,
        currency: row.try_get("currency")?,
        payload: row.try_get("payload")?,
        edited_by: row.try_get("edited_by")?,
    }))
}

fn duplicate(row: &PgRow) -> Result<Kept, sqlx::Error> {
    let event_id: String = row.try_get("event_id")?;
    let same_body_as: Option<String> = row.try_get("same_body_as")?;
    Ok(Kept::Duplicate {
        source: row.try_get("source")?,
        stored_as: same_body_as.unwrap_or_else(|| event_id.clone()),
        event_id,
    })
}

fn filtered(row: &PgRow) -> Result<Kept, sqlx::Error> {
    Ok(Kept::Filtered {
        source: row.try_get("source")?,
        event_id: row.try_get("event_id")?,
    })
}
