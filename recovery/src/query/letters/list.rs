//! Rows as the lists' JSON.

use crate::error::RecoveryError;
use crate::model::{Letter, State};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

/// Columns of [`letter`], from `dead_letters d` and `groups g`.
macro_rules! letter_columns {
    () => {
        "d.id, d.state, d.group_id, g.stage, g.code, g.source, g.event_type, d.event_id, d.entity_key, d.detail, d.consumer_group, \
         d.disposition, d.attempts, d.replay_count, d.first_failed_at, d.last_failed_at, \
         d.origin_topic || ':' || d.origin_partition || ':' || d.origin_offset, d.edit_id IS NOT NULL, d.job_id, d.resolution, d.reason"
    };
}
pub(super) use letter_columns;

pub(super) fn letter(row: &PgRow) -> Result<Letter, sqlx::Error> {
    Ok(Letter {
        id: row.try_get(0)?,
        state: State::of_word(row.try_get(1)?).unwrap_or(State::Open),
        group: row.try_get(2)?,
        stage: row.try_get(3)?,
        code: row.try_get(4)?,
        source: row.try_get(5)?,
        event_type: row.try_get(6)?,
        event_id: row.try_get(7)?,
        entity_key: row.try_get(8)?,
        detail: row.try_get(9)?,
        consumer_group: row.try_get(10)?,
        disposition: row.try_get(11)?,
        attempts: row.try_get(12)?,
        replay_count: row.try_get(13)?,
        first_failed_at: row.try_get(14)?,
        last_failed_at: row.try_get(15)?,
        origin: row.try_get(16)?,
        edited: row.try_get(17)?,
        job: row.try_get(18)?,
        resolution: row.try_get(19)?,
        reason: row.try_get(20)?,
    })
}

/// Letters by their numbers, the newest first.
pub(super) async fn by_ids(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<Letter>, RecoveryError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        letter_columns!(),
        " FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = ANY($1) ORDER BY d.id DESC"
    ))
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(letter).collect::<Result<_, _>>()?)
}
