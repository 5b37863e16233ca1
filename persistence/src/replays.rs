//! Replays beside live rows. An edit may change a record's id, and a raw record must not become two rows by it.

use crate::rows::{Raw, Row};
use sqlx::{PgConnection, Row as _};
use std::collections::HashMap;

/// For every row why it may not be inserted: it is a replay, and its raw record is another event already, in the database or earlier in
/// the batch. The rows of the batch that are no replays are as they have always been.
pub(crate) async fn under_other_ids(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
) -> Result<Vec<Option<String>>, sqlx::Error> {
    let replayed: Vec<Raw> = rows
        .iter()
        .filter(|row| row.replayed)
        .map(|row| row.raw)
        .collect();
    let found = sqlx::query(
        "SELECT f.raw_partition, f.raw_offset, f.source, f.event_id
         FROM UNNEST($1::integer[], $2::bigint[]) AS batch (raw_partition, raw_offset)
         JOIN event_fates f ON f.raw_partition = batch.raw_partition AND f.raw_offset = batch.raw_offset",
    )
    .bind(replayed.iter().map(|raw| raw.0).collect::<Vec<_>>())
    .bind(replayed.iter().map(|raw| raw.1).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut known: HashMap<Raw, (String, String)> = HashMap::new();
    for row in &found {
        known.insert(
            (row.try_get(0)?, row.try_get(1)?),
            (row.try_get(2)?, row.try_get(3)?),
        );
    }
    let judge = |row: &Row<'_>| {
        let (source, id) = known.entry(row.raw).or_insert_with(|| row.key());
        let same = source == row.source && id == row.event.event_id;
        let (partition, offset) = row.raw;
        (row.replayed && !same).then(|| {
            format!("raw record {partition}:{offset} is event {id} of source {source} already")
        })
    };
    Ok(rows.iter().map(judge).collect())
}
