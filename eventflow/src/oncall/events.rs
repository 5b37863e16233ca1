//! `eventflow events`: accepted events, each with its fate.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::table::TextTable;
use super::trace::{story, time};
use super::{print, print_json};
use recovery::model::{EventDetail, EventFilter, EventPage, Payload, ReceivedRecord, StoredRow};
use runtime::text::{age, lines, moment, pretty, put};

/// Accepted events.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// List accepted events with their fates, newest first: stored, duplicate, filtered, dead-lettered
    #[command(
        after_help = "Examples: eventflow events ls pay_4711\n          eventflow events ls --source stripe --fate dead_lettered --since 2h\n          \
                      eventflow events ls --field /customer/email=anna@example.com --since 1d"
    )]
    Ls {
        #[command(flatten)]
        filter: EventFilter,
        /// Continue after a page: the value that it printed
        #[arg(long, value_name = "PLACE")]
        before: Option<String>,
    },
    /// Show everything about one event: timeline, signed bytes, headers, row
    #[command(after_help = "Example: eventflow events show 3:1207")]
    Show {
        /// Its raw record, as PARTITION:OFFSET; eventflow events ls shows it
        raw: String,
    },
}

pub(super) async fn run(Events { connection, work }: Events) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let (text, shown) = match work {
        Work::Ls { filter, before } => {
            let mut words = words(filter)?;
            words.extend(before.map(|before| ("before", before)));
            let text = client.get("/api/v1/events", &words).await?;
            let shown = if as_json { String::new() } else { page(&text)? };
            (text, shown)
        }
        Work::Show { raw } => {
            let legal = |letter: char| letter.is_ascii_alphanumeric() || ":@-_".contains(letter);
            if !raw.chars().all(legal) {
                return Err(CommandError::usage(
                    "expected PARTITION:OFFSET, as eventflow events ls shows it",
                ));
            }
            let text = client.get(&format!("/api/v1/events/{raw}"), &[]).await?;
            let shown = if as_json {
                String::new()
            } else {
                detail(&text)?
            };
            (text, shown)
        }
    };
    if as_json {
        return print_json(&text);
    }
    print(&shown)
}

/// A filter as query parameters.
fn words(filter: EventFilter) -> Result<Vec<(&'static str, String)>, CommandError> {
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
    let fates: Vec<String> = filter.fate.iter().map(ToString::to_string).collect();
    let words = [
        ("q", filter.q),
        ("source", list(&filter.source)),
        ("event_type", list(&filter.event_type)),
        ("fate", list(&fates)),
        ("since", time("since", filter.since)?),
        ("until", time("until", filter.until)?),
        ("limit", filter.limit.map(|limit| limit.to_string())),
    ];
    let words = words
        .into_iter()
        .filter_map(|(word, value)| Some((word, value?)));
    let fields = filter.field.into_iter().map(|field| ("field", field));
    Ok(words.chain(fields).collect())
}

fn page(text: &str) -> Result<String, CommandError> {
    let page: EventPage = read(text)?;
    let mut out = String::new();
    if !page.events.is_empty() {
        let mut rows = TextTable::new(&[
            "RAW",
            "RECEIVED",
            "SOURCE",
            "TYPE",
            "EVENT ID",
            "ENTITY KEY",
            "FATE",
            "WHY",
        ]);
        for event in &page.events {
            rows.add(&[
                event.raw.clone(),
                age(event.at),
                event.source.clone(),
                event.event_type.clone().unwrap_or_default(),
                event.event_id.clone().unwrap_or_default(),
                event.entity_key.clone().unwrap_or_default(),
                event.fate.to_string(),
                event.why.clone().unwrap_or_default(),
            ]);
        }
        out.push_str(&rows.to_string());
    }
    if let Some(to) = page.searched_to {
        put(&mut out, &format!("searched back to {}", moment(to)));
    }
    match (&page.next, page.events.first()) {
        (Some(next), _) => put(&mut out, &format!("for more, add --before {next}")),
        (None, Some(event)) => put(
            &mut out,
            &format!("next: eventflow events show {}", event.raw),
        ),
        (None, None) => {
            put(&mut out, "no event matches");
            put(
                &mut out,
                "try: fewer filters, or eventflow rejections groups for what was not accepted",
            );
        }
    }
    Ok(out)
}

fn detail(text: &str) -> Result<String, CommandError> {
    let detail: EventDetail = read(text)?;
    let mut out = story(&detail.timeline);
    for letter in &detail.letters {
        put(
            &mut out,
            &format!("dead letter {letter}: eventflow explain {letter}"),
        );
    }
    if let Some(row) = &detail.row {
        of_row(&mut out, row);
    }
    match &detail.received {
        Some(received) => of_record(&mut out, &detail.raw, received),
        None => put(
            &mut out,
            "the raw record is gone from Kafka, and no dead letter has it",
        ),
    }
    Ok(out)
}

fn of_row(out: &mut String, row: &StoredRow) {
    put(out, "stored row");
    let facts = [
        ("type", Some(row.event_type.clone())),
        ("contract", row.contract.clone()),
        ("occurred", Some(moment(row.occurred_at))),
        ("amount", row.amount.clone()),
        ("currency", row.currency.clone()),
        ("edited by", row.edited_by.clone()),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            put(out, &format!("  {name:16}{value}"));
        }
    }
    indented(out, &pretty(&row.payload));
}

fn of_record(out: &mut String, raw: &str, received: &ReceivedRecord) {
    put(out, &format!("raw record {raw}, as it was signed"));
    for (name, value) in &received.headers {
        let value = value.as_deref().unwrap_or("(null)");
        put(out, &format!("  {name}: {value}"));
    }
    match &received.value {
        Payload::Text { text } | Payload::Avro { text, .. } => indented(out, text),
        Payload::Binary { base64 } => indented(out, &format!("base64: {base64}")),
        Payload::Null | Payload::Dropped { .. } => {}
    }
    if let Some(curl) = &received.curl {
        put(
            out,
            "the same once more (EVENTFLOW_EDGE_URL is the edge's URL):",
        );
        indented(out, curl);
    }
}

fn indented(out: &mut String, text: &str) {
    for line in lines(text).lines() {
        put(out, &format!("  {line}"));
    }
}
