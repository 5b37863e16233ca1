//! Per-minute figures of the last hour, recomputed from the log: counts and exact amounts, by partition.
//!
//! An event belongs to the minute the edge received it in, which never changes however often it is re-published. Each partition's figures
//! say which offsets they cover, and an offset is counted once. A restart forgets everything and reads the hour again from Kafka; a
//! rebalance goes on where the figures end. So what is exposed is always what the log says, never a total of several runs.
//! Memory is bounded by minutes, event types, ISO currencies and [`RECENT_RAW`], never by events.

use contracts::event::money::{self, Decimal};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Minutes kept, the current one included.
pub(crate) const WINDOW_MINUTES: i64 = 60;
/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Most event types counted separately; further ones are `other`. Validated records only ever name contracts, so this is a backstop.
pub const MAX_EVENT_TYPES: usize = 64;
/// Raw coordinates remembered a partition. What a validator publishes again after a crash is at most the batches it had not
/// committed, so a second copy comes soon after the first.
pub const RECENT_RAW: usize = 16_384;
/// Name of event types and currencies that are not counted separately.
pub const OTHER: &str = "other";

/// What an event says of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `payment.authorized.*`
    Authorized,
    /// `payment.refunded.*`
    Refunded,
    /// Any other event type
    Other,
}

impl Kind {
    /// By the event type's name, so that a new version of a contract is of the same kind.
    #[must_use]
    pub fn of(event_type: &str) -> Self {
        let is = |family: &str| {
            event_type
                .strip_prefix(family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if is("payment.authorized") {
            Self::Authorized
        } else if is("payment.refunded") {
            Self::Refunded
        } else {
            Self::Other
        }
    }

    /// Metric label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Refunded => "refunded",
            Self::Other => OTHER,
        }
    }
}

/// An active ISO 4217 currency, or none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(Option<([u8; 3], u32)>);

impl Currency {
    fn of(code: Option<&str>) -> Self {
        Self(
            code.and_then(|code| {
                Some((code.as_bytes().try_into().ok()?, money::minor_digits(code)?))
            }),
        )
    }

    /// Its code, or `other`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0
            .as_ref()
            .and_then(|(code, _)| std::str::from_utf8(code).ok())
            .unwrap_or(OTHER)
    }

    /// Exact text of an amount in minor units; none for `other`, whose amounts cannot be added up.
    #[must_use]
    pub fn text(&self, minor: i128) -> Option<String> {
        self.0.map(|(_, digits)| money::text(minor, digits))
    }

    fn minor(self, amount: &str) -> Option<i128> {
        Decimal::parse(amount).ok()?.rescaled(self.0?.1)
    }
}

/// One validated event, as the figures see it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Partition of the validated record
    pub partition: i32,
    /// Partition and offset of the raw record it was made from
    pub raw: (i32, i64),
    /// When the edge received it, milliseconds since the epoch
    pub received_at_ms: i64,
    /// From [`Figures::event_type`]
    pub event_type: usize,
    /// Exact decimal text
    pub amount: Option<&'a str>,
    /// ISO 4217 code
    pub currency: Option<&'a str>,
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is in its minute's figures
    Counted,
    /// Its raw record was counted before: the validator published it twice
    Duplicate,
    /// It was received more than an hour ago, or in the future
    OutsideWindow,
}

/// Events and amounts of one kind in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// All of them, with and without an amount
    pub events: u64,
    /// Those of them whose amount is not added up: none, no ISO currency, or more fraction digits than the currency has
    pub without_amount: u64,
    /// The amounts of the others, in the currency's minor unit
    pub minor: i128,
}

/// What one minute adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Minute {
    /// Events by event type
    pub events: BTreeMap<usize, u64>,
    /// Payments by kind and currency
    pub sums: BTreeMap<(Kind, Currency), Sum>,
}

impl Minute {
    /// Adds another minute's figures to these.
    pub fn add(&mut self, other: &Self) {
        for (event_type, events) in &other.events {
            *self.events.entry(*event_type).or_default() += events;
        }
        for (key, sum) in &other.sums {
            let total = self.sums.entry(*key).or_default();
            total.events += sum.events;
            total.without_amount += sum.without_amount;
            total.minor = total.minor.saturating_add(sum.minor);
        }
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> u64 {
        self.sums
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .map(|(_, sum)| sum.events)
            .sum()
    }

    /// Refunds per authorization; none without authorizations.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
    pub fn refund_ratio(&self) -> Option<f64> {
        let authorized = self.of_kind(Kind::Authorized);
        (authorized > 0).then(|| self.of_kind(Kind::Refunded) as f64 / authorized as f64)
    }
}

/// What one partition's figures cover.
#[derive(Debug, Default)]
struct Partition {
    first: i64,
    next: i64,
    /// When the last record was read, milliseconds since the epoch
    touched_ms: i64,
    minutes: BTreeMap<i64, Minute>,
    recent: HashSet<(i32, i64)>,
    order: VecDeque<(i32, i64)>,
}

impl Partition {
    /// True when these coordinates are not among the recent ones; then they are.
    fn is_first(&mut self, raw: (i32, i64)) -> bool {
        if !self.recent.insert(raw) {
            return false;
        }
        self.order.push_back(raw);
        if self.order.len() > RECENT_RAW
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        true
    }
}

/// The offsets one partition's figures were made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// Of the topic of validated events
    pub partition: i32,
    /// First offset read
    pub first: i64,
    /// Offset after the last one read
    pub next: i64,
}

