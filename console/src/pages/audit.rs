//! The audit: every raw record by its fate, by partition and hour, and what is missing.

use crate::App;
use crate::asked::Asked;
use crate::page::{Answer, Page};
use crate::view::{command, duration, empty, number, text};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{Audit, AuditCell, AuditHours, FindingKind, Time};
use runtime::text::encoded;
use time::format_description::well_known::Rfc3339;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/audit", get(show))
}

/// Ranges that can be chosen, in hours.
const RANGES: [(u16, &str); 3] = [(24, "A day"), (72, "Three days"), (168, "A week")];
/// Shades of a cell.
const SHADES: i64 = 4;

async fn show(visit: Visit) -> Answer {
    let asked = visit
        .asked
        .get("hours")
        .and_then(|hours| hours.parse().ok());
    let hours = asked.unwrap_or(RANGES[0].0);
    let audit: Audit = visit.get("/api/v1/audit", &Asked::default()).await?;
    let by_hour: AuditHours = visit
        .get("/api/v1/audit/hours", &Asked::from_iter([("hours", hours)]))
        .await?;
    let body = html! {
        div.head { h1 { "Audit" } p.lead { "From the database alone: every raw record of " code { (text(&audit.topic)) } " has exactly one fate." } }
        (verdict(&audit))
        (sums(&audit))
        @if !audit.findings.is_empty() { (findings(&audit)) }
        h2 { "By partition and hour" }
        nav.tabs aria-label="Range" {
            @for (range, name) in RANGES {
                a href=(Asked::from_iter([("hours", range)]).to("/audit")) aria-current=[(range == hours).then_some("true")] { (name) }
            }
        }
        (heat(&by_hour))
        (command(&format!("eventflow audit --hours {hours}")))
    };
    Ok(Page::new("Audit", body).refreshed(30))
}

fn verdict(audit: &Audit) -> Markup {
    let age = audit.checkpoint_age_seconds;
    html! {
        @match (audit.gaps + audit.double_fates, audit.findings.len(), age) {
            (_, _, None) => div.verdict { p { strong { "Nothing was audited yet." } " The running role takes its first look within a minute of its start." } },
            (0, 0, Some(age)) => div.verdict.taken { p { strong { "✓ Nothing is missing." } " Audited " (duration(age)) " ago, up to " (number(audit.records)) " records." } },
            (_, _, Some(age)) => div.verdict.refused role="alert" {
                p { strong { "✕ " (number(audit.gaps)) " without a fate, " (number(audit.double_fates)) " with two." } " Audited " (duration(age)) " ago." }
                p { "Keep the topics and the database as they are, and call the owner of EventFlow." }
            },
        }
    }
}

fn sums(audit: &Audit) -> Markup {
    let terms = [
        ("stored", audit.stored, "/events?fate=stored"),
        ("duplicate", audit.duplicate, "/events?fate=duplicate"),
        ("filtered", audit.filtered, "/events?fate=filtered"),
    ];
    html! {
        ul.outcomes.large {
            @for (name, many, href) in terms { li { span class={ "dot is-" (name) } {} a href=(href) { strong { (number(many)) } " " (name) } } }
            @for (state, many) in &audit.dead_lettered {
                li { span.dot.is-failed[state.as_str() == "open"] {} a href=(Asked::from_iter([("state", state)]).to("/dead-letters")) { strong { (number(*many)) } " dead-lettered, " (state) } }
            }
            li { span.dot.is-sent {} strong { (number(audit.in_flight)) } " in flight" }
            @if audit.absent > 0 { li.hint { (number(audit.absent)) " offsets hold no record: ends of transactions" } }
            @if audit.unseen > 0 { li.hint { (number(audit.unseen)) " offsets were gone before the first audit" } }
        }
    }
}

fn findings(audit: &Audit) -> Markup {
    html! {
        h2 { "What was found" }
        div.table tabindex="0" role="region" aria-label="Findings" {
            table {
                thead { tr { th { "Record" } th { "What" } th { "Detail" } } }
                tbody { @for finding in &audit.findings {
                    @let record = format!("{}:{}", finding.partition, finding.offset);
                    tr data-row {
                        td { a href={ "/events/" (encoded(&record)) } { (record) } }
                        td { span.badge.is-failed { (words(finding.kind)) } }
                        td.detail { (text(&finding.detail)) }
                    }
                } }
            }
        }
    }
}

fn words(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Gap => "no fate",
        FindingKind::DoubleFate => "two fates",
        FindingKind::EndBehind => "the topic ends too early",
        FindingKind::Compacted => "Kafka may remove records unread",
    }
}

/// A calm picture: the more was received, the darker; what is wrong is red and says how much.
fn heat(by_hour: &AuditHours) -> Markup {
    let cells = by_hour
        .partitions
        .iter()
        .flat_map(|partition| &partition.cells);
    let most = cells.map(|cell| cell.to - cell.from).max().unwrap_or(0);
    if most == 0 {
        return empty(
            "No record was received in this time.",
            &html! { "Choose a longer range." },
        );
    }
    html! {
        div.table.heat tabindex="0" role="region" aria-label="Records by partition and hour" {
            table {
                thead { tr {
                    th scope="col" { "Partition" }
                    @for hour in &by_hour.hours { th scope="col" title=(moment(hour.0)) { (label(hour.0)) } }
                } }
                tbody { @for partition in &by_hour.partitions {
                    tr {
                        th scope="row" { (partition.partition) }
                        @for (hour, cell) in by_hour.hours.iter().zip(&partition.cells) { (of_hour(hour.0, partition.partition, cell, most)) }
                    }
                } }
            }
        }
        p.hint { "Hours in UTC. Darker: more records, up to " (number(most)) " in an hour. Outlined: not examined to its end yet. Red: records without a fate, or with two." }
    }
}

fn of_hour(hour: Time, partition: i32, cell: &AuditCell, most: i64) -> Markup {
    let many = cell.to - cell.from;
    let wrong = cell.gaps + cell.double_fates;
    let shade = if many == 0 {
        0
    } else {
        1 + (many - 1) * SHADES / most.max(1)
    };
    let said = format!(
        "partition {partition}, {}: {} records, {} not examined yet, {} without a fate, {} with two",
        moment(hour),
        number(many),
        number(cell.unexamined),
        cell.gaps,
        cell.double_fates
    );
    let mut class = format!("cell shade-{}", shade.min(SHADES));
    if cell.unexamined > 0 {
        class.push_str(" open");
    }
    if wrong > 0 {
        class.push_str(" wrong");
    }
    let range = |time: Time| time.format(&Rfc3339).unwrap_or_default();
    let link = Asked::from_iter([
        ("since", range(hour)),
        ("until", range(hour + time::Duration::HOUR)),
    ]);
    html! {
        td class=(class) title=(said) {
            @if many > 0 {
                a href=(link.to("/events")) aria-label=(said) { @if wrong > 0 { (number(wrong)) } }
            }
        }
    }
}

/// `30 Nov`, where a day begins; else the hour.
fn label(hour: Time) -> String {
    match hour.hour() {
        0 => format!("{} {}", hour.day(), &hour.month().to_string()[..3]),
        other => format!("{other:02}"),
    }
}

fn moment(time: Time) -> String {
    runtime::text::moment(time)
}
