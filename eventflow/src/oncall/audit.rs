//! `eventflow audit`.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::table::TextTable;
use super::text::{count, moment, put, span};
use super::trace::time;
use super::{print, print_json};
use recovery::model::{self, AuditHours, Time, parse_time};

/// Whether every record has exactly one fate.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Received at this time or later: RFC 3339, or an age such as 90s, 30m, 2h, 7d
    #[arg(long, value_parser = parse_time)]
    from: Option<Time>,
    /// Received before this time: RFC 3339, or an age
    #[arg(long, value_parser = parse_time)]
    to: Option<Time>,
    /// Raw topic to audit [default: the pipeline's]
    #[arg(long)]
    topic: Option<String>,
    /// Audit now: wait, at most a minute, until every record that the validator has read by now has its fate. Records it has not read count
    /// as in flight
    #[arg(long)]
    now: bool,
    /// The last so many hours instead, each with its records, gaps and double fates
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["from", "to", "topic", "now"])]
    hours: Option<u16>,
}

pub(super) async fn audit(
    AuditArgs {
        connection,
        from,
        to,
        topic,
        now,
        hours,
    }: AuditArgs,
) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    if let Some(hours) = hours {
        return by_hour(&client, hours, as_json).await;
    }
    let mut parameters: Vec<(&str, String)> = Vec::new();
    for (name, at) in [("from", from), ("to", to)] {
        parameters.extend(time(name, at)?.map(|text| (name, text)));
    }
    parameters.extend(topic.map(|topic| ("topic", topic)));
    parameters.extend(now.then(|| ("within", "60".to_owned())));
    let text = client.get("/api/v1/audit", &parameters).await?;
    let audit: model::Audit = read(&text)?;
    if as_json {
        print_json(&text)?;
    } else {
        print(&audit_text(&audit))?;
    };
    if audit.gaps + audit.double_fates > 0 || !audit.findings.is_empty() {
        let (gaps, doubles) = (
            count(audit.gaps, "gap"),
            count(audit.double_fates, "double fate"),
        );
        let of_topic = |finding: &&model::Finding| match finding.kind {
            model::FindingKind::Gap | model::FindingKind::DoubleFate => false,
            model::FindingKind::EndBehind | model::FindingKind::Compacted => true,
        };
        let of_topic = audit.findings.iter().filter(of_topic).count();
        let faults = match i64::try_from(of_topic).unwrap_or(i64::MAX) {
            0 => String::new(),
            faults => format!(" and {} of the topic", count(faults, "fault")),
        };
        return Err(CommandError::failed(format!(
            "{gaps} and {doubles}{faults} in {}; keep the topics and the database as they are, and call the owner of EventFlow",
            audit.topic
        )));
    }
    if audit.checkpoint_age_seconds.is_none() {
        return Err(CommandError::failed(
            "nothing was audited yet: start `eventflow recovery`, or run this with --now",
        ));
    }
    Ok(())
}

fn audit_text(audit: &model::Audit) -> String {
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "{} of {} by fate",
            count(audit.records, "record"),
            audit.topic
        ),
    );
    let mut fate = |name: &str, number: i64| put(&mut out, &format!("  {number:>10}  {name}"));
    fate("stored", audit.stored);
    fate("duplicate", audit.duplicate);
    fate("filtered", audit.filtered);
    for (state, number) in &audit.dead_lettered {
        fate(&format!("dead-lettered, {state}"), *number);
    }
    fate("in flight", audit.in_flight);
    fate(
        if audit.gaps == 0 {
            "gaps: nothing is missing"
        } else {
            "gaps: WITHOUT a fate"
        },
        audit.gaps,
    );
    fate("with two fates", audit.double_fates);
    for (number, what) in [
        (audit.absent, "offsets without a record: of transactions"),
        (
            audit.unseen,
            "offsets gone before the first audit: nothing is known of them",
        ),
    ] {
        if number > 0 {
            fate(what, number);
        }
    }
    let mut rows = TextTable::new(&["PARTITION", "FIRST OFFSET", "AUDITED UP TO", "END OFFSET"]);
    for (partition, first, next, end) in &audit.partitions {
        rows.add(&[
            partition.to_string(),
            first.to_string(),
            next.to_string(),
            end.to_string(),
        ]);
    }
    out.push_str(&rows.to_string());
    match audit.checkpoint_age_seconds {
        Some(seconds) => put(
            &mut out,
            &format!("audited {} ago", span(seconds.clamp(0.0, 1e9) as u64)),
        ),
        None => put(
            &mut out,
            "not audited yet: start the recovery role (eventflow recovery), or add --now",
        ),
    }
    if audit.checkpoint_age_seconds.is_some()
        && audit.gaps + audit.double_fates == 0
        && audit.findings.is_empty()
    {
        let all = if audit.in_flight == 0 {
            "every record"
        } else {
            "every audited record"
        };
        put(&mut out, &format!("{all} has exactly one fate"));
    }
    if !audit.findings.is_empty() {
        let mut rows = TextTable::new(&["PARTITION", "OFFSET", "FINDING", "DETAIL"]);
        for finding in &audit.findings {
            rows.add(&[
                finding.partition.to_string(),
                finding.offset.to_string(),
                finding.kind.to_string(),
                finding.detail.clone(),
            ]);
        }
        out.push_str(&rows.to_string());
    }
    out
}

