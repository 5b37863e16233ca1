//! The fates by source and event type, bounded: who has most is shown, the rest is summed.

use std::collections::BTreeMap;

/// Rows of the table; the rest is one row more.
const SHOWN: usize = 20;

/// How many raw records have which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Fates {
    pub(super) stored: i64,
    pub(super) duplicate: i64,
    pub(super) filtered: i64,
    pub(super) dead_lettered: i64,
}

impl Fates {
    fn all(&self) -> i64 {
        self.stored + self.duplicate + self.filtered + self.dead_lettered
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.dead_lettered += other.dead_lettered;
    }
}

/// The fates of each source and event type.
#[derive(Debug, Clone, Default)]
pub(super) struct ByType(BTreeMap<(String, String), Fates>);

/// One row of the table.
#[derive(serde::Serialize)]
struct Row<'a> {
    source: &'a str,
    event_type: &'a str,
    #[serde(flatten)]
    fates: Fates,
}

impl ByType {
    /// Adds to a source and a type; `None` where an event has none that can be read.
    pub(super) fn add(&mut self, source: &str, event_type: Option<&str>, fates: Fates) {
        let key = (source.to_owned(), event_type.unwrap_or("-").to_owned());
        self.0.entry(key).or_default().add(&fates);
    }

    pub(super) fn sum(&self) -> Fates {
        let mut sum = Fates::default();
        self.0.values().for_each(|fates| sum.add(fates));
        sum
    }

    /// Those with most records, by source and type, and what the others have together.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut most: Vec<_> = self.0.iter().collect();
        most.sort_by_key(|(_, fates)| std::cmp::Reverse(fates.all()));
        let rest = most.split_off(most.len().min(SHOWN));
        most.sort_by_key(|(key, _)| *key);
        let mut rows: Vec<_> = most
            .into_iter()
            .map(|((source, event_type), fates)| Row {
                source,
                event_type,
                fates: *fates,
            })
            .collect();
        if !rest.is_empty() {
            let mut fates = Fates::default();
            rest.iter().for_each(|(_, one)| fates.add(one));
            rows.push(Row {
                source: "others",
                event_type: "",
                fates,
            });
        }
        rows
    }

    pub(super) fn table(&self) -> String {
        let line = |source: &str, event_type: &str, cells: [String; 5]| {
            let [stored, duplicate, filtered, dead, all] = cells;
            let (source, event_type) = (fit(source, 19), fit(event_type, 25));
            format!(
                "  {source:<19} {event_type:<25}{stored:>7}{duplicate:>6}{filtered:>6}{dead:>6}{all:>7}\n"
            )
        };
        let head = ["stored", "dupl.", "filt.", "dead", "all"].map(str::to_owned);
        let mut out = format!("\n{}", line("fates by source", "event type", head));
        let cells = |fates: &Fates| {
            [
                fates.stored,
                fates.duplicate,
                fates.filtered,
                fates.dead_lettered,
                fates.all(),
            ]
            .map(|count| count.to_string())
        };
        for row in self.rows() {
            out.push_str(&line(row.source, row.event_type, cells(&row.fates)));
        }
        out.push_str(&line("all", "", cells(&self.sum())));
        out
    }
}

impl serde::Serialize for ByType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows())
    }
}

/// At most so many characters, without what is no text: types are a vendor's words.
fn fit(text: &str, most: usize) -> String {
    let clean = |character: char| {
        if character.is_control() {
            '?'
        } else {
            character
        }
    };
    match text.chars().count() {
        count if count > most => text
            .chars()
            .take(most - 1)
            .map(clean)
            .chain(['…'])
            .collect(),
        _ => text.chars().map(clean).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn twenty_are_shown_and_the_others_are_summed() {
        let mut by_type = ByType::default();
        for number in 0..30_i64 {
            let fates = Fates {
                stored: number,
                duplicate: 1,
                ..Fates::default()
            };
            by_type.add("vendor", Some(&format!("type.{number:02}")), fates);
        }
        by_type.add(
            "a-source-with-a-very-long-name",
            None,
            Fates {
                dead_lettered: 99,
                ..Fates::default()
            },
        );
        let rows = by_type.rows();
        assert_eq!(rows.len(), 21);
        assert_eq!(
            (rows[0].source, rows[0].event_type),
            ("a-source-with-a-very-long-name", "-")
        );
        assert_eq!(rows[1].event_type, "type.11", "those with most");
        let others = rows.last().unwrap();
        assert_eq!(
            (others.source, others.fates.stored, others.fates.duplicate),
            ("others", 55, 11)
        );
        let mut sum = Fates::default();
        rows.iter().for_each(|row| sum.add(&row.fates));
        assert_eq!(sum, by_type.sum(), "it adds up");
        let table = by_type.table();
        assert!(
            table.lines().all(|line| line.chars().count() < 80),
            "{table}"
        );
        assert!(
            table
                .lines()
                .last()
                .unwrap()
                .trim_end()
                .ends_with(&sum.all().to_string()),
            "{table}"
        );
    }

    #[test]
    fn a_type_cannot_write_to_the_terminal() {
        let mut by_type = ByType::default();
        by_type.add("vendor", Some("\x1b[2Jgone"), Fates::default());
        assert!(!by_type.table().contains('\x1b'));
    }
}
