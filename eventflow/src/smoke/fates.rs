//! What became of webhooks, as recovery knows it: the questions of on-call, asked until they are answered or it is too late.

use super::edge::Posted;
use crate::oncall::{Client, Exit, Failure, Target, count, line, read};
use recovery::model::{Audit, Letter, Letters, Story, Time, Trace};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

/// Between two looks.
const POLL: Duration = Duration::from_millis(200);
/// The clocks of this machine and of the stack agree within this.
const CLOCKS: Duration = Duration::from_secs(60);
/// What the broken webhook is dead-lettered for.
const CODE: &str = "missing_field";
/// In the audit log.
const REASON: &str = "broken on purpose by eventflow smoke";

/// Where fates are looked up, and until when.
pub(super) struct Fates {
    client: Result<Client, String>,
    /// A running role can take a fresh look at Kafka; the database alone cannot
    has_role: bool,
    until: Instant,
}

/// Why a fate is not known to be what it should be.
#[derive(Debug)]
pub(super) enum Why {
    /// Nothing was known in time, of this event; and what recovery said last, if it could not be asked
    Late {
        id: String,
        waited: Duration,
        told: Option<String>,
    },
    /// It is something else, or cannot be known
    Said(String),
}

impl Why {
    /// In one line; `look_at` says where, when recovery answered and knew nothing.
    pub(super) fn text(self, what: &str, look_at: &str) -> String {
        match self {
            Self::Late { id, waited, told } => {
                format!(
                    "{what} {id} after {} s; {}",
                    waited.as_secs(),
                    told.as_deref().unwrap_or(look_at)
                )
            }
            Self::Said(text) => text,
        }
    }
}

/// Partition and offset in the raw topic.
pub(super) type Raw = (i32, i64);

/// An event that is one row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// From its receipt at the edge, where both times are known
    pub(super) took: Option<Duration>,
    /// Of each of its deliveries
    pub(super) raws: Vec<Raw>,
}

/// The audit's verdict.
pub(super) enum Books {
    Closed(String),
    Open(String),
    /// It has not looked at this run's records
    Unread(String),
}

/// One look at one thing.
enum Seen<T> {
    Done(T),
    NotYet,
    /// And it never will
    Wrong(String),
}

