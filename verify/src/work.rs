//! Brings together on disk what has one key, and hands it to the judges.

use crate::VerifyArgs;
use crate::avro::{Schemas, unframe};
use crate::database::Kept;
use crate::journal;
use crate::judge::fate::Scope;
use crate::judge::order::Validated;
use crate::judge::{body, event, fate, order};
use crate::kafka::Ends;
use crate::piece::{OfBody, OfEvent, OfRaw, Position, Record, Topic};
use crate::progress::Progress;
use crate::report::{Counts, Findings};
use crate::spill::Spill;
use anyhow::Context;
use contracts::kafka::headers::{self, RawCoordinates};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

/// Records of a topic.
pub(crate) fn length(ends: &Ends) -> u64 {
    let all = ends.values().map(|(low, high)| high - low);
    u64::try_from(all.sum::<i64>()).unwrap_or(0)
}

/// Which raw topic coordinates are of.
pub(crate) struct Epochs {
    /// That the database began with
    pub(crate) first_id: Option<String>,
    /// That is read
    pub(crate) now_id: Option<String>,
}

impl Epochs {
    fn of(&self, id: Option<&str>) -> String {
        match (id, &self.first_id) {
            (Some(id), Some(first)) if id != first => format!("@{id}"),
            _ => String::new(),
        }
    }

    fn now(&self) -> String {
        self.of(self.now_id.as_deref())
    }
}

/// What is known of the raw topic once all is read.
pub(crate) struct RawTopic {
    pub(crate) epoch: String,
    pub(crate) epochs: usize,
}

pub(crate) struct Judged {
    pub(crate) found: Findings,
    pub(crate) counts: Counts,
    pub(crate) raw: RawTopic,
}

/// What is read, on disk, by what it is judged by.
pub(crate) struct Work {
    bodies: Spill<OfBody>,
    raws: Spill<OfRaw>,
    events: Spill<OfEvent>,
    keys: Spill<Validated>,
    epochs: Epochs,
    seen_epochs: BTreeSet<String>,
    schema_ids: BTreeSet<i32>,
    raw_name: String,
    counts: Counts,
    found: Findings,
    /// Removed when it is dropped
    _folder: TempDir,
}

impl Work {
    pub(crate) fn new(
        args: &VerifyArgs,
        ends: &BTreeMap<Topic, Ends>,
        epochs: Epochs,
    ) -> anyhow::Result<Self> {
        let temp = args.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        let cannot = || {
            format!(
                "cannot write to {}; --temp-dir names another directory",
                temp.display()
            )
        };
        let folder = TempDir::with_prefix_in("eventflow-verify-", &temp).with_context(cannot)?;
        let raw = ends.get(&Topic::Raw).map_or(0, length);
        let at = |name: &str| folder.path().join(name);
        Ok(Self {
            bodies: Spill::new(at("bodies"), raw)?,
            raws: Spill::new(at("raws"), raw)?,
            events: Spill::new(at("events"), raw)?,
            keys: Spill::new(at("keys"), raw)?,
            seen_epochs: BTreeSet::from([epochs.now()]),
            epochs,
            schema_ids: BTreeSet::new(),
            raw_name: args.topic_raw.clone(),
            counts: Counts::default(),
            found: Findings::new(args.first),
            _folder: folder,
        })
    }

    pub(crate) fn read_journals(
        &mut self,
        args: &VerifyArgs,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        for (file, path) in args.journal.iter().enumerate() {
            progress.begin("journals", 0);
            let bodies = &mut self.bodies;
            journal::read(
                path,
                u32::try_from(file)?,
                &mut self.counts,
                &mut |sent, part| {
                    progress.step();
                    bodies.push(&body_key(&sent.source, part), &OfBody::Sent(sent))
                },
            )?;
        }
        Ok(())
    }

    pub(crate) fn add_record(&mut self, record: Record) -> anyhow::Result<()> {
        if record.topic == Topic::Raw {
            let position = Position {
                epoch: self.epochs.now(),
                partition: record.partition,
                offset: record.offset,
            };
            // Its value is the key; here only the headers are compared.
            let value = record.value();
            let key = body_key(record.source(), value);
            let bare = Record {
                value: None,
                ..record.clone()
            };
            let position_key = position.key();
            self.bodies.push(
                &key,
                &OfBody::Raw {
                    position,
                    record: bare,
                },
            )?;
            return self.raws.push(&position_key, &OfRaw::Record(record));
        }
        // A stranger's record, or one that no raw record is behind, is no event's.
        let raw = record.header(headers::RAW).and_then(RawCoordinates::parse);
        let Some(raw) = raw else { return Ok(()) };
        let position = Position {
            epoch: self.epochs.of(raw.topic_id),
            partition: raw.partition,
            offset: raw.offset,
        };
        self.note_epoch(&position);
        let is_raw = record.text(headers::dlq::ERRORS_TOPIC) == Some(self.raw_name.as_str());
        if record.topic == Topic::Dead && is_raw && position.epoch != self.epochs.now() {
            let key = body_key(record.source(), record.value());
            let position = position.clone();
            self.bodies.push(&key, &OfBody::Old { position })?;
        }
        if record.topic == Topic::Validated {
            let id = unframe(record.value()).map(|(id, _)| id);
            self.schema_ids.extend(id);
            if let Some(key) = record
                .key
                .as_ref()
                .filter(|_| !record.has(headers::REPLAY_ID))
            {
                let validated = Validated {
                    epoch: position.epoch.clone(),
                    raw_partition: position.partition,
                    partition: record.partition,
                    offset: record.offset,
                    raw_offset: position.offset,
                };
                self.keys.push(key, &validated)?;
            }
        }
        self.raws.push(&position.key(), &OfRaw::Record(record))
    }

