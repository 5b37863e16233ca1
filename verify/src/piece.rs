//! What is joined: requests, records, rows, and where each of them is.

use contracts::kafka::headers;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A topic that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Topic {
    Raw,
    Validated,
    Dead,
    /// By its number among the retry topics
    Retry(u8),
}

/// Where a raw record is. The epoch is empty for the topic that the database began with, else `@` and the topic's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) epoch: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Position {
    pub(crate) fn key(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.partition, self.offset, self.epoch)
    }
}

/// Where an offender is, to be shown whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// A line of a journal: number of the file, and where the line begins in it
    Line {
        file: u32,
        at: u64,
    },
    Record {
        topic: Topic,
        partition: i32,
        offset: i64,
    },
    Row {
        source: String,
        event_id: String,
    },
}

/// A record of any topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<ByteBuf>,
    pub(crate) value: Option<ByteBuf>,
    pub(crate) headers: Vec<(String, Option<ByteBuf>)>,
    /// When the broker appended it, where its topic keeps that (`LogAppendTime`)
    pub(crate) appended_at_millis: Option<i64>,
}

impl Record {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        value.as_ref().map(|value| value.as_slice())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own == name)
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.value.as_ref().map_or(&[], |value| value.as_slice())
    }

    pub(crate) fn source(&self) -> &str {
        self.text(headers::SOURCE).unwrap_or_default()
    }

    pub(crate) fn place(&self) -> Place {
        Place::Record {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
        }
    }
}

/// A row of `persistence.events`. Numbers are as PostgreSQL writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) entity_key: Option<String>,
    pub(crate) occurred_at_micros: i64,
    pub(crate) received_at_micros: Option<i64>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) payload: String,
    pub(crate) edited_by: Option<String>,
}

impl Row {
    pub(crate) fn place(&self) -> Place {
        Place::Row {
            source: self.source.clone(),
            event_id: self.event_id.clone(),
        }
    }
}

/// What a request says of itself that must become of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Expect {
    /// A row, or a further delivery of one
    Good,
    /// A dead letter with this code
    Dead(String),
    /// No fate: the edge refuses it
    Refused,
    /// Nothing is said
    Any,
}

/// What a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Accepted,
    Refused,
    /// No answer, or one that leaves open whether its events are in the topic
    Unknown,
}

/// An event of a request, by the bytes that its raw record must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) place: Place,
    pub(crate) source: String,
    pub(crate) expect: Expect,
    pub(crate) answer: Answer,
    /// When the answer was there, where the journal says so
    pub(crate) answered_at_micros: Option<i64>,
    pub(crate) event_id: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// Of one source and one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OfBody {
    Sent(Sent),
    Raw {
        position: Position,
        record: Record,
    },
    /// A dead letter of the raw record at this position, of a raw topic that was deleted
    Old {
        position: Position,
    },
}

/// Of one raw record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OfRaw {
    Record(Record),
    Row(Row),
    Duplicate {
        source: String,
        event_id: String,
    },
    Filtered {
        source: String,
        event_id: String,
    },
    /// What the requests with its bytes say
    Asked {
        expects: Vec<Expect>,
        place: Place,
        event_id: String,
    },
}

/// Of one source and event id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OfEvent {
    Row {
        position: Position,
    },
    Duplicate {
        position: Position,
    },
    Filtered {
        position: Position,
    },
    /// A dead letter of a raw topic that was deleted
    OldDead {
        position: Position,
    },
    /// Answered 2xx so many times more than there are raw records of it
    Missing {
        place: Place,
        times: u64,
    },
    /// A request says that it is another event under the same id
    Conflicting,
    /// A raw record of a request that says it is another event has a fate, and never had a dead letter
    TakenInstead {
        position: Position,
    },
    /// A dead letter `conflict` of an event that says it is good
    Conflict {
        places: Vec<Place>,
    },
}
