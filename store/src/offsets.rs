//! Offsets: where the group goes on reading, moved in the transaction that stores, by compare-and-set.

use crate::fault::classify;
use runtime::consumer::{Record, StageError};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use std::collections::BTreeMap;

/// Topic and partition.
pub type Place = (String, i32);

/// The database's next offsets; `None` where it has none yet.
pub type Positions = BTreeMap<Place, Option<i64>>;

/// What a batch covers of one partition, and what became of it.
#[derive(Debug, Clone)]
pub struct End {
    /// Topic and partition
    pub place: Place,
    /// First offset in the batch
    first: i64,
    /// Offset after the last in the batch
    pub next: i64,
    /// First offset that must be dead-lettered: until that is acknowledged, the database's offset stops before it
    held: Option<i64>,
    stored: i64,
    duplicates: i64,
    dead_letters: i64,
}

/// The ends of a batch, by partition.
#[derive(Debug, Clone, Default)]
pub struct Ends(pub Vec<End>);

impl Ends {
    /// Covers a record; returns its partition's place among the ends.
    pub fn cover(&mut self, record: &Record<'_>) -> usize {
        let next = record.offset + 1;
        let same = |end: &End| end.place.1 == record.partition && end.place.0 == record.topic;
        if let Some(index) = self.0.iter().position(same) {
            self.0[index].next = self.0[index].next.max(next);
            return index;
        }
        let place = (record.topic.to_owned(), record.partition);
        self.0.push(End {
            place,
            first: record.offset,
            next,
            held: None,
            stored: 0,
            duplicates: 0,
            dead_letters: 0,
        });
        self.0.len() - 1
    }

    /// The record at this offset must be dead-lettered.
    pub fn hold(&mut self, end: usize, offset: i64) {
        let end = &mut self.0[end];
        end.held = Some(end.held.map_or(offset, |held| held.min(offset)));
        end.dead_letters += 1;
    }

    /// One more record of this end is stored.
    pub fn count_stored(&mut self, end: usize) {
        self.0[end].stored += 1;
    }

    /// One more record of this end was there already.
    pub fn count_duplicate(&mut self, end: usize) {
        self.0[end].duplicates += 1;
    }

    /// Whether a record of the batch must be dead-lettered.
    #[must_use]
    pub fn has_dead_letters(&self) -> bool {
        self.0.iter().any(|end| end.held.is_some())
    }

    /// How far the offsets go now: to the end of the batch, but not past a record that must be dead-lettered.
    pub fn before_dead_letters(&self) -> Vec<Move<'_>> {
        let step = |end| Move {
            end,
            to: end.held.unwrap_or(end.next),
            stored: end.stored,
            duplicates: end.duplicates,
            dead_letters: 0,
        };
        self.0.iter().map(step).collect()
    }

    /// How far they go once the dead letters are acknowledged; nothing where there were none.
    pub fn after_dead_letters(&self) -> Vec<Move<'_>> {
        let step = |end| Move {
            end,
            to: end.next,
            stored: 0,
            duplicates: 0,
            dead_letters: end.dead_letters,
        };
        self.0
            .iter()
            .filter(|end| end.held.is_some())
            .map(step)
            .collect()
    }
}

/// One partition's step.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    end: &'a End,
    to: i64,
    stored: i64,
    duplicates: i64,
    dead_letters: i64,
}

/// The database's next offsets of these partitions.
pub async fn read(
    connection: &mut PgConnection,
    group: &str,
    partitions: &[Place],
) -> Result<Positions, StageError> {
    let known = sqlx::query(
        "SELECT topic, partition, next_offset FROM consumer_offsets WHERE consumer_group = $1",
    )
    .bind(group)
    .fetch_all(connection)
    .await
    .map_err(classify)?;
    let mut positions: Positions = partitions
        .iter()
        .map(|place| (place.clone(), None))
        .collect();
    for row in &known {
        if let Some(position) = positions.get_mut(&place_of(row)?) {
            *position = Some(row.try_get(2).map_err(classify)?);
        }
    }
    Ok(positions)
}

fn place_of(row: &PgRow) -> Result<Place, StageError> {
    Ok((
        row.try_get(0).map_err(classify)?,
        row.try_get(1).map_err(classify)?,
    ))
}