/// The last hour of the partitions this instance reads.
#[derive(Debug, Default)]
pub struct Figures {
    names: Vec<String>,
    indices: HashMap<String, usize>,
    partitions: BTreeMap<i32, Partition>,
}

impl Figures {
    /// No figures yet; these event types are known from the start.
    #[must_use]
    pub fn new<'a>(event_types: impl IntoIterator<Item = &'a str>) -> Self {
        let mut figures = Self::default();
        figures.names.push(OTHER.to_owned());
        for name in event_types {
            figures.event_type(name);
        }
        figures
    }

    /// The index of an event type, for [`Observation`]; 0 is `other`.
    pub fn event_type(&mut self, name: &str) -> usize {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        if self.names.len() > MAX_EVENT_TYPES {
            return 0;
        }
        self.names.push(name.to_owned());
        self.indices.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// The name at an index.
    #[must_use]
    pub fn name(&self, event_type: usize) -> &str {
        self.names.get(event_type).map_or(OTHER, String::as_str)
    }

    /// All event types counted separately so far, `other` first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The partitions this instance reads from now on; figures of others are dropped, another instance exposes them. Returns where
    /// to continue: the offset after the last one covered, or none when the partition is new or was not read for as long as the window;
    /// its figures then start empty.
    pub fn assign(&mut self, partitions: &[i32], now_ms: i64) -> Vec<Option<i64>> {
        let oldest = now_ms - WINDOW_MINUTES * MINUTE_MS;
        self.partitions.retain(|number, partition| {
            partitions.contains(number) && partition.touched_ms > oldest
        });
        partitions
            .iter()
            .map(|number| self.partitions.get(number).map(|partition| partition.next))
            .collect()
    }

    /// Covers one offset. False when it was covered before: then nothing of the record may be counted again.
    pub fn begin(&mut self, partition: i32, offset: i64, now_ms: i64) -> bool {
        let covered = self
            .partitions
            .entry(partition)
            .or_insert_with(|| Partition {
                first: offset,
                next: offset,
                ..Partition::default()
            });
        covered.touched_ms = now_ms;
        let is_new = offset >= covered.next;
        covered.next = covered.next.max(offset + 1);
        is_new
    }

    /// Counts one event whose offset was begun.
    pub fn note(&mut self, seen: &Observation<'_>, now_ms: i64) -> Noted {
        let (minute, now) = (
            seen.received_at_ms.div_euclid(MINUTE_MS),
            now_ms.div_euclid(MINUTE_MS),
        );
        let kind = Kind::of(self.name(seen.event_type));
        let partition = self.partitions.entry(seen.partition).or_default();
        if !partition.is_first(seen.raw) {
            return Noted::Duplicate;
        }
        // The edge's clock may be a little ahead of ours.
        if minute <= now - WINDOW_MINUTES || minute > now + 1 {
            return Noted::OutsideWindow;
        }
        while partition
            .minutes
            .first_key_value()
            .is_some_and(|(oldest, _)| *oldest <= now - WINDOW_MINUTES)
        {
            partition.minutes.pop_first();
        }
        let figures = partition.minutes.entry(minute).or_default();
        *figures.events.entry(seen.event_type).or_default() += 1;
        let currency = Currency::of(seen.currency);
        let sum = figures.sums.entry((kind, currency)).or_default();
        sum.events += 1;
        match seen.amount.and_then(|amount| currency.minor(amount)) {
            Some(minor) => sum.minor = sum.minor.saturating_add(minor),
            None => sum.without_amount += 1,
        }
        Noted::Counted
    }

    /// The minutes of the window that had events, of all partitions together, oldest first. Minutes are counted from the epoch.
    #[must_use]
    pub fn window(&self, now_ms: i64) -> BTreeMap<i64, Minute> {
        let oldest = now_ms.div_euclid(MINUTE_MS) - WINDOW_MINUTES + 1;
        let mut window: BTreeMap<i64, Minute> = BTreeMap::new();
        for (minute, figures) in self
            .partitions
            .values()
            .flat_map(|partition| partition.minutes.range(oldest..))
        {
            window.entry(*minute).or_default().add(figures);
        }
        window
    }

    /// One minute of all partitions together.
    #[must_use]
    pub fn minute(&self, minute: i64) -> Minute {
        let mut total = Minute::default();
        self.partitions
            .values()
            .filter_map(|partition| partition.minutes.get(&minute))
            .for_each(|figures| total.add(figures));
        total
    }

    /// What was read, by partition.
    #[must_use]
    pub fn covered(&self) -> Vec<Covered> {
        self.partitions
            .iter()
            .map(|(&partition, read)| Covered {
                partition,
                first: read.first,
                next: read.next,
            })
            .collect()
    }
}
