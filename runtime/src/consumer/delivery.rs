//! Outcomes become records, and every record an acknowledgement.

use super::turn::Loop;
use super::waiting::Waited;
use super::{Handler, Outcome, Record, Transient};
use crate::clock::now_micros;
use crate::dead_letter;
use crate::publisher::{OutRecord, PublishError};

impl<H: Handler> Loop<'_, H> {
    /// Publishes what the outcomes ask for and waits for every acknowledgement; what fails is tried again until the world is back.
    /// `attempts` is how often the stage has tried the batch. False: let go.
    pub(super) fn publish(
        &mut self,
        records: &[Record<'_>],
        outcomes: &[Outcome],
        attempts: u32,
        generation: u64,
    ) -> anyhow::Result<bool> {
        let mut pending: Vec<usize> = (0..outcomes.len()).filter(|&i| !matches!(outcomes[i], Outcome::Done)).collect();
        let mut attempt = 0;
        while !pending.is_empty() {
            let mut sent = Vec::with_capacity(pending.len());
            let mut failed: Vec<(usize, PublishError)> = Vec::new();
            let mut publishing = self.publisher.batch(pending.len());
            for &index in &pending {
                let Some(record) = self.made_from(&records[index], &outcomes[index], attempts) else { continue };
                match publishing.add(record) {
                    Ok(()) => sent.push(index),
                    Err(error) => failed.push((index, error)),
                }
            }
            let unacknowledged = self.runtime.block_on(publishing.wait(self.settings.publish_deadline));
            failed.extend(unacknowledged.into_iter().map(|(place, error)| (sent[place], error)));
            let Some((_, error)) = failed.first() else { break };
            let world =
                Transient::wait(error.code(), format!("{} of {} records not published: {error}", failed.len(), pending.len()));
            if self.wait(&world, attempt, generation, records)? == Waited::LetGo {
                return Ok(false);
            }
            attempt += 1;
            pending = failed.into_iter().map(|(index, _)| index).collect();
            // In the topic's order again, since failures come in any.
            pending.sort_unstable();
        }
        Ok(true)
    }

    /// The record an outcome asks for.
    fn made_from<'r>(&'r self, record: &Record<'r>, outcome: &'r Outcome, attempts: u32) -> Option<OutRecord<'r>> {
        let (topic, value, headers) = match outcome {
            Outcome::Done => return None,
            Outcome::Forward { topic, value } => (&**topic, Some(&**value), dead_letter::forwarded(record)),
            Outcome::Reject(rejection) => {
                let author =
                    dead_letter::Author { stage: self.stage, group: &self.settings.group, now_micros: now_micros(), attempts };
                let headers = dead_letter::headers(record, rejection, &author);
                (self.settings.dead_letter_topic.as_str(), record.payload, headers)
            }
        };
        Some(OutRecord { topic, key: record.key, value, headers })
    }
}
