//! The reconciliation of a run: what was sent, what was accepted, and the fate of every accepted event.

use super::by_type::{ByType, Fates};
use contracts::kafka::topics;
use simulator::stream::SourceTotals;
use std::collections::BTreeMap;

/// All counts at one time, from three independent sources: the demo's own vendors (what they sent and were answered), the edge (what it
/// accepted, from anyone), and the observer, who reads the topics and the database from outside.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(super) struct Reconciliation {
    /// By the vendors
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) unanswered: u64,
    /// Attempts that may have been accepted though the vendor saw no 200
    pub(super) unsure_attempts: u64,
    pub(super) faults_injected: BTreeMap<String, u64>,
    /// Events in what was accepted: a webhook may have several
    pub(super) events_accepted: u64,
    /// Attempts after the first
    pub(super) resent: u64,
    /// The same by source
    pub(super) sent_by: BTreeMap<String, SourceTotals>,
    /// By the edge
    pub(super) edge_accepted: u64,
    /// Handed to Kafka, not answered 200: in the topic or not
    pub(super) edge_unconfirmed: u64,
    /// What the edge accepted and the demo's vendors know nothing of
    pub(super) accepted_from_others: u64,
    /// In the topics and the database
    pub(super) raw_records: i64,
    pub(super) validated_records: i64,
    pub(super) stored: i64,
    pub(super) duplicates: i64,
    pub(super) filtered: i64,
    pub(super) dead_lettered: i64,
    pub(super) dead_letters_by_code: BTreeMap<String, u64>,
    pub(super) in_flight: i64,
    /// Raw records with more than one fate; known at the end
    pub(super) with_two_fates: u64,
    /// The fates by source and event type; known at the end
    pub(super) by_type: Option<ByType>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// From the start of the process
    pub(super) first_row_seconds: Option<f64>,
}

impl Reconciliation {
    pub(super) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// The table at the end.
    pub(super) fn table(&self) -> String {
        let mut out = String::from("\n");
        let mut line = |name: &str, count: String| {
            out.push_str(format!("  {name:<40}{count:>10}").trim_end());
            out.push('\n');
        };
        line("sent by the demo's vendors", self.sent.to_string());
        line("= refused", self.refused().to_string());
        for (code, count) in &self.refused {
            line(&format!("    {code}"), count.to_string());
        }
        line("+ without an answer", self.unanswered.to_string());
        line("+ accepted (200 after the ack)", self.accepted.to_string());
        line("", String::new());
        line(
            "events in what was accepted",
            self.events_accepted.to_string(),
        );
        line(
            "+ accepted from others",
            self.accepted_from_others.to_string(),
        );
        let unconfirmed = i128::from(self.raw_records) - i128::from(self.edge_accepted);
        if unconfirmed != 0 {
            line("+ in the topic without a 200", unconfirmed.to_string());
        }
        line(
            &format!("= records in {}", topics::RAW),
            self.raw_records.to_string(),
        );
        line("", String::new());
        line("= stored", self.stored.to_string());
        line("+ duplicate", self.duplicates.to_string());
        line("+ filtered", self.filtered.to_string());
        line("+ dead-lettered", self.dead_lettered.to_string());
        for (code, count) in &self.dead_letters_by_code {
            line(&format!("    {code}"), count.to_string());
        }
        line("+ unaccounted for", self.in_flight.to_string());
        out.push_str(&self.sent_by());
        if let Some(by_type) = &self.by_type {
            out.push_str(&by_type.table());
        }
        let conclusion = if self.faults().is_empty() {
            "every accepted webhook has exactly one fate"
        } else {
            "RECONCILIATION FAILED"
        };
        out.push_str(&format!("\n  {conclusion}\n"));
        out
    }

