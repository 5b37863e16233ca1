//! What the audit says about a run.

use super::fates::{Fates, POLL};
use super::stored::RawPosition;
use crate::oncall::{Exit, count, line, read};
use recovery::model::{Audit, Time};
use std::collections::BTreeSet;
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

/// The clocks of this machine and of the stack agree within this.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The result of auditing a run.
pub(super) enum Audited {
    /// Every record has exactly one fate
    Reconciled(String),
    /// One has not, or recovery does not answer
    Failed(String),
    /// The audit did not cover this run's records
    Unknown(String),
}

impl Fates {
    /// Whether every record since `began` has exactly one fate, by an audit that covers all of `ours`, which is none when some have no fate.
    pub(super) async fn reconcile(
        &self,
        began: Time,
        ours: Option<&BTreeSet<RawPosition>>,
        end: Instant,
    ) -> Audited {
        let client = match &self.client {
            Ok(client) => client,
            Err(problem) => {
                return Audited::Failed(format!("the audit cannot be queried: {problem}"));
            }
        };
        let Ok(from) = (began - CLOCK_SKEW).format(&Rfc3339) else {
            return Audited::Unknown("this machine's clock is unusable: set it".to_owned());
        };
        loop {
            let mut parameters = vec![("from", from.clone())];
            if self.has_role {
                // Whole seconds, the last of them for the answer's way back.
                let left = end.saturating_duration_since(Instant::now()).as_secs();
                parameters.push(("within", left.saturating_sub(1).max(1).to_string()));
            }
            let query = async { read::<Audit>(&client.get("/api/v1/audit", &parameters).await?) };
            let audit = match timeout_at(end, query).await {
                Ok(Ok(audit)) => audit,
                // A role that starts again answers a moment later.
                Ok(Err(error)) if error.exit != Exit::Usage && Instant::now() + POLL < end => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Ok(Err(error)) => return Audited::Failed(error.message),
                Err(_) => {
                    return Audited::Failed(
                        "the audit does not answer before the deadline; raise --deadline"
                            .to_owned(),
                    );
                }
            };
            if audit.gaps + audit.double_fates > 0 || !audit.findings.is_empty() {
                return Audited::Failed(findings(&audit));
            }
            let in_flight = count(audit.in_flight, "record");
            let Some(ours) = ours else {
                return Audited::Failed(format!(
                    "some records of this run have no fate yet ({in_flight} in flight): see the failed checks above"
                ));
            };
            if ours.iter().all(|raw| is_audited(&audit, raw)) {
                let (ours, records) =
                    (ours.len(), count(audit.records - audit.in_flight, "record"));
                return Audited::Reconciled(format!(
                    "all {ours} records of this run are audited; no gap among {records}"
                ));
            }
            if Instant::now() + POLL >= end {
                let why = if self.has_role {
                    ""
                } else {
                    ", since it audits every --audit-seconds"
                };
                return Audited::Unknown(format!(
                    "recovery has not audited all records of this run{why} ({in_flight} in flight); raise --deadline"
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn is_audited(audit: &Audit, (partition, offset): &RawPosition) -> bool {
    audit
        .partitions
        .iter()
        .any(|(of, first, next, _)| of == partition && (*first..*next).contains(offset))
}

fn findings(audit: &Audit) -> String {
    let first = audit.findings.first();
    let first = first.map(|finding| {
        format!(
            ", such as {}:{} ({})",
            finding.partition, finding.offset, finding.detail
        )
    });
    let (gaps, doubles) = (
        count(audit.gaps, "gap"),
        count(audit.double_fates, "double fate"),
    );
    line(&format!(
        "{gaps} and {doubles}{}; run: eventflow audit --from 10m",
        first.unwrap_or_default()
    ))
}
