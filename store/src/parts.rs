//! A batch in parts: after a time-out the next attempt is smaller, and what was done stays done.

use crate::{DEADLINE, TIMEOUT, silent, timed_out};
use runtime::consumer::{Record, StageError};
use std::time::{Duration, Instant};

/// Topic, partition and offset of a record, as its batch has it.
pub type Place = (String, i32, i64);

/// Where a record is.
#[must_use]
pub fn place(record: &Record<'_>) -> Place {
    (record.topic.to_owned(), record.partition, record.offset)
}

/// How a stage works through its batches. A batch is one part until it times out; then it continues in parts of half as many records,
/// down to one record, which waits. Parts grow again while they are fast.
#[derive(Debug)]
pub struct Parts<T> {
    /// Longest one part may take
    deadline: Duration,
    /// Most records in a part
    limit: usize,
    /// The records at the beginning of the batch that are done, and what each came to
    done: Vec<(Place, T)>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self::with_deadline(DEADLINE)
    }
}

impl<T> Parts<T> {
    /// No part may take longer than `deadline`.
    #[must_use]
    pub fn with_deadline(deadline: Duration) -> Self {
        Self {
            deadline,
            limit: usize::MAX,
            done: Vec::new(),
        }
    }

    /// What was done is no longer taken for done: whoever has the records, or the database, may be another now.
    pub fn forget(&mut self) {
        self.done.clear();
    }

