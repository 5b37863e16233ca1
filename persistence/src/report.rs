//! What the database can tell of events, from the views others may read.

use crate::writer::Writer;
use runtime::consumer::StageError;
use sqlx::Row as _;
use store::fault::classify;

/// The fate of one raw record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Raw partition and offset
    pub raw: (i32, i64),
    /// Event id
    pub event_id: String,
    /// `stored` or `duplicate`
    pub fate: String,
}

/// What the database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Rows
    pub stored: i64,
    /// Further deliveries
    pub duplicates: i64,
    /// Median seconds from receipt to row
    pub p50_seconds: Option<f64>,
    /// 99th percentile
    pub p99_seconds: Option<f64>,
}

impl Writer {
    /// The fate of every raw record this database knows, from the view others may read.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn fates(&self) -> Result<Vec<Fate>, StageError> {
        let rows = sqlx::query("SELECT raw_partition, raw_offset, event_id, fate FROM event_fates")
            .fetch_all(&self.pool)
            .await
            .map_err(classify)?;
        rows.iter()
            .map(|row| {
                Ok(Fate {
                    raw: (
                        row.try_get(0).map_err(classify)?,
                        row.try_get(1).map_err(classify)?,
                    ),
                    event_id: row.try_get(2).map_err(classify)?,
                    fate: row.try_get(3).map_err(classify)?,
                })
            })
            .collect()
    }

    /// How many events are stored, how many further deliveries are recorded, and the seconds from receipt to row (p50, p99) of the
    /// newest `window` rows.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn summary(&self, window: i64) -> Result<Summary, StageError> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM duplicates), p[1], p[2] FROM (
                 SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM stored_at - received_at)::float8) AS p
                 FROM (SELECT stored_at, received_at FROM events ORDER BY seq DESC LIMIT $1) newest) quantiles",
        )
        .bind(window)
        .fetch_one(&self.pool)
        .await
        .map_err(classify)?;
        let get = |index| row.try_get::<i64, _>(index).map_err(classify);
        let quantile = |index| row.try_get::<Option<f64>, _>(index).map_err(classify);
        Ok(Summary {
            stored: get(0)?,
            duplicates: get(1)?,
            p50_seconds: quantile(2)?,
            p99_seconds: quantile(3)?,
        })
    }
}