impl Fates {
    /// A connection that nobody may use is wrong usage; one that does not work yet shows in the checks.
    pub(super) async fn open(target: Target, until: Instant) -> Result<Self, Failure> {
        let has_role = matches!(target, Target::Api(_));
        let asked = async {
            let client = Client::new(target).await?;
            match client.get("/api/v1/stats", &[]).await {
                Err(refused) if refused.exit == Exit::Usage => Err(refused),
                _ => Ok(client),
            }
        };
        let client = match timeout_at(until, asked).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(failure)) if failure.exit == Exit::Usage => return Err(failure),
            Ok(Err(failure)) => Err(failure.message),
            Err(_) => Err("recovery does not answer in time".to_owned()),
        };
        Ok(Self {
            client,
            has_role,
            until,
        })
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn client(&self) -> Result<&Client, Why> {
        self.client
            .as_ref()
            .map_err(|problem| Why::Said(format!("fates cannot be looked up: {problem}")))
    }

    /// Looks until it is done, wrong, or too late.
    async fn until<T>(
        &self,
        id: &str,
        look: impl AsyncFn(&Client) -> Result<Seen<T>, Failure>,
    ) -> Result<T, Why> {
        let (client, began) = (self.client()?, Instant::now());
        // True of a first look that the deadline cuts off; of later ones what was last heard is true.
        let mut told = Some("recovery does not answer in time".to_owned());
        loop {
            told = match timeout_at(self.until, look(client)).await {
                Ok(Ok(Seen::Done(seen))) => return Ok(seen),
                Ok(Ok(Seen::Wrong(text))) => return Err(Why::Said(line(&text))),
                Ok(Ok(Seen::NotYet)) => None,
                Ok(Err(failure)) if failure.is("not_found") => None,
                Ok(Err(failure)) if failure.exit == Exit::Usage => {
                    return Err(Why::Said(failure.message));
                }
                Ok(Err(failure)) => Some(failure.message),
                Err(_) => told,
            };
            if Instant::now() + POLL >= self.until {
                return Err(Why::Late {
                    id: id.to_owned(),
                    waited: began.elapsed(),
                    told,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until each is one row.
    pub(super) async fn rows_of_each(&self, posted: &[Posted]) -> Result<Vec<Row>, Why> {
        let mut rows = Vec::new();
        for id in posted.iter().flat_map(Posted::ids) {
            rows.extend(self.rows(&id, &[&id]).await?);
        }
        Ok(rows)
    }

    /// The same of a batch, whose events have payments in common.
    pub(super) async fn rows_of_batch(&self, posted: &Posted) -> Result<Vec<Row>, Why> {
        let mut rows = Vec::new();
        for siblings in posted
            .events
            .chunk_by(|one, next| one.payment == next.payment)
        {
            let ids: Vec<&str> = siblings.iter().map(|event| event.id.as_str()).collect();
            rows.extend(self.rows(&siblings[0].payment, &ids).await?);
        }
        Ok(rows)
    }

    async fn rows(&self, key: &str, ids: &[&str]) -> Result<Vec<Row>, Why> {
        self.until(key, async |client| {
            let trace = trace(client, key).await?;
            let mut rows = Vec::new();
            for id in ids {
                match row(&trace, id) {
                    Seen::Done(row) => rows.push(row),
                    Seen::NotYet => return Ok(Seen::NotYet),
                    Seen::Wrong(text) => return Ok(Seen::Wrong(text)),
                }
            }
            Ok(Seen::Done(rows))
        })
        .await
    }

    /// Waits until an event that was sent again is known as a duplicate and still is one row.
    pub(super) async fn one_row(&self, posted: &Posted) -> Result<Row, Why> {
        let id = &posted.events[0].id;
        self.until(id, async |client| {
            let trace = trace(client, id).await?;
            let again = stories(&trace, id)
                .map(|story| steps(story, "duplicate"))
                .sum::<usize>()
                > 0;
            Ok(match row(&trace, id) {
                Seen::Done(_) if !again => Seen::NotYet,
                seen => seen,
            })
        })
        .await
    }

    /// Waits for the dead letter of a broken event, and discards it: a stack that is checked often must not fill on-call's list.
    pub(super) async fn letter(&self, posted: &Posted) -> Result<(String, Option<Raw>), Why> {
        let id = &posted.events[0].id;
        let words = [
            ("event_id", id.clone()),
            ("state", "open,replaying,resolved,discarded".to_owned()),
        ];
        let letters = self
            .until(id, async |client| {
                let found: Letters = read(&client.get("/api/v1/dead-letters", &words).await?)?;
                Ok(match found.letters.as_slice() {
                    [] => Seen::NotYet,
                    // An edge that got no acknowledgement in time answers 503, and what is sent again may be there twice.
                    all => match all.iter().find(|letter| letter.code != CODE) {
                        None => Seen::Done(all.to_vec()),
                        Some(other) => Seen::Wrong(format!(
                            "dead letter {} is {}, not {CODE}: {}",
                            other.id, other.code, other.detail
                        )),
                    },
                })
            })
            .await?;
        let (mut said, mut last) = (Vec::new(), None);
        for letter in &letters {
            let end = self.discard(letter).await;
            said.push(format!(
                "dead letter {} {CODE} at {}, {end}",
                letter.id, letter.stage
            ));
            last = raw(&letter.origin);
        }
        Ok((line(&format!("answered 200, {}", said.join("; "))), last))
    }

    async fn discard(&self, letter: &Letter) -> String {
        let Ok(client) = self.client() else {
            return "left open".to_owned();
        };
        let wanted = json!({"selection": {"id": [letter.id]}, "reason": REASON, "yes": false});
        let why = match timeout_at(
            self.until,
            client.post("/api/v1/dead-letters/discard", &wanted),
        )
        .await
        {
            Ok(Ok(_)) => return "discarded".to_owned(),
            Ok(Err(failure)) if failure.is("role_too_low") => "the token may only read".to_owned(),
            Ok(Err(failure)) => failure.message,
            Err(_) => "no answer in time".to_owned(),
        };
        format!(
            "left open ({why}): eventflow dlq discard {} --reason smoke",
            letter.id
        )
    }

    /// Whether every record since `began` has exactly one fate, by a look that covers all of `ours`; they are none when some have no fate.
    pub(super) async fn books(
        &self,
        began: Time,
        ours: Option<&BTreeSet<Raw>>,
        end: Instant,
    ) -> Books {
        let client = match &self.client {
            Ok(client) => client,
            Err(problem) => return Books::Open(format!("the audit cannot be asked: {problem}")),
        };
        let Ok(from) = (began - CLOCKS).format(&Rfc3339) else {
            return Books::Unread("this machine has no usable clock".to_owned());
        };
        loop {
            let mut words = vec![("from", from.clone())];
            if self.has_role {
                // Whole seconds, the last of them for the answer's way back.
                let left = end.saturating_duration_since(Instant::now()).as_secs();
                words.push(("within", left.saturating_sub(1).max(1).to_string()));
            }
            let asked = async { read::<Audit>(&client.get("/api/v1/audit", &words).await?) };
            let audit = match timeout_at(end, asked).await {
                Ok(Ok(audit)) => audit,
                // A role that starts again answers a moment later.
                Ok(Err(failure)) if failure.exit != Exit::Usage && Instant::now() + POLL < end => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Ok(Err(failure)) => return Books::Open(failure.message),
                Err(_) => {
                    return Books::Open("the audit does not answer before the deadline".to_owned());
                }
            };
            if audit.gaps + audit.double_fates > 0 {
                return Books::Open(findings(&audit));
            }
            let in_flight = count(audit.in_flight, "record");
            let Some(ours) = ours else {
                return Books::Open(format!(
                    "not all of this run has a fate: no gap among what was looked at, {in_flight} in flight"
                ));
            };
            if ours.iter().all(|raw| is_looked_at(&audit, raw)) {
                let (ours, records) =
                    (ours.len(), count(audit.records - audit.in_flight, "record"));
                return Books::Closed(format!(
                    "all {ours} records of this run were looked at, no gap among {records}"
                ));
            }
            if Instant::now() + POLL >= end {
                let look = if self.has_role {
                    ""
                } else {
                    ": it looks every --audit-seconds, so wait longer with --deadline"
                };
                return Books::Unread(format!(
                    "recovery has not looked at all records of this run, {in_flight} in flight{look}"
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn is_looked_at(audit: &Audit, (partition, offset): &Raw) -> bool {
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
        "{gaps} and {doubles}{}: eventflow audit --from 10m",
        first.unwrap_or_default()
    ))
}

/// `topic:partition:offset`, as recovery writes places.
fn raw(place: &str) -> Option<Raw> {
    let mut parts = place.rsplitn(3, ':');
    let (offset, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().map(|_| (partition, offset))
}

async fn trace(client: &Client, key: &str) -> Result<Trace, Failure> {
    read(
        &client
            .get("/api/v1/trace", &[("q", key.to_owned())])
            .await?,
    )
}

fn stories<'t>(trace: &'t Trace, id: &str) -> impl Iterator<Item = &'t Story> {
    trace
        .stories
        .iter()
        .filter(move |story| story.event_id.as_deref() == Some(id))
}

fn steps(story: &Story, what: &str) -> usize {
    story.steps.iter().filter(|step| step.what == what).count()
}

/// Whether an event is one row.
fn row(trace: &Trace, id: &str) -> Seen<Row> {
    let steps_of = |what: &'static str| {
        stories(trace, id)
            .flat_map(|story| &story.steps)
            .filter(move |step| step.what == what)
            .collect::<Vec<_>>()
    };
    if let Some(letter) = steps_of("dead_lettered").first() {
        return Seen::Wrong(format!("{id} is dead-lettered: {}", letter.detail));
    }
    match steps_of("stored").as_slice() {
        [] => Seen::NotYet,
        [stored] => {
            let received = steps_of("received");
            let took = received
                .first()
                .map(|received| (stored.at - received.at).try_into().unwrap_or_default());
            Seen::Done(Row {
                took,
                raws: received
                    .iter()
                    .filter_map(|step| raw(&step.place))
                    .collect(),
            })
        }
        rows => Seen::Wrong(format!(
            "{id} is {} rows: a unique index is missing",
            rows.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recovery::model::Step;

    fn story(id: &str, steps: &[(&str, i64)]) -> Story {
        let steps = steps.iter().map(|(what, at)| Step {
            at: Time::UNIX_EPOCH + time::Duration::milliseconds(*at),
            what: (*what).to_owned(),
            place: format!("events.raw.v1:2:{at}"),
            detail: "validator: unknown_event_type".to_owned(),
            delay_seconds: 0.0,
        });
        let (entity_key, trace_id, signature) = (None, None, None);
        let (source, verified_again) = (Some("payment-authorized".to_owned()), None);
        let fate = String::new();
        Story {
            event_id: Some(id.to_owned()),
            source,
            entity_key,
            trace_id,
            fate,
            steps: steps.collect(),
            signature,
            verified_again,
        }
    }

    fn judged(stories: Vec<Story>) -> Result<Option<Row>, String> {
        match row(
            &Trace {
                asked: "a".to_owned(),
                stories,
                truncated: false,
            },
            "a",
        ) {
            Seen::Done(row) => Ok(Some(row)),
            Seen::NotYet => Ok(None),
            Seen::Wrong(text) => Err(text),
        }
    }

    #[test]
    fn a_row_is_one_row_of_this_event_and_no_dead_letter() {
        assert_eq!(judged(Vec::new()), Ok(None));
        assert_eq!(judged(vec![story("a", &[("received", 5)])]), Ok(None));
        assert_eq!(
            judged(vec![story("b", &[("received", 5), ("stored", 8)])]),
            Ok(None),
            "another event's"
        );
        let known = Row {
            took: Some(Duration::from_millis(3)),
            raws: vec![(2, 5), (2, 9)],
        };
        let again = story(
            "a",
            &[
                ("received", 5),
                ("stored", 8),
                ("received", 9),
                ("duplicate", 10),
            ],
        );
        assert_eq!(judged(vec![again]), Ok(Some(known)));
        assert_eq!(
            judged(vec![story("a", &[("stored", 8)])]),
            Ok(Some(Row {
                took: None,
                raws: Vec::new()
            }))
        );
        let two = judged(vec![
            story("a", &[("stored", 8)]),
            story("a", &[("stored", 9)]),
        ]);
        assert!(two.is_err_and(|text| text.contains("2 rows")));
        let dead = judged(vec![story("a", &[("received", 5), ("dead_lettered", 6)])]);
        assert!(dead.is_err_and(|text| text.contains("unknown_event_type")));
    }
}
