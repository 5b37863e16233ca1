//! Sources and roles in numbers.

use super::picture::state;
use crate::asked::Asked;
use crate::view::{ago, duration, empty, number, rate, short, sparkline, text};
use maud::{Markup, html};
use recovery::model::{Now, Quantiles, RoleNow, SourceNow};

/// A source that was silent for so long is said to be.
const SILENT_SECONDS: i64 = 300;

/// Codes of refusals that are listed.
const CODES: usize = 3;

pub(super) fn sources(now: &Now) -> Markup {
    html! {
        h2 #sources { "Sources" }
        @if now.sources.is_empty() {
            (empty("No source is known here.", &html! { "Give recovery the producers' --sources, and --role producer=URL for figures." }))
        } @else {
            div.table tabindex="0" role="region" aria-label="Sources" {
                table {
                    thead { tr {
                        th { "Source" } th { "Last hour" } th.number { "Events a second" } th.number { "Accepted" } th { "Refused" }
                        th.number { "To the answer" } th.number { "To the row" } th { "Last seen" }
                    } }
                    tbody { @for source in &now.sources { (of_source(now, source)) } }
                }
            }
            p.hint { "Accepted and refused: in the last hour, as long as this role has looked. Durations: half of all within the first, 99 % within the second, of the last five minutes." }
        }
    }
}

fn of_source(now: &Now, source: &SourceNow) -> Markup {
    let of = Asked::from_iter([("source", source.name.as_str())]);
    let silent = source
        .last_seen
        .map(|seen| (now.at - seen).whole_seconds())
        .filter(|seconds| *seconds > SILENT_SECONDS);
    let more = source.refused.len().saturating_sub(CODES);
    html! {
        tr data-row {
            td {
                a href=(of.to("/events")) { (short(&source.name, 40)) }
                @for stage in &source.fails_in { div.under.wrong { "▲ most of it fails in " (text(stage)) } }
            }
            td { (sparkline(&source.history)) }
            td.number { (rate(source.rate)) }
            td.number { a href=(of.to("/events")) { (number(i64::try_from(source.accepted).unwrap_or(i64::MAX))) } }
            td {
                @for (code, many) in source.refused.iter().take(CODES) {
                    div { a href=(of.with("code", code).to("/rejections/all")) { (number(i64::try_from(*many).unwrap_or(i64::MAX))) } " " code { (short(code, 40)) } }
                }
                @if more > 0 { div.under { "and " (more) " other codes" } }
            }
            (quantiles(source.answer_seconds))
            (quantiles(source.row_seconds))
            td.when {
                @match (source.last_seen, silent) {
                    (Some(_), Some(seconds)) => span.waiting { "silent for " (runtime::text::span(seconds.unsigned_abs())) },
                    (Some(seen), None) => (ago(seen)),
                    (None, _) => span.none { "not since the edge started" },
                }
            }
        }
    }
}

fn quantiles(quantiles: Option<Quantiles>) -> Markup {
    html! {
        td.number {
            @if let Some(Quantiles { p50, p99 }) = quantiles { (duration(p50)) div.under { (duration(p99)) } }
        }
    }
}

pub(super) fn roles(now: &Now) -> Markup {
    html! {
        h2 #roles { "Roles" }
        div.table tabindex="0" role="region" aria-label="Roles" {
            table {
                thead { tr { th { "Role" } th { "State" } th { "Last hour" } th.number { "Records a second" } th.number { "Failed a second" } th.number { "Lag" } th { "Reason" } } }
                tbody { @for role in &now.roles { (of_role(role)) } }
            }
        }
    }
}

fn of_role(role: &RoleNow) -> Markup {
    let (class, word) = state(role);
    html! {
        tr {
            td { strong { (short(&role.name, 40)) } @if role.instances > 1 { div.under { (role.instances) " instances" } } }
            td { span class={ "dot is-" (class) } {} (word.unwrap_or("ready")) }
            td { (sparkline(&role.history)) }
            td.number { (rate(role.rate)) }
            td.number { (rate(role.failed_rate)) }
            td.number { @if let Some(lag) = role.lag_seconds { (duration(lag)) } }
            td.detail {
                @for reason in role.reasons.iter().chain(&role.warnings) { div { (short(reason, 300)) } }
                @if word == Some("not configured") { span.hint { "start recovery with --role " (role.name) "=http://HOST:PORT" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::usual;
    use super::*;

    #[test]
    fn a_source_is_a_row_whatever_it_is_called() {
        let shown = sources(&usual()).into_string();
        assert!(
            shown.contains("&lt;b&gt;acme&lt;/b&gt;") && !shown.contains("<b>acme"),
            "{shown}"
        );
        assert!(
            shown.contains("1,234")
                && shown.contains("signature_mismatch")
                && shown.contains("silent for 20 min"),
            "{shown}"
        );
        assert!(
            shown.contains("most of it fails in validator") && shown.contains("2.0 ms"),
            "{shown}"
        );
        assert!(roles(&usual()).into_string().contains("250 ms"));
    }
}
