//! `eventflow trace`, `audit` and `explain`.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::table::TextTable;
use super::text::{count, lines, moment, put, span, when};
use super::{print, print_json};
use recovery::model::{self, Explanation, Time, parse_time};
use time::format_description::well_known::Rfc3339;

/// Every step of an event.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Event id, entity key (payment id), traceparent or trace id
    what: String,
}

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
}

/// Why a record was dead-lettered.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Number of the dead letter
    letter: i64,
}

pub(super) async fn trace(TraceArgs { connection, what }: TraceArgs) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let text = client.get("/api/v1/trace", &[("q", what)]).await?;
    if as_json {
        return print_json(&text);
    }
    let trace: model::Trace = read(&text)?;
    let mut out = String::new();
    for timeline in &trace.timelines {
        out.push_str(&story(timeline));
        out.push('\n');
    }
    if trace.truncated {
        put(
            &mut out,
            "more events match than are shown; give one event id",
        );
    }
    if trace.timelines.is_empty() {
        put(
            &mut out,
            &format!(
                "nothing found for {}: give an event id, an entity key or a traceparent",
                trace.asked
            ),
        );
    }
    print(&out)
}

/// One event: its facts, and its steps in the order of time.
pub(super) fn story(timeline: &model::Timeline) -> String {
    let mut out = String::new();
    let id = timeline
        .event_id
        .as_deref()
        .unwrap_or("(no readable event id)");
    put(&mut out, &format!("event {id}: {}", timeline.fate));
    let facts = [
        ("source", &timeline.source),
        ("entity key", &timeline.entity_key),
        ("trace", &timeline.trace_id),
        ("signature", &timeline.signature),
        ("verified again", &timeline.verified_again),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            put(&mut out, &format!("  {name:16}{value}"));
        }
    }
    let mut rows = TextTable::new(&["WHEN", "AFTER", "WHAT", "WHERE", "DETAIL"]);
    for step in &timeline.steps {
        rows.add(&[
            moment(step.at),
            after(step.delay_seconds),
            step.what.to_string(),
            step.place.clone(),
            step.detail.clone(),
        ]);
    }
    out.push_str(&rows.to_string());
    out
}

/// A time as a parameter of a query.
pub(super) fn time(flag: &str, time: Option<Time>) -> Result<Option<String>, CommandError> {
    let text = time.map(|time| time.format(&Rfc3339)).transpose();
    text.map_err(|error| CommandError::usage(format!("--{flag}: {error}")))
}

fn after(seconds: f64) -> String {
    match seconds {
        seconds if seconds <= 0.0 => String::new(),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds => span(seconds.min(1e9) as u64),
    }
}

pub(super) async fn audit(
    AuditArgs {
        connection,
        from,
        to,
        topic,
        now,
    }: AuditArgs,
) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
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

pub(super) async fn explain(
    ExplainArgs { connection, letter }: ExplainArgs,
) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let text = client
        .get(&format!("/api/v1/dead-letters/{letter}/explain"), &[])
        .await?;
    if as_json {
        return print_json(&text);
    }
    let explanation: Explanation = read(&text)?;
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "dead letter {}: {}",
            explanation.letter, explanation.meaning
        ),
    );
    let facts = [
        ("code", Some(explanation.code)),
        ("detail", Some(explanation.detail)),
        ("pointer", explanation.pointer),
        ("value", explanation.value),
        ("rule", explanation.rule),
        ("today", Some(explanation.today)),
        ("began", explanation.began_at.map(when)),
        ("similar", Some(format!("{} open", explanation.like_it))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            put(&mut out, &format!("  {name:10}{}", lines(&value)));
        }
    }
    for next in explanation.next {
        put(&mut out, &format!("next: {next}"));
    }
    print(&out)
}
