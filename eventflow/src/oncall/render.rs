//! The API's answers as text: dead letters, groups, totals, the audit log.

use super::client::read;
use super::error::CommandError;
use super::table::TextTable;
use super::text::{age, count, lines, moment, pretty, put, span, when};
use recovery::model::{
    AuditLogCheck, AuditLogEntry, DeadLetter, DeadLetterDetail, DeadLetterGroup, DeadLetterPage,
    IndexStats, Payload, Selection,
};
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) fn dead_letters(page: &DeadLetterPage, selection: &Selection) -> String {
    if page.letters.is_empty() {
        return no_match(page, selection);
    }
    let mut rows = TextTable::new(&[
        "ID", "STATE", "FAILED", "STAGE", "CODE", "SOURCE", "EVENT", "DETAIL",
    ]);
    for letter in &page.letters {
        let id = format!("{}{}", letter.id, if letter.edited { "*" } else { "" });
        let event = letter
            .event_id
            .clone()
            .or_else(|| letter.entity_key.clone())
            .unwrap_or_else(|| "-".to_owned());
        rows.add(&[
            id,
            letter.state.to_string(),
            age(letter.last_failed_at),
            letter.stage.clone(),
            letter.code.clone(),
            letter.source.clone(),
            short(&event),
            letter.detail.clone(),
        ]);
    }
    let mut out = rows.to_string();
    let shown = page.letters.len() as i64;
    let last = page.letters.last().map_or(0, |letter| letter.id);
    match page.total {
        Some(total) if total <= shown => {}
        Some(total) => put(
            &mut out,
            &format!("{shown} of {total} shown; for more, add --before {last}"),
        ),
        None => put(
            &mut out,
            &format!("{shown} shown; for more, add --before {last}"),
        ),
    }
    if page.letters.iter().any(|letter| letter.edited) {
        put(&mut out, "* edited since it failed");
    }
    out
}

/// An id takes no more of a line than our own ids do.
fn short(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.to_owned()
    } else {
        text.chars().take(39).chain(['\u{2026}']).collect()
    }
}

fn no_match(page: &DeadLetterPage, selection: &Selection) -> String {
    let mut out = String::new();
    let last = page
        .last_settled_at
        .map(|at| format!("; last one resolved or discarded {}", age(at)))
        .unwrap_or_default();
    if selection.has_filter() || !selection.state.is_empty() {
        let which = if selection.state.is_empty() {
            "open dead letter"
        } else {
            "dead letter"
        };
        put(&mut out, &format!("no {which} matches{last}"));
        put(
            &mut out,
            "try: fewer filters, --state open,replaying,resolved,discarded, or eventflow dlq groups",
        );
    } else {
        put(&mut out, &format!("no open dead letters{last}"));
        put(
            &mut out,
            "try: eventflow dlq ls --state replaying,resolved,discarded, or eventflow audit",
        );
    }
    out
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<DeadLetterGroup>,
}

pub(super) fn groups(text: &str) -> Result<String, CommandError> {
    let Groups { groups } = read(text)?;
    if groups.is_empty() {
        return Ok("no open dead letters in any group\ntry: eventflow dlq groups --state replaying,resolved,discarded, or eventflow dlq stats\n".to_owned());
    }
    let mut rows = TextTable::new(&[
        "GROUP",
        "OPEN",
        "REPLAYING",
        "STAGE",
        "CODE",
        "SOURCE",
        "FIRST SEEN",
        "LAST SEEN",
        "SAMPLE",
        "EVENT TYPE",
    ]);
    for group in &groups {
        rows.add(&[
            group.id.to_string(),
            group.open.to_string(),
            group.replaying.to_string(),
            group.stage.clone(),
            group.code.clone(),
            group.source.clone(),
            group.first_seen.map(age).unwrap_or_default(),
            group.last_seen.map(age).unwrap_or_default(),
            group.sample.map(|id| id.to_string()).unwrap_or_default(),
            if group.event_type.is_empty() {
                "-".to_owned()
            } else {
                group.event_type.clone()
            },
        ]);
    }
    let mut out = rows.to_string();
    if let Some(sample) = groups.first().and_then(|group| group.sample) {
        put(&mut out, &format!("next: eventflow explain {sample}"));
    }
    Ok(out)
}

pub(super) fn dead_letter(text: &str) -> Result<String, CommandError> {
    let detail: DeadLetterDetail = read(text)?;
    let letter = &detail.letter;
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "dead letter {}, {}: {} at {}",
            letter.id,
            letter.state.as_str(),
            letter.code,
            letter.stage
        ),
    );
    put(&mut out, &format!("  {}", letter.detail));
    out.push('\n');
    facts(&mut out, letter, &detail);
    put(&mut out, "value");
    value(&mut out, &detail.value);
    put(&mut out, "headers");
    let widest = detail
        .headers
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default()
        .min(32);
    for (name, value) in &detail.headers {
        put(
            &mut out,
            &format!("  {name:widest$}  {}", value.as_deref().unwrap_or("(null)")),
        );
    }
    for failure in &detail.failures {
        let position = format!("{}:{}", failure.dlq.0, failure.dlq.1);
        let (code, stage) = (&failure.code, &failure.stage);
        put(
            &mut out,
            &format!(
                "failed before  {}  {code} at {stage}, replay {}, at {position} of the dead-letter topic: {}",
                when(failure.failed_at),
                failure.replay_count,
                failure.detail
            ),
        );
    }
    for edit in &detail.edits {
        put(
            &mut out,
            &format!(
                "edited  {} by {}  {}  {}",
                when(edit.edited_at),
                edit.edited_by,
                edit.patch,
                edit.reason
            ),
        );
    }
    put(&mut out, &format!("next: eventflow explain {}", letter.id));
    Ok(out)
}

