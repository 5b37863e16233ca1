//! Offsets: where the group goes on reading, moved in the transaction that stores, by compare-and-set.

mod start;

pub use start::{check, starts};

use crate::fault::classify;
use runtime::consumer::{Record, StageError};
use runtime::faults;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use std::collections::BTreeMap;

/// Topic and partition.
pub type TopicPartition = (String, i32);

/// The database's next offsets; `None` where it has none yet.
pub type Positions = BTreeMap<TopicPartition, Option<i64>>;

/// What a batch covers of one partition, and the outcomes of its records there.
#[derive(Debug, Clone)]
struct Span {
    partition: TopicPartition,
    /// First offset in the batch
    first: i64,
    /// Offset after the last in the batch
    next: i64,
    /// First offset that must be dead-lettered: until that is acknowledged, the database's offset stops before it
    blocked_at: Option<i64>,
    stored: i64,
    duplicates: i64,
    filtered: i64,
    dead_letters: i64,
}

/// How far a batch goes in each partition, and the outcomes of its records there.
#[derive(Debug, Clone, Default)]
pub struct BatchOffsets(Vec<Span>);

/// Where a record of a batch is: its partition among those of the batch, and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRecord {
    span: usize,
    offset: i64,
}

impl BatchOffsets {
    /// Adds a record to the batch. What it returns names the record to the other methods.
    pub fn include(&mut self, record: &Record<'_>) -> BatchRecord {
        let Record {
            topic,
            partition,
            offset,
            ..
        } = *record;
        let same = |span: &Span| span.partition.1 == partition && span.partition.0 == topic;
        if let Some(span) = self.0.iter().position(same) {
            self.0[span].next = self.0[span].next.max(offset + 1);
            return BatchRecord { span, offset };
        }
        self.0.push(Span {
            partition: (topic.to_owned(), partition),
            first: offset,
            next: offset + 1,
            blocked_at: None,
            stored: 0,
            duplicates: 0,
            filtered: 0,
            dead_letters: 0,
        });
        let span = self.0.len() - 1;
        BatchRecord { span, offset }
    }

    /// This record must be dead-lettered: offsets stop before it until that is acknowledged.
    pub fn block_at(&mut self, record: BatchRecord) {
        let (span, offset) = (&mut self.0[record.span], record.offset);
        span.blocked_at = Some(span.blocked_at.map_or(offset, |first| first.min(offset)));
        span.dead_letters += 1;
    }

    /// Counts a record as stored.
    pub fn count_stored(&mut self, record: BatchRecord) {
        self.0[record.span].stored += 1;
    }

    /// Counts a record as a duplicate that was not known before.
    pub fn count_duplicate(&mut self, record: BatchRecord) {
        self.0[record.span].duplicates += 1;
    }

    /// Counts a record as filtered that was not known before.
    pub fn count_filtered(&mut self, record: BatchRecord) {
        self.0[record.span].filtered += 1;
    }

    /// Whether a record of the batch must be dead-lettered.
    #[must_use]
    pub fn has_dead_letters(&self) -> bool {
        self.0.iter().any(|span| span.blocked_at.is_some())
    }

    /// How far the offsets go now: to the end of the batch, but not past a record that must be dead-lettered.
    pub fn before_dead_letters(&self) -> Vec<Move<'_>> {
        let step = |span| Move {
            span,
            to: span.blocked_at.unwrap_or(span.next),
            stored: span.stored,
            duplicates: span.duplicates,
            filtered: span.filtered,
            dead_letters: 0,
        };
        self.0.iter().map(step).collect()
    }

    /// How far they go once the dead letters are acknowledged; empty where there were none.
    pub fn after_dead_letters(&self) -> Vec<Move<'_>> {
        let step = |span| Move {
            span,
            to: span.next,
            stored: 0,
            duplicates: 0,
            filtered: 0,
            dead_letters: span.dead_letters,
        };
        self.0
            .iter()
            .filter(|span| span.blocked_at.is_some())
            .map(step)
            .collect()
    }
}

/// How far one partition's offset goes.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    span: &'a Span,
    to: i64,
    stored: i64,
    duplicates: i64,
    filtered: i64,
    dead_letters: i64,
}

/// A row of `consumer_offsets`, for one group.
#[derive(FromRow)]
struct NextOffset {
    topic: String,
    partition: i32,
    next_offset: i64,
}

fn set_back((topic, partition): &TopicPartition, database: Option<i64>) -> StageError {
    let back = database.map_or_else(|| "none".to_owned(), |next| next.to_string());
    let reason = format!(
        "the database's offset of {topic}:{partition} was set back to {back}; restart the process to read from there"
    );
    StageError::stop("offset_behind", reason)
}

