//! What the database holds of events.

use crate::writer::Writer;
use runtime::consumer::StageError;
use sqlx::FromRow;
use store::fate::RecordedFate;
use store::fault::classify;
use store::row::RawPosition;

/// The recorded fate of one raw record.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct RawFate {
    /// The raw record
    #[sqlx(flatten)]
    pub raw: RawPosition,
    /// Name of its source
    pub source: String,
    /// The id of the event it is a delivery of
    pub event_id: String,
    /// The event's type, in the vendor's words; none where the row is not there
    pub event_type: Option<String>,
    /// What became of it
    pub fate: RecordedFate,
}

/// What the database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, FromRow)]
pub struct Summary {
    /// Events that are a row
    pub stored: i64,
    /// Further deliveries of them
    pub duplicates: i64,
    /// Events that a rule of their source filters
    pub filtered: i64,
    /// Median seconds from receipt to row
    pub p50_seconds: Option<f64>,
    /// 99th percentile of the same
    pub p99_seconds: Option<f64>,
}

impl Writer {
    /// The fate of every raw record this database knows, from the view others may read.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn fates(&self) -> Result<Vec<RawFate>, StageError> {
        sqlx::query_as(
            "SELECT f.raw_epoch, f.raw_partition, f.raw_offset, f.source, f.event_id, f.fate, coalesce(x.event_type, e.event_type) AS event_type
             FROM event_fates f
             LEFT JOIN events e ON f.fate <> 'filtered' AND e.source = f.source COLLATE \"C\" AND e.event_id = f.event_id COLLATE \"C\"
             LEFT JOIN filtered x ON f.fate = 'filtered' AND x.raw_partition = f.raw_partition AND x.raw_offset = f.raw_offset
                                  AND x.raw_epoch = f.raw_epoch",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(classify)
    }

    /// How many events are stored, how many further deliveries are recorded, and the seconds from receipt to row (p50, p99) of the
    /// newest `window` rows.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn summary(&self, window: i64) -> Result<Summary, StageError> {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM events) AS stored, (SELECT count(*) FROM duplicates) AS duplicates,
                    (SELECT count(*) FROM filtered) AS filtered,
                    p[1] AS p50_seconds, p[2] AS p99_seconds FROM (
                 SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM stored_at - received_at)::float8) AS p
                 FROM (SELECT stored_at, received_at FROM events ORDER BY stored_at DESC LIMIT $1) newest) quantiles",
        )
        .bind(window)
        .fetch_one(&self.pool)
        .await
        .map_err(classify)
    }
}