async fn by_hour(client: &Client, hours: u16, as_json: bool) -> Result<(), CommandError> {
    let parameters = [("hours", hours.to_string())];
    let text = client.get("/api/v1/audit/hours", &parameters).await?;
    let audit: AuditHours = read(&text)?;
    if as_json {
        print_json(&text)?;
    } else {
        print(&hours_text(&audit))?;
    }
    let cells = audit.partitions.iter().flat_map(|one| &one.cells);
    let (gaps, doubles) = cells.fold((0, 0), |(gaps, doubles), cell| {
        (gaps + cell.gaps, doubles + cell.double_fates)
    });
    if gaps + doubles == 0 {
        return Ok(());
    }
    Err(CommandError::failed(format!(
        "{} and {} in {}; `eventflow audit` names the records",
        count(gaps, "gap"),
        count(doubles, "double fate"),
        audit.topic
    )))
}

/// An hour a line, the oldest first.
fn hours_text(audit: &AuditHours) -> String {
    let mut rows = TextTable::new(&[
        "HOUR",
        "RECORDS",
        "NOT EXAMINED",
        "GAPS",
        "DOUBLE FATES",
        "PARTITIONS WITH THEM",
    ]);
    for (index, hour) in audit.hours.iter().enumerate() {
        let of_hour = || {
            let cell = |one: &model::AuditPartition| Some((one.partition, *one.cells.get(index)?));
            audit.partitions.iter().filter_map(cell)
        };
        let sum = |number: fn(&model::AuditCell) -> i64| -> String {
            let all: i64 = of_hour().map(|(_, cell)| number(&cell)).sum();
            all.to_string()
        };
        let wrong = of_hour().filter(|(_, cell)| cell.gaps + cell.double_fates > 0);
        let wrong: Vec<String> = wrong.map(|(partition, _)| partition.to_string()).collect();
        rows.add(&[
            moment(hour.0),
            sum(|cell| cell.to - cell.from),
            sum(|cell| cell.unexamined),
            sum(|cell| cell.gaps),
            sum(|cell| cell.double_fates),
            wrong.join(", "),
        ]);
    }
    rows.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_hour_is_the_sum_of_its_partitions_and_names_those_with_a_gap() {
        let cell = |from: i64, to: i64, gaps: i64| json!({"from": from, "to": to, "unexamined": 1, "gaps": gaps, "double_fates": 0});
        let audit = json!({
            "topic": "events.raw.v1",
            "hours": ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"],
            "partitions": [
                {"partition": 0, "cells": [cell(0, 5, 0), cell(5, 25, 0)]},
                {"partition": 3, "cells": [cell(0, 2, 0), cell(2, 3, 4)]},
            ],
        });
        let text = hours_text(&serde_json::from_value(audit).unwrap());
        let words = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[words.len() - 5..].join(" ")
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(words(lines[1]).ends_with("7 2 0 0"), "{text}");
        assert_eq!(words(lines[2]), "21 2 4 0 3", "{text}");
    }
}
