//! The demo's table while it runs: redrawn in place on a terminal, a line every few seconds anywhere else.

use super::reconciliation::Reconciliation;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where nothing can be redrawn.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The right column of the table is cut here: the whole must fit a terminal of 24 lines.
const MAX_CODES: usize = 16;

/// Where the figures go while it runs.
pub(super) enum Progress {
    /// `--json`
    Silent,
    Lines {
        next: Instant,
    },
    /// Lines to go up before drawing again
    Table {
        drawn: usize,
    },
}

impl Progress {
    pub(super) fn new(silent: bool) -> Self {
        if silent {
            Self::Silent
        } else if std::io::stdout().is_terminal() {
            Self::Table { drawn: 0 }
        } else {
            Self::Lines {
                next: Instant::now(),
            }
        }
    }

    /// `problems`: why roles are not ready, in sentences.
    pub(super) fn show(
        &mut self,
        reconciliation: &Reconciliation,
        problems: &[String],
    ) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Silent => Ok(()),
            Self::Lines { next } => {
                if Instant::now() < *next {
                    return Ok(());
                }
                *next = Instant::now() + LINE_EVERY;
                writeln!(out, "{}", line(reconciliation))?;
                problems
                    .iter()
                    .try_for_each(|problem| writeln!(out, "  {problem}"))
            }
            Self::Table { drawn } => {
                let mut lines = table(reconciliation);
                lines.extend(problems.iter().flat_map(|problem| wrapped(problem)));
                // No wrapping while drawing: a long line is cut at the terminal's edge, and the height stays known.
                let mut frame = String::from("\x1b[?7l");
                if *drawn > 0 {
                    frame.push_str(&format!("\x1b[{drawn}A"));
                }
                lines
                    .iter()
                    .for_each(|line| frame.push_str(&format!("\r{line}\x1b[K\n")));
                frame.push_str("\x1b[J\x1b[?7h");
                *drawn = lines.len();
                out.write_all(frame.as_bytes())?;
                out.flush()
            }
        }
    }
}

/// Below zero while records from before the start are stored, as on a used Kafka with a new database.
fn in_flight(reconciliation: &Reconciliation) -> i64 {
    reconciliation.in_flight.max(0)
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0} ms"))
}

fn line(reconciliation: &Reconciliation) -> String {
    format!(
        "sent {} accepted {} others {} refused {} validated {} stored {} duplicates {} filtered {} dead letters {} in flight {} p50 {} p99 {}",
        reconciliation.sent,
        reconciliation.accepted,
        reconciliation.accepted_from_others,
        reconciliation.refused(),
        reconciliation.validated_records,
        reconciliation.stored,
        reconciliation.duplicates,
        reconciliation.filtered,
        reconciliation.dead_lettered,
        in_flight(reconciliation),
        milliseconds(reconciliation.p50_ms),
        milliseconds(reconciliation.p99_ms)
    )
}

/// The flow on the left, what was refused and dead-lettered by code on the right.
fn table(reconciliation: &Reconciliation) -> Vec<String> {
    let flow = [
        ("sent", reconciliation.sent.to_string()),
        ("  without an answer", reconciliation.unanswered.to_string()),
        ("  refused", reconciliation.refused().to_string()),
        ("  accepted", reconciliation.accepted.to_string()),
        (
            "accepted from others",
            reconciliation.accepted_from_others.to_string(),
        ),
        ("validated", reconciliation.validated_records.to_string()),
        ("stored", reconciliation.stored.to_string()),
        ("duplicates", reconciliation.duplicates.to_string()),
        ("filtered", reconciliation.filtered.to_string()),
        ("dead letters", reconciliation.dead_lettered.to_string()),
        ("in flight", in_flight(reconciliation).to_string()),
        ("webhook to row p50", milliseconds(reconciliation.p50_ms)),
        ("webhook to row p99", milliseconds(reconciliation.p99_ms)),
    ];
    let mut codes = vec!["refused by code".to_owned()];
    codes.extend(by_code(&reconciliation.refused));
    codes.push("dead letters by code".to_owned());
    codes.extend(by_code(&reconciliation.dead_letters_by_code));
    if codes.len() > MAX_CODES {
        let hidden = codes.len() - MAX_CODES + 1;
        codes.truncate(MAX_CODES - 1);
        codes.push(format!("  and {hidden} more codes"));
    }
    (0..flow.len().max(codes.len()))
        .map(|row| {
            let (name, value) = flow
                .get(row)
                .map_or(("", ""), |(name, value)| (*name, value.as_str()));
            let code = codes.get(row).map_or("", String::as_str);
            format!("  {name:<21}{value:>9}    {code}")
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn by_code(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    counts
        .iter()
        .map(|(code, count)| format!("  {code:<28}{count:>7}"))
}

/// A sentence in lines of at most 78 columns.
fn wrapped(problem: &str) -> Vec<String> {
    let mut lines = vec!["  !".to_owned()];
    for word in problem.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 78 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("    {word}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_a_terminal_of_80_by_24_whatever_is_refused() {
        let codes = |count: u64| {
            (0..count)
                .map(|code| (format!("{code:_>26}"), 1_234_567))
                .collect()
        };
        let reconciliation = Reconciliation {
            sent: 123_456_789,
            refused: codes(20),
            dead_letters_by_code: codes(24),
            p99_ms: Some(60_000.0),
            ..Reconciliation::default()
        };
        let lines = table(&reconciliation);
        assert!(lines.len() <= 20, "{} lines", lines.len());
        assert!(
            lines.iter().all(|line| line.chars().count() < 80),
            "{lines:#?}"
        );
        assert!(lines.iter().any(|line| line.ends_with("more codes")));
    }

    #[test]
    fn a_problem_is_wrapped_and_nothing_of_it_is_cut() {
        let problem = "persistence is not ready: database: database_unavailable: ".repeat(4);
        let lines = wrapped(&problem);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 78),
            "{lines:#?}"
        );
        let words: Vec<_> = lines
            .iter()
            .flat_map(|line| line.split_whitespace())
            .skip(1)
            .collect();
        assert_eq!(words, problem.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn the_table_names_every_code() {
        let reconciliation = Reconciliation {
            refused: BTreeMap::from([("signature_mismatch".to_owned(), 3)]),
            dead_letters_by_code: BTreeMap::from([("not_json".to_owned(), 5)]),
            ..Reconciliation::default()
        };
        let text = table(&reconciliation).join("\n");
        assert!(
            text.contains("signature_mismatch                3")
                && text.contains("not_json                          5"),
            "{text}"
        );
    }
}
