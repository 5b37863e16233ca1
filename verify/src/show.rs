//! Offenders, whole: the line of the journal, the record, the row.

use crate::database::Snapshot;
use crate::kafka::Reader;
use crate::piece::{Place, Record, Topic};
use crate::report::{Check, CheckReport, Offender, OffenderReport};
use contracts::kafka::headers;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

/// Where offenders are fetched from.
pub(crate) struct Show<'s> {
    pub(crate) journals: &'s [PathBuf],
    pub(crate) names: &'s BTreeMap<Topic, String>,
    pub(crate) reader: Reader,
    pub(crate) snapshot: Snapshot,
}

impl Show<'_> {
    pub(crate) async fn check(
        &mut self,
        (check, checked, failed, first): (Check, u64, u64, Vec<Offender>),
        skipped: Option<String>,
    ) -> CheckReport {
        let mut offenders = Vec::new();
        for offender in first {
            let mut shown = Vec::new();
            for place in offender.places {
                match self.place(&place).await {
                    Ok(found) => shown.extend(found),
                    // The finding stands, whether or not it can be fetched again.
                    Err(error) => {
                        let text = json!({"place": format!("{place:?}"), "not_shown": format!("{error:#}")});
                        shown.extend(to_raw_value(&text));
                    }
                }
            }
            let what = offender.what;
            offenders.push(OffenderReport { what, shown });
        }
        CheckReport {
            check: check.name(),
            checked,
            failed,
            skipped,
            offenders,
        }
    }

    async fn place(&mut self, place: &Place) -> anyhow::Result<Vec<Box<RawValue>>> {
        match place {
            Place::Line { file, at } => {
                let path = self.journals.get(usize::try_from(*file)?);
                let path = path
                    .map(|path| path.display().to_string())
                    .unwrap_or_default();
                let mut opened = BufReader::new(std::fs::File::open(&path)?);
                opened.seek(SeekFrom::Start(*at))?;
                let mut line = String::new();
                opened.read_line(&mut line)?;
                let line = RawValue::from_string(line.trim_end().to_owned())?;
                let path = serde_json::to_string(&path)?;
                let text = format!("{{\"journal\":{path},\"line\":{line}}}");
                Ok(vec![RawValue::from_string(text)?])
            }
            Place::Record {
                topic,
                partition,
                offset,
            } => {
                let name = self.names.get(topic).cloned().unwrap_or_default();
                // A moment's blocking, of a command that has nothing else to do.
                let record = tokio::task::block_in_place(|| {
                    self.reader.one(*topic, &name, *partition, *offset)
                })?;
                let at = format!("{name} {partition}:{offset}");
                let shown = match record {
                    Some(record) => shown(&at, &record),
                    None => json!({"record": at, "not_shown": "it is no longer in the topic"}),
                };
                Ok(vec![to_raw_value(&shown)?])
            }
            Place::Row { source, event_id } => {
                let rows = self.snapshot.shown(source, event_id).await?;
                let row = |text: String| Ok(RawValue::from_string(format!("{{\"row\":{text}}}"))?);
                rows.into_iter().map(row).collect()
            }
        }
    }
}

fn shown(at: &str, record: &Record) -> serde_json::Value {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| {
            let value = value.as_ref().map(|value| text(value));
            json!([name, value])
        })
        .collect();
    json!({
        "record": at,
        "raw": record.text(headers::RAW),
        "key": record.key.as_ref().map(|key| text(key)),
        "headers": headers,
        "value": record.value.as_ref().map(|value| text(value)),
    })
}
