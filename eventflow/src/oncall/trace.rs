//! `eventflow trace` and `explain`.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::table::TextTable;
use super::text::{lines, moment, put, span, when};
use super::{print, print_json};
use recovery::model::{self, Explanation, Time};
use time::format_description::well_known::Rfc3339;

/// Every step of an event.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Event id, entity key (payment id), traceparent or trace id
    what: String,
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
