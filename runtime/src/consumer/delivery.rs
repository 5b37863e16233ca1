//! Outcomes become records, and every record an acknowledgement.

use super::turn::Loop;
use super::waiting::Waited;
use super::{Handler, Outcome, Record, StageError};
use crate::clock::now_micros;
use crate::dead_letter;
use crate::publisher::{self, OutRecord, PublishError};

/// Records of a batch on their way to the broker. A record published is known by the place in the batch of the one it was made from,
/// and its own among those made from it.
pub(super) struct Flight {
    publishing: Option<publisher::Batch>,
    /// By place in the flight
    sent: Vec<(usize, usize)>,
    failed: Vec<((usize, usize), PublishError)>,
}

impl<H: Handler> Loop<'_, H> {
    pub(super) fn flight(&self, records: usize) -> Flight {
        Flight {
            publishing: self
                .publisher
                .as_ref()
                .map(|publisher| publisher.batch(records)),
            sent: Vec::with_capacity(records),
            failed: Vec::new(),
        }
    }

    /// Hands what the outcomes ask for to the Kafka client, which sends it in the background. `places` are those of the records in the batch;
    /// `attempts` is how often the stage has tried them.
    pub(super) fn send(
        &self,
        flight: &mut Flight,
        places: impl Iterator<Item = usize>,
        records: &[Record<'_>],
        outcomes: &[Outcome],
        attempts: u32,
    ) -> anyhow::Result<()> {
        for place in places {
            let made = match &outcomes[place] {
                Outcome::Done => 0,
                Outcome::Forward(forwards) => forwards.len(),
                Outcome::Reject(_) => 1,
            };
            for which in 0..made {
                self.send_one(flight, (place, which), records, outcomes, attempts)?;
            }
        }
        Ok(())
    }

    fn send_one(
        &self,
        flight: &mut Flight,
        (place, which): (usize, usize),
        records: &[Record<'_>],
        outcomes: &[Outcome],
        attempts: u32,
    ) -> anyhow::Result<()> {
        let Some(publishing) = &mut flight.publishing else {
            anyhow::bail!(
                "{} has no publisher, yet its handler made a record",
                self.stage
            );
        };
        let Some(record) = self.made_from(&records[place], &outcomes[place], which, attempts)
        else {
            return Ok(());
        };
        match publishing.add(record) {
            Ok(()) => flight.sent.push((place, which)),
            Err(error) => flight.failed.push(((place, which), error)),
        }
        Ok(())
    }

    /// Waits for every acknowledgement; what fails is sent again until the broker is back. False: let go.
    pub(super) fn land(
        &mut self,
        mut flight: Flight,
        records: &[Record<'_>],
        outcomes: &[Outcome],
        attempts: u32,
        generation: u64,
    ) -> anyhow::Result<bool> {
        for attempt in 0.. {
            let Flight {
                publishing,
                sent,
                mut failed,
            } = flight;
            if let Some(publishing) = publishing {
                let unacknowledged = self
                    .runtime
                    .block_on(publishing.wait(self.settings.publish_deadline));
                failed.extend(
                    unacknowledged
                        .into_iter()
                        .map(|(place, error)| (sent[place], error)),
                );
            }
            let Some((_, error)) = failed.first() else {
                break;
            };
            let reason = format!(
                "{} of {} records not published: {error}",
                failed.len(),
                failed.len().max(sent.len())
            );
            let error = StageError::wait(error.code(), reason);
            if self.wait(&error, attempt, generation, records)? == Waited::LetGo {
                return Ok(false);
            }
            let mut pending: Vec<_> = failed.into_iter().map(|(made, _)| made).collect();
            // In the topic's order again, since failures come in any.
            pending.sort_unstable();
            flight = self.flight(pending.len());
            for made in pending {
                self.send_one(&mut flight, made, records, outcomes, attempts)?;
            }
        }
        Ok(true)
    }

    /// The record an outcome asks for: which of those to forward, or its dead letter.
    fn made_from<'r>(
        &'r self,
        record: &Record<'r>,
        outcome: &'r Outcome,
        which: usize,
        attempts: u32,
    ) -> Option<OutRecord<'r>> {
        let (topic, value, headers) = match outcome {
            Outcome::Done => return None,
            Outcome::Forward(forwards) => {
                let forward = &forwards[which];
                let mut headers = dead_letter::forwarded(record, forward.headers.len());
                for (name, value) in &forward.headers {
                    headers = headers.with(name, Some(value));
                }
                (&*forward.topic, Some(&*forward.value), headers)
            }
            Outcome::Reject(rejection) => {
                let author = dead_letter::Author {
                    stage: self.stage,
                    group: &self.settings.group,
                    now_micros: now_micros(),
                    attempts,
                };
                let headers = dead_letter::headers(record, rejection, &author);
                (
                    self.settings.dead_letter_topic.as_str(),
                    record.payload,
                    headers,
                )
            }
        };
        Some(OutRecord {
            topic,
            key: record.key,
            value,
            headers,
        })
    }
}