    /// Who sent what, and what was answered.
    fn sent_by(&self) -> String {
        let mut out = format!(
            "\n  {:<24}{:>9}{:>9}{:>12}{:>10}\n",
            "sent by", "sent", "refused", "unanswered", "accepted"
        );
        for (source, totals) in &self.sent_by {
            let SourceTotals {
                sent,
                accepted,
                refused,
                unanswered,
                ..
            } = totals;
            out.push_str(&format!(
                "  {source:<24}{sent:>9}{refused:>9}{unanswered:>12}{accepted:>10}\n"
            ));
        }
        if self.resent > 0 {
            out.push_str(&format!(
                "  sent again {} times, as each vendor does\n",
                self.resent
            ));
        }
        out
    }

    /// What does not add up, in sentences; nothing when every accepted webhook has exactly one fate.
    pub(super) fn faults(&self) -> Vec<String> {
        let (refused, raw_topic) = (self.refused(), topics::RAW);
        let Self {
            sent,
            accepted,
            unanswered,
            unsure_attempts,
            edge_accepted,
            edge_unconfirmed,
            events_accepted,
            ..
        } = self;
        let raw = u64::try_from(self.raw_records).unwrap_or(0);
        let mut faults = Vec::new();
        if *sent != refused + unanswered + accepted {
            faults.push(format!("sent {sent} is not refused {refused} + unanswered {unanswered} + accepted {accepted}"));
        }
        if events_accepted + self.accepted_from_others != *edge_accepted {
            faults.push(format!(
                "the vendors saw {events_accepted} events accepted, but the edge accepted only {edge_accepted}"
            ));
        }
        let by_source = self.sent_by.values().fold((0, 0, 0, 0, 0), |sum, one| {
            (
                sum.0 + one.sent,
                sum.1 + one.refused,
                sum.2 + one.unanswered,
                sum.3 + one.accepted,
                sum.4 + one.events_accepted,
            )
        });
        if by_source != (*sent, refused, *unanswered, *accepted, *events_accepted) {
            faults.push(format!(
                "the sums by source are {by_source:?}, not those of all"
            ));
        }
        let all = Fates {
            stored: self.stored,
            duplicate: self.duplicates,
            filtered: self.filtered,
            dead_lettered: self.dead_lettered,
        };
        if let Some(sum) = self.by_type.as_ref().map(ByType::sum)
            && sum != all
        {
            faults.push(format!(
                "the fates by source and type are {sum:?}, not {all:?}"
            ));
        }
        if raw < *edge_accepted {
            faults.push(format!(
                "{edge_accepted} were accepted, but only {raw} records are in {raw_topic}"
            ));
        }
        if raw > edge_accepted + edge_unconfirmed {
            faults.push(format!(
                "{raw} records are in {raw_topic}, but only {edge_accepted} were accepted and {edge_unconfirmed} left unconfirmed; \
                 does another producer publish to it?"
            ));
        }
        if *unanswered > *unsure_attempts {
            faults.push(format!(
                "{unanswered} deliveries had no answer in only {unsure_attempts} attempts"
            ));
        }
        let coded: u64 = self.dead_letters_by_code.values().sum();
        if i64::try_from(coded) != Ok(self.dead_lettered) {
            faults.push(format!(
                "{} dead letters, but {coded} by code",
                self.dead_lettered
            ));
        }
        let fates = self.stored + self.duplicates + self.filtered + self.dead_lettered;
        if fates != self.raw_records {
            faults.push(format!(
                "{} records are in {raw_topic}, but {fates} fates are known",
                self.raw_records
            ));
        }
        if self.in_flight != 0 {
            faults.push(format!("{} records have no fate", self.in_flight));
        }
        if self.with_two_fates > 0 {
            faults.push(format!(
                "{} records have more than one fate",
                self.with_two_fates
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_source(
        sent: u64,
        refused: u64,
        unanswered: u64,
        accepted: u64,
        events_accepted: u64,
    ) -> SourceTotals {
        SourceTotals {
            sent,
            accepted,
            events_accepted,
            refused,
            unanswered,
        }
    }

    fn sound() -> Reconciliation {
        let mut by_type = ByType::default();
        let fates = |stored, duplicate, dead_lettered| Fates {
            stored,
            duplicate,
            dead_lettered,
            filtered: 0,
        };
        by_type.add("adyen", Some("AUTHORISATION"), fates(20, 2, 0));
        by_type.add("stripe", None, fates(101, 10, 10));
        Reconciliation {
            sent: 110,
            refused: BTreeMap::from([
                ("signature_mismatch".to_owned(), 6),
                ("timestamp_too_old".to_owned(), 3),
            ]),
            unanswered: 1,
            accepted: 100,
            events_accepted: 101,
            sent_by: BTreeMap::from([
                ("adyen".to_owned(), of_source(10, 2, 0, 8, 9)),
                ("stripe".to_owned(), of_source(100, 7, 1, 92, 92)),
            ]),
            unsure_attempts: 2,
            edge_accepted: 141,
            edge_unconfirmed: 3,
            accepted_from_others: 40,
            raw_records: 143,
            stored: 121,
            duplicates: 12,
            by_type: Some(by_type),
            dead_lettered: 10,
            dead_letters_by_code: BTreeMap::from([
                ("not_json".to_owned(), 4),
                ("conflict".to_owned(), 6),
            ]),
            ..Reconciliation::default()
        }
    }

    #[test]
    fn a_sound_run_reconciles() {
        assert_eq!(sound().faults(), Vec::<String>::new());
        assert!(sound().table().contains("exactly one fate"));
        assert_eq!(Reconciliation::default().faults(), Vec::<String>::new());
    }

    #[test]
    fn every_planted_imbalance_is_a_fault() {
        type Plant = fn(&mut Reconciliation);
        let planted: [(&str, Plant); 14] = [
            ("a record lost from the raw topic", |reconciliation| {
                (reconciliation.raw_records, reconciliation.stored) = (140, 118);
            }),
            (
                "a record lost between raw topic and fate",
                |reconciliation| {
                    (reconciliation.stored, reconciliation.in_flight) = (120, 1);
                },
            ),
            (
                "a record lost and not counted as in flight",
                |reconciliation| {
                    reconciliation.stored = 120;
                },
            ),
            (
                "a record stored and dead-lettered, another lost",
                |reconciliation| reconciliation.with_two_fates = 1,
            ),
            ("a fate too many", |reconciliation| {
                (reconciliation.duplicates, reconciliation.in_flight) = (13, -1);
            }),
            ("a record without a 200 to anybody", |reconciliation| {
                (reconciliation.raw_records, reconciliation.stored) = (145, 123);
            }),
            ("a 200 the edge never gave", |reconciliation| {
                (
                    reconciliation.events_accepted,
                    reconciliation.accepted_from_others,
                ) = (142, 0);
            }),
            ("a delivery without a result", |reconciliation| {
                reconciliation.sent = 111;
            }),
            ("a refusal not sent", |reconciliation| {
                *reconciliation
                    .refused
                    .entry("over_quota".to_owned())
                    .or_default() += 1;
            }),
            ("a dead letter without a code", |reconciliation| {
                *reconciliation
                    .dead_letters_by_code
                    .entry("not_json".to_owned())
                    .or_default() -= 1;
            }),
            ("an event that no source sent", |reconciliation| {
                reconciliation.sent_by.remove("adyen");
            }),
            ("a second event that was not counted", |reconciliation| {
                reconciliation.events_accepted = 100;
            }),
            ("a fate of no source", |reconciliation| {
                let fates = Fates {
                    stored: 1,
                    ..Fates::default()
                };
                if let Some(by_type) = &mut reconciliation.by_type {
                    by_type.add("nobody", None, fates);
                }
            }),
            (
                "a delivery without an answer that was never tried",
                |reconciliation| reconciliation.unsure_attempts = 0,
            ),
        ];
        for (what, plant) in planted {
            let mut reconciliation = sound();
            plant(&mut reconciliation);
            assert!(!reconciliation.faults().is_empty(), "{what} was not seen");
            assert!(
                reconciliation.table().contains("RECONCILIATION FAILED"),
                "{what}"
            );
        }
    }
}
