//! Where to start after an assignment, and whether the database is still where it was left.

use super::{Positions, TopicPartition, read, set_back};
use crate::fault::classify;
use runtime::admin::TopicIds;
use runtime::consumer::{Assigned, StageError, Start};
use sqlx::PgConnection;
use sqlx::postgres::PgPool;
use std::collections::BTreeMap;

/// The database's next offsets of these partitions, and where to start reading them, in their order. Offsets of a topic that was deleted and
/// created again are forgotten first: in the new one nothing was read.
///
/// # Errors
/// [`StageError`]
pub async fn starts(
    pool: &PgPool,
    group: &str,
    partitions: &[TopicPartition],
    assigned: &Assigned,
) -> Result<(Positions, Vec<Start>), StageError> {
    let mut connection = pool.acquire().await.map_err(classify)?;
    forget_recreated(&mut connection, &assigned.topic_ids).await?;
    let positions = read(&mut connection, group, partitions).await?;
    note_set_back(&mut connection, group, &positions, &assigned.committed).await?;
    // A database without offsets starts at the oldest record there is: the group's commits mean rows of some other database.
    let start = |partition| {
        let next: Option<i64> = positions.get(partition).copied().flatten();
        next.map_or(Start::Beginning, Start::Offset)
    };
    let starts = partitions.iter().map(start).collect();
    Ok((positions, starts))
}

/// Whether the database's offsets are where they were left, or further. A database that was restored under a running process is behind, and
/// nothing else shows it until the next record comes.
///
/// # Errors
/// [`StageError`]; stops when one was set back.
pub async fn check(pool: &PgPool, group: &str, positions: &Positions) -> Result<(), StageError> {
    if positions.is_empty() {
        return Ok(());
    }
    let mut connection = pool.acquire().await.map_err(classify)?;
    let partitions: Vec<TopicPartition> = positions.keys().cloned().collect();
    let now = read(&mut connection, group, &partitions).await?;
    for (partition, left_at) in positions {
        let database = now.get(partition).copied().flatten();
        if left_at.is_some_and(|left_at| database.is_none_or(|database| database < left_at)) {
            return Err(set_back(partition, database));
        }
    }
    Ok(())
}

/// Notes offsets that are behind what the group committed to Kafka. That happens only after the database has them, so the database was set
/// back, by a restore or by hand: recovery reads these notes.
async fn note_set_back(
    connection: &mut PgConnection,
    group: &str,
    positions: &Positions,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<(), StageError> {
    for (place, next) in positions {
        let Some(committed) = committed
            .get(place)
            .filter(|committed| Some(**committed) > *next)
        else {
            continue;
        };
        let (topic, partition) = place;
        tracing::warn!(
            event = "database_set_back",
            topic,
            partition,
            database = ?next,
            committed,
            "what was read since is read again"
        );
        sqlx::query(
            "INSERT INTO set_back_offsets (consumer_group, topic, partition, next_offset, committed) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(group)
        .bind(topic)
        .bind(partition)
        .bind(next)
        .bind(committed)
        .execute(&mut *connection)
        .await
        .map_err(classify)?;
    }
    Ok(())
}

async fn forget_recreated(connection: &mut PgConnection, ids: &TopicIds) -> Result<(), StageError> {
    let (topics, ids): (Vec<&String>, Vec<&String>) = ids.iter().unzip();
    let forgotten = sqlx::query(
        "WITH now AS (SELECT * FROM UNNEST($1::text[], $2::text[]) AS now (topic, topic_id)),
              changed AS (UPDATE read_topics t SET topic_id = now.topic_id, seen_at = clock_timestamp() FROM now
                          WHERE t.topic = now.topic AND t.topic_id <> now.topic_id RETURNING t.topic),
              new AS (INSERT INTO read_topics (topic, topic_id) SELECT topic, topic_id FROM now ON CONFLICT DO NOTHING)
         DELETE FROM consumer_offsets o USING changed WHERE o.topic = changed.topic",
    )
    .bind(topics)
    .bind(ids)
    .execute(connection)
    .await
    .map_err(classify)?;
    if forgotten.rows_affected() > 0 {
        tracing::warn!(
            event = "offsets_of_deleted_topic_forgotten",
            partitions = forgotten.rows_affected(),
            "a topic was deleted and created again; it is read from its beginning"
        );
    }
    Ok(())
}