async fn read(
    connection: &mut PgConnection,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<Positions, StageError> {
    let known: Vec<NextOffset> = sqlx::query_as(
        "SELECT topic, partition, next_offset FROM consumer_offsets WHERE consumer_group = $1",
    )
    .bind(group)
    .fetch_all(connection)
    .await
    .map_err(classify)?;
    let mut positions: Positions = partitions
        .iter()
        .map(|partition| (partition.clone(), None))
        .collect();
    for row in known {
        if let Some(position) = positions.get_mut(&(row.topic, row.partition)) {
            *position = Some(row.next_offset);
        }
    }
    Ok(positions)
}

/// Moves offsets by compare-and-set, all partitions in one statement, and returns where they are now.
///
/// When the database is not where we left it, either our own last commit arrived without its answer, or another member has had the
/// partition: then the true offset is taken. Rows are safe either way (one per id); the offset only ever moves forward over what was
/// settled. An offset behind the batch is a gap nobody has read: the process ends and restarts from the database.
///
/// # Errors
/// [`StageError`]: waits while another member moves the same offset, stops at a gap.
pub async fn advance(
    connection: &mut PgConnection,
    group: &str,
    moves: &[Move<'_>],
    positions: &Positions,
) -> Result<Positions, StageError> {
    let mut from: Vec<Option<i64>> = moves
        .iter()
        .map(|step| positions.get(&step.span.partition).copied().flatten())
        .collect();
    let mut moved = Positions::new();
    for _ in 0..2 {
        let pending: Vec<usize> = (0..moves.len())
            .filter(|&index| !moved.contains_key(&moves[index].span.partition))
            .collect();
        for new in [true, false] {
            let steps: Vec<_> = pending
                .iter()
                .filter(|&&index| from[index].is_none() == new)
                .map(|&index| (&moves[index], from[index]))
                .collect();
            for row in step(connection, group, &steps, new).await? {
                moved.insert((row.topic, row.partition), Some(row.next_offset));
            }
        }
        if moved.len() == moves.len() {
            return Ok(moved);
        }
        let elsewhere: Vec<TopicPartition> = moves
            .iter()
            .map(|step| step.span.partition.clone())
            .filter(|partition| !moved.contains_key(partition))
            .collect();
        let now = read(connection, group, &elsewhere).await?;
        for (index, step) in moves.iter().enumerate() {
            let Span {
                partition: (topic, partition),
                first,
                next,
                ..
            } = step.span;
            let Some(database) = now.get(&step.span.partition) else {
                continue;
            };
            tracing::warn!(
                event = "offset_moved_elsewhere",
                topic,
                partition,
                ?database,
                first,
                next
            );
            if database.is_none_or(|database| database < *first) {
                return Err(set_back(&step.span.partition, *database));
            }
            from[index] = *database;
        }
    }
    Err(StageError::wait(
        "offset_contended",
        "another member is moving the same offset; retrying",
    ))
}

/// One attempt: inserts offsets that are not there yet, or updates those that are where we think they are. Returns what moved.
async fn step(
    connection: &mut PgConnection,
    group: &str,
    steps: &[(&Move<'_>, Option<i64>)],
    new: bool,
) -> Result<Vec<NextOffset>, StageError> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let statement = if new {
        "INSERT INTO consumer_offsets (consumer_group, topic, partition, next_offset, stored, duplicate, filtered, dead_lettered)
         SELECT $1, topic, partition, next_offset, stored, duplicate, filtered, dead_lettered
         FROM UNNEST($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
              AS step (topic, partition, expected, next_offset, stored, duplicate, filtered, dead_lettered)
         ON CONFLICT DO NOTHING
         RETURNING topic, partition, next_offset"
    } else {
        "UPDATE consumer_offsets o
         SET next_offset = step.next_offset, stored = o.stored + step.stored, duplicate = o.duplicate + step.duplicate,
             filtered = o.filtered + step.filtered, dead_lettered = o.dead_lettered + step.dead_lettered, moved_at = clock_timestamp()
         FROM UNNEST($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
              AS step (topic, partition, expected, next_offset, stored, duplicate, filtered, dead_lettered)
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
    let query = match faults::planted("compare_and_set_removed") {
        true => sqlx::query_as(AssertSqlSafe(
            statement.replace(" AND o.next_offset = step.expected", ""),
        )),
        false => sqlx::query_as(statement),
    };
    query
        .bind(group)
        .bind(column!(|step, _from| step.span.partition.0.as_str()))
        .bind(column!(|step, _from| step.span.partition.1))
        .bind(column!(|_step, from| *from))
        .bind(column!(
            |step, from| from.map_or(step.to, |from| from.max(step.to))
        ))
        .bind(column!(|step, _from| step.stored))
        .bind(column!(|step, _from| step.duplicates))
        .bind(column!(|step, _from| step.filtered))
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
