//! `eventflow rejections`: requests that the edge refused.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::table::TextTable;
use super::text::{age, count, lines, pretty, put, when};
use super::{print, print_json};
use recovery::model::{
    RefusedRequestRow, RejectionDetail, RejectionExplanation, RejectionGroup, RejectionPage, Time,
    parse_time,
};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;

/// Refused requests.
#[derive(Debug, clap::Args)]
pub(crate) struct Rejections {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// List refused requests, newest first: a sample of them, kept for days
    #[command(
        after_help = "Example: eventflow rejections ls --source stripe --code signature_mismatch --since 2h"
    )]
    Ls {
        #[command(flatten)]
        filter: Filter,
        /// Continue after this one: the last of the previous page
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
    },
    /// Group refused requests by source and code: start here
    #[command(after_help = "Example: eventflow rejections groups --since 24h")]
    Groups(Filter),
    /// Explain why a signature failed: name the known mistake that fits, and what to do
    #[command(after_help = "Example: eventflow rejections explain 17")]
    Explain {
        /// Number of the refused request
        rejection: i64,
    },
    /// Show everything that is kept of one refused request
    #[command(after_help = "Example: eventflow rejections show 17")]
    Show {
        /// Number of the refused request
        rejection: i64,
    },
}

/// Which refused requests: all conditions must hold.
#[derive(Debug, clap::Args)]
struct Filter {
    /// Sources (vendors), comma separated; unknown: those whose URL no source has
    #[arg(long, value_delimiter = ',')]
    source: Vec<String>,
    /// Codes of answers, comma separated, such as signature_mismatch
    #[arg(long, value_delimiter = ',')]
    code: Vec<String>,
    /// Address of the client, as eventflow rejections ls shows it
    #[arg(long)]
    peer: Option<String>,
    /// Refused at this time or later: RFC 3339, or an age such as 90s, 30m, 2h, 7d
    #[arg(long, value_parser = parse_time)]
    since: Option<Time>,
    /// Refused before this time: RFC 3339, or an age
    #[arg(long, value_parser = parse_time)]
    until: Option<Time>,
    /// At most this many, the newest first
    #[arg(long)]
    limit: Option<u32>,
}

impl Filter {
    fn query(&self) -> Result<Vec<(&'static str, String)>, CommandError> {
        let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        let time = |time: Option<Time>| time.map(|time| time.format(&Rfc3339)).transpose();
        let bad =
            |error: time::error::Format| CommandError::usage(format!("--since, --until: {error}"));
        let words = [
            ("source", list(&self.source)),
            ("code", list(&self.code)),
            ("peer", self.peer.clone()),
            ("since", time(self.since).map_err(bad)?),
            ("until", time(self.until).map_err(bad)?),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        let given = words
            .into_iter()
            .filter_map(|(word, value)| Some((word, value?)));
        Ok(given.collect())
    }
}

/// An answer as text.
type Render = fn(&str) -> Result<String, CommandError>;

pub(super) async fn run(Rejections { connection, work }: Rejections) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let (text, render): (String, Render) = match work {
        Work::Ls { filter, before } => {
            let mut words = filter.query()?;
            words.extend(before.map(|before| ("before", before.to_string())));
            (client.get("/api/v1/rejections", &words).await?, page)
        }
        Work::Groups(filter) => {
            let path = "/api/v1/rejection-groups";
            (client.get(path, &filter.query()?).await?, groups)
        }
        Work::Explain { rejection } => {
            let path = format!("/api/v1/rejections/{rejection}/explain");
            (client.get(&path, &[]).await?, explanation)
        }
        Work::Show { rejection } => {
            let path = format!("/api/v1/rejections/{rejection}");
            (client.get(&path, &[]).await?, detail)
        }
    };
    if as_json {
        print_json(&text)
    } else {
        print(&render(&text)?)
    }
}

fn page(text: &str) -> Result<String, CommandError> {
    let RejectionPage { rejections } = read(text)?;
    let Some(last) = rejections.last() else {
        return Ok(
            "no refused request matches\ntry: fewer filters, or eventflow rejections groups\n"
                .to_owned(),
        );
    };
    let mut rows = TextTable::new(&[
        "ID", "REFUSED", "SOURCE", "CODE", "PEER", "SKEW", "BYTES", "CAPTURED", "DETAIL",
    ]);
    for rejection in &rejections {
        let shown = |number: Option<i64>| number.map(|number| number.to_string());
        rows.add(&[
            rejection.id.to_string(),
            age(rejection.at),
            rejection.source.clone(),
            rejection.code.clone(),
            rejection.peer.clone(),
            rejection.skew_seconds.map(skew).unwrap_or_default(),
            shown(rejection.body_bytes).unwrap_or_default(),
            if rejection.captured { "yes" } else { "" }.to_owned(),
            rejection.detail.clone(),
        ]);
    }
    let mut out = rows.to_string();
    let left_out: i64 = rejections.iter().map(|rejection| rejection.left_out).sum();
    if left_out > 0 {
        put(
            &mut out,
            &format!("{left_out} more between them were counted and not written, to bound a flood"),
        );
    }
    put(
        &mut out,
        &format!(
            "{} shown; for more, add --before {}",
            rejections.len(),
            last.id
        ),
    );
    Ok(out)
}

