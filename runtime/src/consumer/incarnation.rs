//! Whether the topics a stage reads are still those it was assigned: one that was deleted and created again counts its offsets from 0 again,
//! and every position in it means another record.

use super::{ConsumerSettings, StageError};
use crate::admin::{TopicIds, TopicIdsReader};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Before the id, in what is committed.
const TOPIC_ID: &str = "topic=";
/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// Longest wait for the ids before reading starts; brokers that are down are tried first, perhaps.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The ids of a stage's topics, as of its assignment.
pub(super) struct Incarnations {
    reader: Arc<Mutex<TopicIdsReader>>,
    runtime: tokio::runtime::Handle,
    assigned: TopicIds,
    due: Instant,
    /// A look in the background: the stage reads on meanwhile
    look: Option<JoinHandle<anyhow::Result<TopicIds>>>,
}

impl Incarnations {
    pub(super) fn new(settings: &ConsumerSettings, runtime: tokio::runtime::Handle) -> Self {
        let topics = settings.all_topics().map(str::to_owned);
        let reader = TopicIdsReader::new(&settings.kafka, topics);
        Self {
            reader: Arc::new(Mutex::new(reader)),
            runtime,
            assigned: TopicIds::new(),
            due: Instant::now() + EVERY,
            look: None,
        }
    }

    /// As of the assignment.
    pub(super) fn ids(&self) -> &TopicIds {
        &self.assigned
    }

    /// The client was replaced: nothing is assigned.
    pub(super) fn forget(&mut self) {
        self.assigned.clear();
    }

    /// Notes the ids for an assignment. Without them nothing is read: nobody could tell later which topic a position was of. Where partitions
    /// are kept at an assignment of others (`keeps_others`), so are the ids of their topics: the next look compares them.
    pub(super) fn note_assignment(&mut self, keeps_others: bool) -> Result<&TopicIds, StageError> {
        // What is on its way is of before.
        if let Some(look) = self.look.take() {
            look.abort();
        }
        let reading = async { self.reader.lock().await.read(TIMEOUT).await };
        let mut now = self.runtime.block_on(reading).map_err(|error| {
            StageError::wait(
                "kafka_unavailable",
                format!("cannot read the ids of the topics: {error:#}"),
            )
        })?;
        if keeps_others {
            now.extend(std::mem::take(&mut self.assigned));
        }
        self.assigned = now;
        self.due = Instant::now() + EVERY;
        Ok(&self.assigned)
    }

    /// A topic that has another id than at the assignment, when a look is done; looks again when that is due.
    pub(super) fn recreated(&mut self) -> Option<String> {
        if let Some(look) = self.look.take_if(|look| look.is_finished()) {
            self.due = Instant::now() + EVERY;
            // A broker that does not answer says nothing about topics, and shows in a check of its own.
            let now = self.runtime.block_on(look).ok()?.ok()?;
            let changed =
                |(topic, id): &(&String, &String)| now.get(*topic).is_some_and(|now| now != *id);
            return self
                .assigned
                .iter()
                .find(changed)
                .map(|(topic, _)| topic.clone());
        }
        if self.look.is_none() && self.due <= Instant::now() {
            let reader = Arc::clone(&self.reader);
            let looking = async move { reader.lock().await.read(TIMEOUT).await };
            self.look = Some(self.runtime.spawn(looking));
        }
        None
    }
}

/// What is committed beside an offset: the topic's id, and a note of the stage's.
pub(super) fn commit_note(topic_id: Option<&String>, note: &str) -> String {
    match topic_id {
        Some(id) => format!("{TOPIC_ID}{id} {note}"),
        None => note.to_owned(),
    }
}

/// The id and the note.
pub(crate) fn read_commit_note(text: &str) -> (Option<&str>, &str) {
    match text.strip_prefix(TOPIC_ID) {
        Some(rest) => {
            let (id, note) = rest.split_once(' ').unwrap_or((rest, ""));
            (Some(id), note)
        }
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_says_which_topic_it_is_of_beside_the_stages_note() {
        let id = "pWt5kqO-QF6tq_Yk0xyzAA".to_owned();
        for note in ["", "rules 5 acme -other"] {
            let text = commit_note(Some(&id), note);
            assert_eq!(read_commit_note(&text), (Some(&*id), note));
            assert_eq!(read_commit_note(&commit_note(None, note)), (None, note));
        }
    }
}
