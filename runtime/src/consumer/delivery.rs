//! Outcomes become records, and every record an acknowledgement.

use super::turn::Loop;
use super::waiting::Waited;
use super::{Handler, Outcome, Record, Transient};
use crate::clock::now_micros;
use crate::dead_letter;
use crate::publisher::{self, OutRecord, PublishError};

/// Records of a batch on their way to the broker.
pub(super) struct Flight {
    publishing: publisher::Batch,
    /// By place in the flight: the record's place in the batch.
    sent: Vec<usize>,
    failed: Vec<(usize, PublishError)>,
}

impl<H: Handler> Loop<'_, H> {
    pub(super) fn flight(&self, records: usize) -> Flight {
        Flight {
            publishing: self.publisher.batch(records),
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
    ) {
        for place in places {
            let Some(record) = self.made_from(&records[place], &outcomes[place], attempts) else {
                continue;
            };
            match flight.publishing.add(record) {
                Ok(()) => flight.sent.push(place),
                Err(error) => flight.failed.push((place, error)),
            }
        }
    }

    /// Waits for every acknowledgement; what fails is sent again until the world is back. False: let go.
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
            let unacknowledged = self
                .runtime
                .block_on(publishing.wait(self.settings.publish_deadline));
            failed.extend(
                unacknowledged
                    .into_iter()
                    .map(|(place, error)| (sent[place], error)),
            );
            let Some((_, error)) = failed.first() else {
                break;
            };
            let reason = format!(
                "{} of {} records not published: {error}",
                failed.len(),
                failed.len().max(sent.len())
            );
            let world = Transient::wait(error.code(), reason);
            if self.wait(&world, attempt, generation, records)? == Waited::LetGo {
                return Ok(false);
            }
            let mut pending: Vec<usize> = failed.into_iter().map(|(place, _)| place).collect();
            // In the topic's order again, since failures come in any.
            pending.sort_unstable();
            flight = self.flight(pending.len());
            self.send(
                &mut flight,
                pending.into_iter(),
                records,
                outcomes,
                attempts,
            );
        }
        Ok(true)
    }

    /// The record an outcome asks for.
    fn made_from<'r>(
        &'r self,
        record: &Record<'r>,
        outcome: &'r Outcome,
        attempts: u32,
    ) -> Option<OutRecord<'r>> {
        let (topic, value, headers) = match outcome {
            Outcome::Done => return None,
            Outcome::Forward { topic, value } => {
                (&**topic, Some(&**value), dead_letter::forwarded(record))
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
