//! A consumed record: Kafka's own buffers, borrowed.

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

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
    headers: HeadersOf<'a>,
    /// Of a record of the group's retry topic: how often it may have been replayed
    pub(crate) replay_limit: Option<u32>,
}

#[derive(Clone, Copy)]
enum HeadersOf<'a> {
    Client(Option<&'a rdkafka::message::BorrowedHeaders>),
    Given(&'a [(&'a str, &'a [u8])]),
}

impl std::fmt::Debug for HeadersOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("headers")
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
        headers: &'a [(&'a str, &'a [u8])],
    ) -> Self {
        Self {
            topic,
            partition,
            offset,
            timestamp_ms,
            key,
            payload,
            headers: HeadersOf::Given(headers),
            replay_limit: None,
        }
    }

    /// The same record, of the group's retry topic.
    pub(crate) fn as_replay(self, limit: u32) -> Self {
        Self {
            replay_limit: Some(limit),
            ..self
        }
    }

    /// Whether it was read from the group's retry topic.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.replay_limit.is_some()
    }

    pub(crate) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            payload: message.payload(),
            headers: HeadersOf::Client(message.headers()),
            replay_limit: None,
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
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let (client, given) = match self.headers {
            HeadersOf::Client(headers) => (headers, &[][..]),
            HeadersOf::Given(headers) => (None, headers),
        };
        let client = client
            .into_iter()
            .flat_map(|headers| headers.iter().map(|header| (header.key, header.value)));
        client.chain(given.iter().map(|(key, value)| (*key, Some(*value))))
    }

    /// Coordinates of the raw record this one was made from: its `ef.raw` header, or where it is itself when it has none.
    /// `None` when the header has no coordinates, and for a replay without it: nothing in a retry topic is a raw record.
    #[must_use]
    pub fn raw(&self) -> Option<(i32, i64)> {
        let Some(text) = self.header(contracts::kafka::headers::RAW) else {
            return (!self.is_replay()).then_some((self.partition, self.offset));
        };
        contracts::kafka::headers::raw_position(text)
    }
}
