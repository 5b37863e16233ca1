//! A consumed record: Kafka's own buffers, borrowed.

use crate::faults;
use contracts::kafka::headers::{RAW, RawCoordinates};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// A header's name and value; `None` is a null value.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// One record of a batch. Everything is borrowed from the Kafka client's buffers (or, in tests, from the caller).
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Topic it was read from
    pub topic: &'a str,
    /// Partition it was read from
    pub partition: i32,
    /// Its offset there
    pub offset: i64,
    /// Kafka's time of the record, milliseconds since the epoch; 0 when the broker gave none
    pub timestamp_ms: i64,
    /// Partitioning key
    pub key: Option<&'a [u8]>,
    /// Value; `None` is Kafka's null
    pub payload: Option<&'a [u8]>,
    headers: &'a [Header<'a>],
    read_from: ReadFrom<'a>,
}

/// What kind of topic a record was read from.
#[derive(Debug, Clone, Copy)]
enum ReadFrom<'a> {
    /// The raw topic, with its id where that is known: the record is a raw record itself
    Raw(Option<&'a str>),
    /// The group's retry topic: how often the record may have been replayed
    Retry(u32),
    Other,
}

/// A message's headers, in order, from the Kafka client.
pub(crate) fn headers_of<'a>(message: &'a BorrowedMessage<'_>) -> impl Iterator<Item = Header<'a>> {
    let headers = message.headers().into_iter();
    headers.flat_map(|headers| headers.iter().map(|header| (header.key, header.value)))
}

/// The headers of messages, each read from the Kafka client once: asking it for a header by name walks all of them and checks every name
/// again.
#[derive(Debug)]
pub(crate) struct MessageHeaders<'a> {
    all: Vec<Header<'a>>,
    /// By message: where its headers end in `all`
    ends: Vec<usize>,
}

impl<'a> MessageHeaders<'a> {
    pub(crate) fn of(messages: &'a [BorrowedMessage<'_>]) -> Self {
        let mut all = Vec::new();
        let ends = messages.iter().map(|message| {
            all.extend(headers_of(message));
            all.len()
        });
        let ends = ends.collect();
        Self { all, ends }
    }

    /// Of each message, in order.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[Header<'a>]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.all[start..*end])
    }
}

impl<'a> contracts::event::HeaderValues<'a> for &Record<'a> {
    fn one(&self, name: &str) -> Option<&'a str> {
        let mut values = self.headers().filter(|(other, _)| *other == name);
        let (_, value) = values.next()?;
        match values.next() {
            Some(_) => None,
            None => std::str::from_utf8(value?).ok(),
        }
    }
}

impl<'a> Record<'a> {
    /// A record built from its parts, for tests of handlers.
    #[must_use]
    pub fn new(
        topic: &'a str,
        partition: i32,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&'a [u8]>,
        payload: Option<&'a [u8]>,
        headers: &'a [Header<'a>],
    ) -> Self {
        Self {
            topic,
            partition,
            offset,
            timestamp_ms,
            key,
            payload,
            headers,
            read_from: ReadFrom::Other,
        }
    }

    /// The same record, of the group's retry topic.
    pub(crate) fn as_replay(self, limit: u32) -> Self {
        Self {
            read_from: ReadFrom::Retry(limit),
            ..self
        }
    }

    /// The same record, of the raw topic with this id (`None`: not known).
    #[must_use]
    pub fn as_raw(self, topic_id: Option<&'a str>) -> Self {
        Self {
            read_from: ReadFrom::Raw(topic_id),
            ..self
        }
    }

    /// Whether it was read from the group's retry topic.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.replay_limit().is_some()
    }

    /// Of a record of the group's retry topic: how often it may have been replayed.
    pub(crate) fn replay_limit(&self) -> Option<u32> {
        match self.read_from {
            ReadFrom::Retry(limit) => Some(limit),
            ReadFrom::Raw(_) | ReadFrom::Other => None,
        }
    }

    pub(crate) fn of(message: &'a BorrowedMessage<'_>, headers: &'a [Header<'a>]) -> Self {
        Self {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            payload: message.payload(),
            headers,
            read_from: ReadFrom::Other,
        }
    }

    /// The value's bytes; empty for null.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.payload.unwrap_or_default()
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value)
    }

    /// The first header of that name, when it is UTF-8.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        self.header(name)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// All headers in order; `None` is a null value.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> {
        self.headers.iter().copied()
    }

    /// The raw record this one was made from: its `ef.raw` header, or, only in the raw topic, itself. `None` when the header is unreadable,
    /// or is missing elsewhere: its own place there would be taken for that of an innocent raw record.
    #[must_use]
    pub fn raw(&self) -> Option<RawCoordinates<'a>> {
        match (self.header(RAW), self.read_from) {
            (Some(_), ReadFrom::Retry(_)) if faults::planted("replay_is_a_new_record") => {
                Some(RawCoordinates {
                    topic_id: None,
                    partition: self.partition,
                    offset: self.offset,
                })
            }
            (Some(value), _) => RawCoordinates::parse(value),
            (None, ReadFrom::Raw(topic_id)) => Some(RawCoordinates {
                topic_id,
                partition: self.partition,
                offset: self.offset,
            }),
            (None, ReadFrom::Retry(_) | ReadFrom::Other) => None,
        }
    }
}
