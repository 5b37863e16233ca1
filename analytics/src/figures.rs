//! Per-minute figures of the last hour, recomputed from the log: counts and exact amounts, by partition.
//!
//! An event belongs to the minute the edge received it in, which never changes however often it is re-published. Each partition's figures
//! say which offsets they cover, and an offset is counted once. A restart forgets everything and reads the hour again from Kafka; a
//! rebalance goes on where the figures end. So what is exposed is always what the log says, never a total of several runs.
//! Memory is bounded by minutes, event types, kinds, ISO currencies and [`RECENT_EVENTS`], never by events.

use contracts::event::money::{self, Decimal};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Minutes kept, the current one included.
pub(crate) const WINDOW_MINUTES: i64 = 60;
/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Most event types counted separately, and most kinds; further ones are `other`. A contract bounds neither the types that are stored without
/// one nor the kinds that its field says.
pub const MAX_NAMES: usize = 64;
/// Events remembered a partition, about 1 MiB. What a validator publishes again after a crash is at most the batches it had not committed,
/// and what the edge's client or a vendor sends again comes soon after the first. A copy behind more events than this is counted again.
pub const RECENT_EVENTS: usize = 16_384;
/// Name of event types, kinds and currencies that are not counted separately, and of events without a kind.
pub const OTHER: &str = "other";

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
    /// From [`Figures::event`]
    pub event: u64,
    /// When the edge received it, milliseconds since the epoch
    pub received_at_ms: i64,
    /// From [`Figures::event_type`]
    pub event_type: usize,
    /// From [`Figures::kind`]
    pub kind: usize,
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
    /// The event was counted before: the vendor, the edge's client or the validator sent it twice
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
    /// Amounts by kind and currency
    pub sums: BTreeMap<(usize, Currency), Sum>,
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

    pub(crate) fn of_kind(&self, kind: usize) -> u64 {
        self.sums
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .map(|(_, sum)| sum.events)
            .sum()
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
    recent: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Partition {
    /// True when this event is not among the recent ones; then it is.
    fn is_first(&mut self, event: u64) -> bool {
        if !self.recent.insert(event) {
            return false;
        }
        self.order.push_back(event);
        if self.order.len() > RECENT_EVENTS
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

/// Names as small numbers, up to [`MAX_NAMES`]; 0 is `other`.
#[derive(Debug)]
struct Names {
    names: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            names: vec![OTHER.to_owned()],
            indices: HashMap::from([(OTHER.to_owned(), 0)]),
        }
    }
}

impl Names {
    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        if self.names.len() > MAX_NAMES {
            return 0;
        }
        self.names.push(name.to_owned());
        self.indices.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or(OTHER, String::as_str)
    }
}

/// The last hour of the partitions this instance reads.
#[derive(Debug, Default)]
pub struct Figures {
    event_types: Names,
    kinds: Names,
    partitions: BTreeMap<i32, Partition>,
    hasher: RandomState,
}

impl Figures {
    /// No figures yet; these event types are known from the start.
    #[must_use]
    pub fn new<'a>(event_types: impl IntoIterator<Item = &'a str>) -> Self {
        let mut figures = Self::default();
        for name in event_types {
            figures.event_type(name);
        }
        figures
    }

    /// The index of an event type, for [`Observation`]; 0 is `other`.
    pub fn event_type(&mut self, name: &str) -> usize {
        self.event_types.index(name)
    }

    /// The index of what a contract says an event is (role `kind`), for [`Observation`]; 0 is `other`, and without a kind.
    pub fn kind(&mut self, kind: Option<&str>) -> usize {
        kind.map_or(0, |kind| self.kinds.index(kind))
    }

    /// Which event it is, for [`Observation`]: a hash by a key of this process, so that nobody can choose two ids with the same one.
    #[must_use]
    pub fn event(&self, source: &str, event_id: &str) -> u64 {
        self.hasher.hash_one((source, event_id))
    }

    /// The event type at an index.
    #[must_use]
    pub fn event_type_name(&self, index: usize) -> &str {
        self.event_types.name(index)
    }

    /// The kind at an index.
    #[must_use]
    pub fn kind_name(&self, index: usize) -> &str {
        self.kinds.name(index)
    }

    /// All event types counted separately so far, `other` first.
    #[must_use]
    pub fn event_types(&self) -> &[String] {
        &self.event_types.names
    }

    /// All kinds so far, `other` first.
    #[must_use]
    pub fn kinds(&self) -> &[String] {
        &self.kinds.names
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
        let partition = self.partitions.entry(seen.partition).or_default();
        if !partition.is_first(seen.event) {
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
        let sum = figures.sums.entry((seen.kind, currency)).or_default();
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