fn facts(out: &mut String, letter: &DeadLetter, detail: &DeadLetterDetail) {
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            put(out, &format!("{name:15}{value}"));
        }
    };
    fact("event", letter.event_id.clone());
    fact("entity key", letter.entity_key.clone());
    fact("type", Some(letter.event_type.clone()));
    fact("source", Some(letter.source.clone()));
    fact(
        "failed",
        Some(format!(
            "{}, {}",
            when(letter.last_failed_at),
            count(i64::from(letter.attempts), "attempt")
        )),
    );
    fact(
        "first failed",
        (letter.first_failed_at != letter.last_failed_at).then(|| when(letter.first_failed_at)),
    );
    fact("disposition", Some(letter.disposition.clone()));
    fact("consumer group", Some(letter.consumer_group.clone()));
    fact("origin", Some(letter.origin.clone()));
    fact(
        "position",
        Some(format!(
            "{}:{} of the dead-letter topic, header format {}",
            detail.dlq.0, detail.dlq.1, detail.family
        )),
    );
    fact("group", Some(letter.group.to_string()));
    fact(
        "replayed",
        (letter.replay_count > 0).then(|| count(i64::from(letter.replay_count), "time")),
    );
    fact("replay", letter.job.clone());
    fact(
        "resolved as",
        letter.resolution.map(|resolution| resolution.to_string()),
    );
    fact("discarded for", letter.reason.clone());
    fact(
        "edited",
        letter
            .edited
            .then(|| "a replay sends the edited value; the original is below".to_owned()),
    );
    fact("unproven", letter.unproven.clone());
    let reason = letter.genuine_reason.as_deref().unwrap_or_default();
    let said = |who: &String| format!("said by {who}: {reason}");
    fact("genuine", letter.genuine_by.as_ref().map(said));
    fact("trace", detail.trace_id.clone());
    fact("version", detail.service_version.clone());
    fact("key", detail.key.clone());
    fact("sha-256", detail.value_sha256.clone());
}

fn value(out: &mut String, body: &Payload) {
    let text = match body {
        Payload::Text { text } => pretty(text),
        Payload::Avro { schema_id, text } => {
            format!("(Avro, schema {schema_id}, as JSON)\n{}", pretty(text))
        }
        Payload::Binary { base64 } => format!("(not text; base64)\n{base64}"),
        Payload::Null => "(null: the record has no value)".to_owned(),
        Payload::Dropped { bytes } => {
            format!(
                "({bytes} bytes, removed by the retention of the index; the dead-letter topic may still have it)"
            )
        }
    };
    for line in lines(&text).lines() {
        put(out, &format!("  {line}"));
    }
}

pub(super) fn stats(text: &str) -> Result<String, CommandError> {
    let stats: IndexStats = read(text)?;
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "{} open, {} replaying, {} resolved, {} discarded",
            stats.open, stats.replaying, stats.resolved, stats.discarded
        ),
    );
    if let Some(oldest) = stats.oldest_open {
        put(&mut out, &format!("oldest open    {}", when(oldest)));
    }
    let measured = stats.index_lag_age_seconds.unwrap_or_default();
    let measured = format!("{} ago", span(measured.clamp(0.0, 1e9) as u64));
    match stats.index_lag {
        Some(0) => put(&mut out, &format!("index          up to date, {measured}")),
        Some(lag) => put(
            &mut out,
            &format!(
                "index          {} behind the dead-letter topic, {measured}",
                count(lag, "record")
            ),
        ),
        None => put(
            &mut out,
            "index          lag not known: a running role measures it (--api-url) while Kafka answers",
        ),
    }
    put(
        &mut out,
        &format!("index size     {} MiB", stats.index_bytes >> 20),
    );
    for (title, sums) in [
        ("open by code", &stats.by_code),
        ("open by stage", &stats.by_stage),
        ("open by source", &stats.by_source),
    ] {
        totals(&mut out, title, sums);
    }
    Ok(out)
}

/// The largest first.
fn totals(out: &mut String, title: &str, sums: &BTreeMap<String, i64>) {
    let mut sums: Vec<_> = sums.iter().filter(|(_, number)| **number > 0).collect();
    sums.sort_by_key(|(name, number)| (-**number, name.as_str()));
    if !sums.is_empty() {
        put(out, title);
    }
    for (name, number) in sums {
        put(
            out,
            &format!(
                "  {number:>8}  {}",
                if name.is_empty() { "(none)" } else { name }
            ),
        );
    }
}

pub(super) fn log_check(check: &AuditLogCheck) -> String {
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "{} of the audit log as written",
            count(check.entries, "row")
        ),
    );
    if let (Some(seq), Some(hash)) = (check.seq, &check.hash) {
        put(&mut out, &format!("last: {seq} {hash}"));
    }
    out
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<AuditLogEntry>,
}

pub(super) fn log(text: &str) -> Result<String, CommandError> {
    let Log { entries } = read(text)?;
    if entries.is_empty() {
        return Ok("the audit log is empty\n".to_owned());
    }
    let mut rows = TextTable::new(&[
        "WHEN", "WHO", "ACTION", "REPLAY", "LETTER", "COUNTS", "REASON",
    ]);
    for entry in entries {
        let counts = if entry
            .counts
            .as_object()
            .is_some_and(serde_json::Map::is_empty)
        {
            String::new()
        } else {
            entry.counts.to_string()
        };
        let letter = entry.letter.map(|id| id.to_string()).unwrap_or_default();
        rows.add(&[
            moment(entry.at),
            entry.who,
            entry.action,
            entry.job.unwrap_or_default(),
            letter,
            counts,
            entry.reason,
        ]);
    }
    Ok(rows.to_string())
}
