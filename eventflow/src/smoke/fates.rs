//! What became of webhooks, as recovery knows it: the questions of on-call, asked until they are answered or it is too late.

use super::edge::Posted;
use crate::oncall::{Client, Connection, Exit, Failure, count, line, read};
use recovery::model::{Audit, Letter, Letters, Story, Time, Trace};
use serde_json::json;
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
    Late { id: String, waited: Duration, told: Option<String> },
    /// It is something else, or cannot be known
    Said(String),
}

impl Why {
    /// In one line; `look_at` says where, when recovery answered and knew nothing.
    pub(super) fn text(self, what: &str, look_at: &str) -> String {
        match self {
            Self::Late { id, waited, told } => {
                format!("{what} {id} after {} s; {}", waited.as_secs(), told.as_deref().unwrap_or(look_at))
            }
            Self::Said(text) => text,
        }
    }
}

/// The audit's verdict.
pub(super) enum Books {
    Closed(String),
    Open(String),
    /// It has not looked since
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
    pub(super) async fn open(connection: Connection, until: Instant) -> Result<Self, Failure> {
        let has_role = !connection.direct;
        let asked = async {
            let client = Client::new(connection).await?;
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
        Ok(Self { client, has_role, until })
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn client(&self) -> Result<&Client, Why> {
        self.client.as_ref().map_err(|problem| Why::Said(format!("fates cannot be looked up: {problem}")))
    }

    /// Looks until it is done, wrong, or too late.
    async fn until<T>(&self, id: &str, look: impl AsyncFn(&Client) -> Result<Seen<T>, Failure>) -> Result<T, Why> {
        let (client, began) = (self.client()?, Instant::now());
        loop {
            let told = match timeout_at(self.until, look(client)).await {
                Ok(Ok(Seen::Done(seen))) => return Ok(seen),
                Ok(Ok(Seen::Wrong(text))) => return Err(Why::Said(line(&text))),
                Ok(Ok(Seen::NotYet)) => None,
                Ok(Err(failure)) if failure.is("not_found") => None,
                Ok(Err(failure)) if failure.exit == Exit::Usage => return Err(Why::Said(failure.message)),
                Ok(Err(failure)) => Some(failure.message),
                Err(_) => Some("recovery does not answer in time".to_owned()),
            };
            if Instant::now() + POLL >= self.until {
                return Err(Why::Late { id: id.to_owned(), waited: began.elapsed(), told });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until each is one row; how long each took from the edge, where that is known.
    pub(super) async fn rows_of_each(&self, posted: &[Posted]) -> Result<Vec<Option<Duration>>, Why> {
        let mut rows = Vec::new();
        for id in posted.iter().flat_map(Posted::ids) {
            rows.extend(self.rows(&id, &[&id]).await?);
        }
        Ok(rows)
    }

    /// The same of a batch, whose events have payments in common.
    pub(super) async fn rows_of_batch(&self, posted: &Posted) -> Result<Vec<Option<Duration>>, Why> {
        let mut rows = Vec::new();
        for siblings in posted.events.chunk_by(|one, next| one.payment == next.payment) {
            let ids: Vec<&str> = siblings.iter().map(|event| event.id.as_str()).collect();
            rows.extend(self.rows(&siblings[0].payment, &ids).await?);
        }
        Ok(rows)
    }

    async fn rows(&self, key: &str, ids: &[&str]) -> Result<Vec<Option<Duration>>, Why> {
        self.until(key, async |client| {
            let trace = trace(client, key).await?;
            let mut rows = Vec::new();
            for id in ids {
                match row(&trace, id) {
                    Seen::Done(took) => rows.push(took),
                    Seen::NotYet => return Ok(Seen::NotYet),
                    Seen::Wrong(text) => return Ok(Seen::Wrong(text)),
                }
            }
            Ok(Seen::Done(rows))
        })
        .await
    }

    /// Waits until an event that was sent again is known as a duplicate and still is one row; how many further deliveries are known.
    pub(super) async fn one_row(&self, posted: &Posted) -> Result<i64, Why> {
        let id = &posted.events[0].id;
        self.until(id, async |client| {
            let trace = trace(client, id).await?;
            Ok(match row(&trace, id) {
                Seen::Done(_) => match stories(&trace, id).map(|story| steps(story, "duplicate")).sum::<usize>() {
                    0 => Seen::NotYet,
                    copies => Seen::Done(copies as i64),
                },
                Seen::NotYet => Seen::NotYet,
                Seen::Wrong(text) => Seen::Wrong(text),
            })
        })
        .await
    }

    /// Waits for the dead letter of a broken event, and discards it: a stack that is checked often must not fill on-call's list.
    pub(super) async fn letter(&self, posted: &Posted) -> Result<String, Why> {
        let id = &posted.events[0].id;
        let words = [("event_id", id.clone()), ("state", "open,replaying,resolved,discarded".to_owned())];
        let letter = self
            .until(id, async |client| {
                let found: Letters = read(&client.get("/api/v1/dead-letters", &words).await?)?;
                Ok(match found.letters.as_slice() {
                    [] => Seen::NotYet,
                    [letter] if letter.code == CODE => Seen::Done(letter.clone()),
                    [letter] => {
                        Seen::Wrong(format!("dead letter {} is {}, not {CODE}: {}", letter.id, letter.code, letter.detail))
                    }
                    many => Seen::Wrong(format!("one webhook became {}", count(many.len() as i64, "dead letter"))),
                })
            })
            .await?;
        let end = self.discard(&letter).await;
        Ok(line(&format!("answered 200, dead letter {} {CODE} at {}, {end}", letter.id, letter.stage)))
    }

    async fn discard(&self, letter: &Letter) -> String {
        let Ok(client) = self.client() else { return "left open".to_owned() };
        let wanted = json!({"selection": {"id": [letter.id]}, "reason": REASON, "yes": false});
        let why = match timeout_at(self.until, client.post("/api/v1/dead-letters/discard", &wanted)).await {
            Ok(Ok(_)) => return "discarded".to_owned(),
            Ok(Err(failure)) if failure.is("role_too_low") => "the token may only read".to_owned(),
            Ok(Err(failure)) => failure.message,
            Err(_) => "no answer in time".to_owned(),
        };
        format!("left open ({why}): eventflow dlq discard {} --reason smoke", letter.id)
    }

    /// Whether every record since `began` has exactly one fate, by a look taken after `last`.
    pub(super) async fn books(&self, began: Time, last: Instant, end: Instant) -> Books {
        let client = match &self.client {
            Ok(client) => client,
            Err(problem) => return Books::Open(format!("the audit cannot be asked: {problem}")),
        };
        let Ok(from) = (began - CLOCKS).format(&Rfc3339) else {
            return Books::Unread("this machine has no usable clock".to_owned());
        };
        let mut words = vec![("from", from)];
        if self.has_role {
            // Whole seconds, the last of them for the answer's way back.
            let left = end.saturating_duration_since(Instant::now()).as_secs();
            words.push(("within", left.saturating_sub(1).max(1).to_string()));
        }
        loop {
            let asked = async { read::<Audit>(&client.get("/api/v1/audit", &words).await?) };
            let audit = match timeout_at(end, asked).await {
                Ok(Ok(audit)) => audit,
                Ok(Err(failure)) => return Books::Open(failure.message),
                Err(_) => return Books::Open("the audit does not answer before the deadline".to_owned()),
            };
            let looked_since = audit.checkpoint_age_seconds.is_some_and(|age| age < last.elapsed().as_secs_f64());
            if looked_since || audit.gaps + audit.double_fates > 0 {
                return verdict(&audit);
            }
            if Instant::now() + POLL >= end {
                let age = audit.checkpoint_age_seconds.map_or("never".to_owned(), |age| format!("{age:.0} s ago"));
                return Books::Unread(format!(
                    "recovery looked last {age}, before this run's webhooks: it looks every --audit-seconds; wait longer with --deadline, or give --recovery-url"
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn verdict(audit: &Audit) -> Books {
    if audit.gaps + audit.double_fates == 0 {
        return Books::Closed(format!("each of the {} of this run's time has one fate", count(audit.records, "record")));
    }
    let first =
        audit.findings.first().map(|finding| format!(", such as {}:{} ({})", finding.partition, finding.offset, finding.detail));
    let (gaps, doubles) = (count(audit.gaps, "gap"), count(audit.double_fates, "double fate"));
    Books::Open(format!("{gaps} and {doubles}{}: eventflow audit --from 10m", first.unwrap_or_default()))
}

async fn trace(client: &Client, key: &str) -> Result<Trace, Failure> {
    read(&client.get("/api/v1/trace", &[("q", key.to_owned())]).await?)
}

fn stories<'t>(trace: &'t Trace, id: &str) -> impl Iterator<Item = &'t Story> {
    trace.stories.iter().filter(move |story| story.event_id.as_deref() == Some(id))
}

fn steps(story: &Story, what: &str) -> usize {
    story.steps.iter().filter(|step| step.what == what).count()
}

/// Whether an event is one row, and how long after its receipt.
fn row(trace: &Trace, id: &str) -> Seen<Option<Duration>> {
    let letter = stories(trace, id).flat_map(|story| &story.steps).find(|step| step.what == "dead_lettered");
    if let Some(letter) = letter {
        return Seen::Wrong(format!("{id} is dead-lettered: {}", letter.detail));
    }
    match stories(trace, id).map(|story| steps(story, "stored")).sum::<usize>() {
        0 => Seen::NotYet,
        1 => {
            let at =
                |what: &str| stories(trace, id).flat_map(|story| &story.steps).find(|step| step.what == what).map(|step| step.at);
            let took = at("stored").zip(at("received")).map(|(stored, received)| stored - received);
            Seen::Done(took.map(|took| took.try_into().unwrap_or_default()))
        }
        rows => Seen::Wrong(format!("{id} is {rows} rows: a unique index is missing")),
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
            place: String::new(),
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

    fn judged(stories: Vec<Story>) -> Result<Option<Option<Duration>>, String> {
        match row(&Trace { asked: "a".to_owned(), stories, truncated: false }, "a") {
            Seen::Done(took) => Ok(Some(took)),
            Seen::NotYet => Ok(None),
            Seen::Wrong(text) => Err(text),
        }
    }

    #[test]
    fn a_row_is_one_row_of_this_event_and_no_dead_letter() {
        assert_eq!(judged(Vec::new()), Ok(None));
        assert_eq!(judged(vec![story("a", &[("received", 5)])]), Ok(None));
        assert_eq!(judged(vec![story("b", &[("received", 5), ("stored", 8)])]), Ok(None), "another event's");
        assert_eq!(judged(vec![story("a", &[("received", 5), ("stored", 8)])]), Ok(Some(Some(Duration::from_millis(3)))));
        assert_eq!(judged(vec![story("a", &[("stored", 8)])]), Ok(Some(None)));
        let two = judged(vec![story("a", &[("stored", 8)]), story("a", &[("stored", 9)])]);
        assert!(two.is_err_and(|text| text.contains("2 rows")));
        let dead = judged(vec![story("a", &[("received", 5), ("dead_lettered", 6)])]);
        assert!(dead.is_err_and(|text| text.contains("unknown_event_type")));
    }
}