    /// What each record of the batch came to, in order. `work` does a part of it, for good; it is also given the records before that part,
    /// with what they came to. After an error the call is repeated: with the same batch it continues where it stopped.
    ///
    /// Takes at most twice the deadline.
    ///
    /// # Errors
    /// Those of the work, and [`TIMEOUT`].
    pub async fn settle<R>(
        &mut self,
        batch: &[R],
        place: impl Fn(&R) -> Place,
        mut work: impl AsyncFnMut(&[(&R, &T)], &[R]) -> Result<Vec<T>, StageError>,
    ) -> Result<Vec<T>, StageError> {
        let is_same = |((done, _), record): (&(Place, T), &R)| *done == place(record);
        if self.done.len() > batch.len() || !self.done.iter().zip(batch).all(is_same) {
            self.done.clear();
        }
        let started = Instant::now();
        while self.done.len() < batch.len() {
            let (before, rest) = batch.split_at(self.done.len());
            if started.elapsed() >= self.deadline {
                return Err(timed_out(format!(
                    "PostgreSQL is slow: {} of {} records are stored; continuing with the rest",
                    before.len(),
                    batch.len()
                )));
            }
            let part = &rest[..rest.len().min(self.limit)];
            let before: Vec<(&R, &T)> = before
                .iter()
                .zip(self.done.iter().map(|(_, outcome)| outcome))
                .collect();
            let began = Instant::now();
            let outcomes = tokio::time::timeout(self.deadline, work(&before, part))
                .await
                .unwrap_or_else(|_| Err(silent()));
            match outcomes {
                Ok(outcomes) => {
                    self.done.extend(part.iter().map(&place).zip(outcomes));
                    // Twice as many take half the deadline.
                    if began.elapsed() < self.deadline / 4 {
                        self.limit = self.limit.saturating_mul(2);
                    }
                }
                Err(error) if error.code() == TIMEOUT => {
                    return Err(self.shrink(part, place, &error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.done.drain(..).map(|(_, outcome)| outcome).collect())
    }

    fn shrink<R>(
        &mut self,
        part: &[R],
        place: impl Fn(&R) -> Place,
        error: &StageError,
    ) -> StageError {
        self.limit = (part.len() / 2).max(1);
        let next = match part {
            [record] => {
                let (topic, partition, offset) = place(record);
                format!("record {topic}:{partition}:{offset} is retried alone")
            }
            _ => format!(
                "{} records are retried in parts of {}",
                part.len(),
                self.limit
            ),
        };
        let (StageError::Wait { reason, .. } | StageError::Stop { reason, .. }) = error;
        timed_out(format!("{reason}; {next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [i64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    fn at(offset: &i64) -> Place {
        ("t".to_owned(), 0, *offset)
    }

    fn times_out() -> StageError {
        timed_out("too slow")
    }

    /// Works until it is given more than `most` records; notes the parts it was given.
    async fn attempt(
        parts: &mut Parts<i64>,
        batch: &[i64],
        most: usize,
        given: &mut Vec<Vec<i64>>,
    ) -> Result<Vec<i64>, StageError> {
        let work = async |before: &[(&i64, &i64)], part: &[i64]| {
            assert!(
                before
                    .iter()
                    .all(|(record, outcome)| **record * 10 == **outcome)
            );
            given.push(part.to_vec());
            if part.len() > most {
                return Err(times_out());
            }
            Ok(part.iter().map(|record| record * 10).collect())
        };
        parts.settle(batch, at, work).await
    }

    #[tokio::test]
    async fn after_a_time_out_the_next_attempt_is_half_as_large_and_what_is_done_is_not_repeated() {
        let (mut parts, mut given) = (Parts::default(), Vec::new());
        for refused in [
            "8 records are retried in parts of 4",
            "4 records are retried in parts of 2",
        ] {
            let error = attempt(&mut parts, &RECORDS, 3, &mut given)
                .await
                .unwrap_err();
            assert!(error.to_string().ends_with(refused), "{error}");
        }
        // Parts of 2 pass; grown to 4 they time out again, and the first two are done.
        let error = attempt(&mut parts, &RECORDS, 3, &mut given)
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("4 records are retried in parts of 2"),
            "{error}"
        );
        let outcomes = attempt(&mut parts, &RECORDS, 4, &mut given).await.unwrap();
        assert_eq!(outcomes, [0, 10, 20, 30, 40, 50, 60, 70]);
        let sizes: Vec<usize> = given.iter().map(Vec::len).collect();
        assert_eq!(sizes, [8, 4, 2, 4, 2, 4]);
        assert_eq!(given.last().unwrap(), &[4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn one_record_is_not_divided_and_is_named() {
        let (mut parts, mut given) = (Parts::default(), Vec::new());
        for _ in 0..3 {
            let error = attempt(&mut parts, &[7], 0, &mut given).await.unwrap_err();
            assert!(
                !error.must_stop() && error.to_string().ends_with("record t:0:7 is retried alone"),
                "{error}"
            );
        }
        assert_eq!(
            attempt(&mut parts, &[7], 1, &mut given).await.unwrap(),
            [70]
        );
    }

    #[tokio::test]
    async fn another_batch_begins_at_its_beginning() {
        let (mut parts, mut given) = (Parts::default(), Vec::new());
        for _ in 0..3 {
            let error = attempt(&mut parts, &RECORDS, 3, &mut given).await;
            assert!(error.is_err());
        }
        assert_eq!(parts.done.len(), 2);
        // Released and read again, with another record between.
        let other = [0, 1, 9, 2];
        assert_eq!(
            attempt(&mut parts, &other, 4, &mut given).await.unwrap(),
            [0, 10, 90, 20]
        );
    }

    #[tokio::test]
    async fn what_is_forgotten_is_done_again() {
        let (mut parts, mut given) = (Parts::default(), Vec::new());
        for _ in 0..3 {
            let error = attempt(&mut parts, &RECORDS, 3, &mut given).await;
            assert!(error.is_err());
        }
        assert!(!parts.done.is_empty());
        given.clear();
        parts.forget();
        attempt(&mut parts, &RECORDS, 8, &mut given).await.unwrap();
        assert_eq!(given.concat(), RECORDS);
    }

    #[tokio::test]
    async fn work_that_never_ends_is_ended_at_the_deadline() {
        let mut parts: Parts<i64> = Parts::with_deadline(Duration::from_millis(20));
        let work = async |_: &[(&i64, &i64)], _: &[i64]| std::future::pending().await;
        let error = parts.settle(&RECORDS, at, work).await.unwrap_err();
        assert_eq!(error.code(), TIMEOUT);
        assert_eq!(parts.limit, 4);
    }
}