/// Moves offsets by compare-and-set, all partitions in one statement, and returns where they are now.
///
/// When the database is not where we left it, either our own last commit arrived without its answer, or another member has had the
/// partition: then the true offset is taken. Rows are safe either way (one per id); the offset only ever moves forward over what was
/// settled. An offset behind the batch is a gap nobody has read: the process ends and starts again from the database.
pub async fn advance(
    connection: &mut PgConnection,
    group: &str,
    moves: &[Move<'_>],
    positions: &Positions,
) -> Result<Positions, StageError> {
    let mut from: Vec<Option<i64>> = moves
        .iter()
        .map(|step| positions.get(&step.end.place).copied().flatten())
        .collect();
    let mut moved = Positions::new();
    for _ in 0..2 {
        let pending: Vec<usize> = (0..moves.len())
            .filter(|&index| !moved.contains_key(&moves[index].end.place))
            .collect();
        for new in [true, false] {
            let steps: Vec<_> = pending
                .iter()
                .filter(|&&index| from[index].is_none() == new)
                .map(|&index| (&moves[index], from[index]))
                .collect();
            for row in step(connection, group, &steps, new).await? {
                moved.insert(place_of(&row)?, Some(row.try_get(2).map_err(classify)?));
            }
        }
        if moved.len() == moves.len() {
            return Ok(moved);
        }
        let elsewhere: Vec<Place> = moves
            .iter()
            .map(|step| step.end.place.clone())
            .filter(|place| !moved.contains_key(place))
            .collect();
        let now = read(connection, group, &elsewhere).await?;
        for (index, step) in moves.iter().enumerate() {
            let End {
                place, first, next, ..
            } = step.end;
            let Some(database) = now.get(place) else {
                continue;
            };
            tracing::warn!(
                event = "offset_moved_elsewhere",
                topic = place.0,
                partition = place.1,
                ?database,
                first,
                next
            );
            if database.is_none_or(|database| database < *first) {
                let reason = format!(
                    "the database's offset of {}:{} was set back to {database:?}; starting again from there",
                    place.0, place.1
                );
                return Err(StageError::stop("offset_behind", reason));
            }
            from[index] = *database;
        }
    }
    Err(StageError::wait(
        "offset_contended",
        "another member is moving the same offset",
    ))
}

/// One attempt: inserts offsets that are not there yet, or updates those that are where we think they are. Returns what moved.
async fn step(
    connection: &mut PgConnection,
    group: &str,
    steps: &[(&Move<'_>, Option<i64>)],
    new: bool,
) -> Result<Vec<PgRow>, StageError> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let statement = if new {
        "INSERT INTO consumer_offsets (consumer_group, topic, partition, next_offset, stored, duplicate, dead_lettered)
         SELECT $1, topic, partition, next_offset, stored, duplicate, dead_lettered
         FROM UNNEST($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
              AS step (topic, partition, expected, next_offset, stored, duplicate, dead_lettered)
         ON CONFLICT DO NOTHING
         RETURNING topic, partition, next_offset"
    } else {
        "UPDATE consumer_offsets o
         SET next_offset = step.next_offset, stored = o.stored + step.stored, duplicate = o.duplicate + step.duplicate,
             dead_lettered = o.dead_lettered + step.dead_lettered, moved_at = clock_timestamp()
         FROM UNNEST($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
              AS step (topic, partition, expected, next_offset, stored, duplicate, dead_lettered)
         WHERE o.consumer_group = $1 AND o.topic = step.topic AND o.partition = step.partition AND o.next_offset = step.expected
         RETURNING o.topic, o.partition, o.next_offset"
    };
    macro_rules! column {
        (|$step:ident, $from:ident| $value:expr) => {
            steps
                .iter()
                .map(|($step, $from)| $value)
                .collect::<Vec<_>>()
        };
    }
    sqlx::query(statement)
        .bind(group)
        .bind(column!(|step, _from| step.end.place.0.as_str()))
        .bind(column!(|step, _from| step.end.place.1))
        .bind(column!(|_step, from| *from))
        .bind(column!(
            |step, from| from.map_or(step.to, |from| from.max(step.to))
        ))
        .bind(column!(|step, _from| step.stored))
        .bind(column!(|step, _from| step.duplicates))
        // An offset that is already past them has counted them.
        .bind(column!(
            |step, from| if from.is_some_and(|from| from >= step.to) {
                0
            } else {
                step.dead_letters
            }
        ))
        .fetch_all(connection)
        .await
        .map_err(classify)
}