/// `-301 s`.
fn skew(seconds: i64) -> String {
    format!("{seconds:+} s")
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<RejectionGroup>,
}

fn groups(text: &str) -> Result<String, CommandError> {
    let Groups { groups } = read(text)?;
    let Some(first) = groups.first() else {
        return Ok("no refused requests are kept\n".to_owned());
    };
    let mut rows = TextTable::new(&[
        "REFUSED",
        "KEPT",
        "SOURCE",
        "CODE",
        "PEERS",
        "FIRST SEEN",
        "LAST SEEN",
        "SAMPLE",
    ]);
    for group in &groups {
        rows.add(&[
            group.refused.to_string(),
            group.kept.to_string(),
            group.source.clone(),
            group.code.clone(),
            group.peers.to_string(),
            age(group.first_seen),
            age(group.last_seen),
            group.sample.to_string(),
        ]);
    }
    let mut out = rows.to_string();
    put(
        &mut out,
        &format!("next: eventflow rejections explain {}", first.sample),
    );
    Ok(out)
}

fn explanation(text: &str) -> Result<String, CommandError> {
    let explained: RejectionExplanation = read(text)?;
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "refused request {}: {} of {}",
            explained.rejection, explained.code, explained.source
        ),
    );
    put(&mut out, &format!("  {}", explained.detail));
    if let (Some(mistake), Some(meaning)) = (&explained.mistake, &explained.meaning) {
        let sure = if explained.certain { "" } else { "likely: " };
        put(&mut out, &format!("{sure}{meaning} ({mistake})"));
    }
    let texts = explained.shown_by.iter().map(|text| ("because", text));
    let texts = texts.chain(explained.limits.iter().map(|text| ("note", text)));
    for (name, text) in texts.chain(explained.next.iter().map(|text| ("next", text))) {
        put(&mut out, &format!("  {name:9}{text}"));
    }
    if explained.mistake.is_none() && !explained.tried.is_empty() {
        put(&mut out, "tried, and none fits");
        for tried in &explained.tried {
            put(&mut out, &format!("  {tried}"));
        }
    }
    Ok(out)
}

fn detail(text: &str) -> Result<String, CommandError> {
    let detail: RejectionDetail = read(text)?;
    let rejection = &detail.rejection;
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "refused request {}: {} ({}) of {}",
            rejection.id, rejection.code, rejection.status, rejection.source
        ),
    );
    put(&mut out, &format!("  {}", rejection.detail));
    out.push('\n');
    facts(&mut out, rejection, &detail);
    if let Some(method) = &detail.method {
        let query = detail.query.as_ref();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        put(&mut out, &format!("request        {method} {query}"));
    }
    if !detail.headers.is_empty() {
        put(&mut out, "headers");
    }
    for (name, value) in &detail.headers {
        put(&mut out, &format!("  {name}: {value}"));
    }
    match (&detail.body, &detail.body_base64) {
        (Some(body), _) => {
            put(&mut out, "body");
            for line in lines(&pretty(body)).lines() {
                put(&mut out, &format!("  {line}"));
            }
        }
        (None, Some(base64)) => put(&mut out, &format!("body (not text; base64)\n  {base64}")),
        (None, None) => {}
    }
    Ok(out)
}

fn facts(out: &mut String, rejection: &RefusedRequestRow, detail: &RejectionDetail) {
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            put(out, &format!("{name:15}{value}"));
        }
    };
    fact("refused", Some(when(rejection.at)));
    fact("peer", Some(rejection.peer.clone()));
    fact("user agent", rejection.user_agent.clone());
    fact("scheme", rejection.scheme.clone());
    fact("clock skew", rejection.skew_seconds.map(skew));
    for part in &detail.parts {
        let times = match part.times {
            0 => "missing".to_owned(),
            1 => "there".to_owned(),
            times => format!("there {times} times"),
        };
        fact("header", Some(format!("{}: {times}", part.header)));
    }
    let body = rejection
        .body_bytes
        .map_or_else(|| "not read".to_owned(), |bytes| count(bytes, "byte"));
    fact("body", Some(body));
    fact("sha-256", rejection.body_sha256.clone());
    fact("trace", rejection.trace_id.clone());
    fact(
        "left out",
        (rejection.left_out > 0)
            .then(|| format!("{} before it, counted and not written", rejection.left_out)),
    );
    fact(
        "captured",
        Some(match detail.captured_until {
            Some(until) => format!("headers and body, until {}", when(until)),
            None => format!(
                "nothing; to capture, set capture_rejected = {{ bytes = 65536, hours = 24 }} for the source {}",
                rejection.source
            ),
        }),
    );
}