    fn note_epoch(&mut self, position: &Position) {
        if !self.seen_epochs.contains(&position.epoch) {
            self.seen_epochs.insert(position.epoch.clone());
        }
    }

    pub(crate) fn add_kept(&mut self, position: Position, kept: Kept) -> anyhow::Result<()> {
        self.note_epoch(&position);
        let of_position = position.key();
        let (event, piece, of_event) = match kept {
            Kept::Stored(row) => (
                event_key(&row.source, &row.event_id),
                OfRaw::Row(row),
                OfEvent::Row { position },
            ),
            Kept::Duplicate {
                source,
                event_id,
                stored_as,
            } => (
                event_key(&source, &stored_as),
                OfRaw::Duplicate { source, event_id },
                OfEvent::Duplicate { position },
            ),
            Kept::Filtered { source, event_id } => (
                event_key(&source, &event_id),
                OfRaw::Filtered { source, event_id },
                OfEvent::Filtered { position },
            ),
        };
        self.raws.push(&of_position, &piece)?;
        self.events.push(&event, &of_event)
    }

    pub(crate) async fn schemas(&self, args: &VerifyArgs) -> anyhow::Result<Option<Schemas>> {
        let Some(registry) = &args.registry_url else {
            return Ok(None);
        };
        let mut schemas = Schemas::default();
        for id in &self.schema_ids {
            schemas.fetch(registry, *id).await?;
        }
        Ok(Some(schemas))
    }

    /// Bytes first: they say what must become of which raw record.
    pub(crate) fn judge(
        self,
        args: &VerifyArgs,
        names: &BTreeMap<Topic, String>,
        (ends, now): (&BTreeMap<Topic, Ends>, Ends),
        schemas: Option<&Schemas>,
        progress: &Progress,
    ) -> anyhow::Result<Judged> {
        let Self {
            bodies,
            mut raws,
            mut events,
            keys,
            epochs,
            seen_epochs,
            mut counts,
            mut found,
            _folder,
            ..
        } = self;
        let raw = RawTopic {
            epoch: epochs.now(),
            epochs: seen_epochs.len(),
        };
        let gone = |ends: &Ends| ends.values().any(|(low, _)| *low > 0);
        let recreated = |name: &String| args.recreated.contains(name);
        let scope = Scope {
            names: names.clone(),
            epoch: raw.epoch.clone(),
            raw: spans(ends.get(&Topic::Raw), &now),
            gone: ends
                .iter()
                .filter(|(_, ends)| gone(ends))
                .map(|(topic, _)| *topic)
                .collect(),
            recreated: names
                .iter()
                .filter(|(_, name)| recreated(name))
                .map(|(topic, _)| *topic)
                .collect(),
            epochs: raw.epochs,
            schemas,
        };
        for (topic, ends) in ends {
            counts.records.insert(names[topic].clone(), length(ends));
        }
        // The first answers of a body are of records that went with a deleted topic.
        let clocks = args.clocks_within.filter(|_| raw.epochs == 1);
        progress.begin("judging bytes", 0);
        bodies.groups(|_, group| {
            progress.step();
            let passed = body::judge(group, args.allow_others, clocks, &mut found);
            for (position, piece) in passed.raw {
                raws.push(&position.key(), &piece)?;
            }
            for (source, event_id, piece) in passed.events {
                events.push(&event_key(&source, &event_id), &piece)?;
            }
            Ok(())
        })?;
        progress.begin("judging raw records", 0);
        raws.groups(|key, group| {
            progress.step();
            let position = position(key).context("a spilled position is none")?;
            let passed = fate::judge(&position, &group, &scope, &mut counts, &mut found);
            for (source, event_id, piece) in passed {
                events.push(&event_key(&source, &event_id), &piece)?;
            }
            Ok(())
        })?;
        progress.begin("judging events", 0);
        events.groups(|key, group| {
            progress.step();
            let (source, event_id) = event_of(key);
            event::judge(&source, &event_id, &group, &raw.epoch, &mut found);
            Ok(())
        })?;
        progress.begin("judging order", 0);
        keys.groups(|_, group| {
            progress.step();
            order::judge(group, &mut found);
            Ok(())
        })?;
        Ok(Judged { found, counts, raw })
    }
}

/// Of each partition its low watermark, and its ends before and after.
fn spans(before: Option<&Ends>, now: &Ends) -> BTreeMap<i32, (i64, i64, i64)> {
    let before = |partition: &i32| before.and_then(|ends| ends.get(partition)).copied();
    let span = |(partition, (low, end)): (&i32, &(i64, i64))| {
        let (low, high) = before(partition).unwrap_or((*low, *low));
        (*partition, (low, high, *end))
    };
    now.iter().map(span).collect()
}

/// Of a source and the bytes that were signed.
fn body_key(source: &str, value: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(source.as_bytes());
    hash.update([0]);
    hash.update(value);
    hash.finalize().to_vec()
}

fn event_key(source: &str, event_id: &str) -> Vec<u8> {
    [source.as_bytes(), &[0], event_id.as_bytes()].concat()
}

fn event_of(key: &[u8]) -> (String, String) {
    let mut parts = key.splitn(2, |byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    (text(), text())
}

fn position(key: &[u8]) -> Option<Position> {
    let (partition, rest) = std::str::from_utf8(key).ok()?.split_once(':')?;
    let (offset, epoch) = match rest.find('@') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    Some(Position {
        epoch: epoch.to_owned(),
        partition: partition.parse().ok()?,
        offset: offset.parse().ok()?,
    })
}
