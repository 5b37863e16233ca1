//! The fates of webhooks, as recovery knows them: queries repeated until they are answered or the deadline passes.

use super::edge::Posted;
use super::stored::{
    Lookup, RawPosition, StoredEvent, has_duplicate, raw_position, stored_event, trace,
};
use crate::oncall::{Client, CommandError, Exit, Target, line, read};
use recovery::model::{DeadLetter, DeadLetterPage};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Between two queries.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// What the broken webhook is dead-lettered for.
const CODE: &str = "missing_field";
/// In the audit log.
const REASON: &str = "broken on purpose by eventflow smoke";

/// Where fates are looked up, and until when.
pub(super) struct Fates {
    pub(super) client: Result<Client, String>,
    /// A running role audits Kafka on request; the database alone cannot
    pub(super) has_role: bool,
    until: Instant,
}

/// Why a fate is not the expected one.
#[derive(Debug)]
pub(super) enum FateError {
    /// Nothing was known of this event in time; `last` is recovery's last error, if it had one
    Late {
        id: String,
        waited: Duration,
        last: Option<String>,
    },
    /// It is another one, or cannot be known
    Wrong(String),
}

impl FateError {
    /// In one line; `look_at` says where, when recovery answered and knew nothing.
    pub(super) fn text(self, what: &str, look_at: &str) -> String {
        match self {
            Self::Late { id, waited, last } => {
                format!(
                    "{what} {id} after {} s; {}",
                    waited.as_secs(),
                    last.as_deref().unwrap_or(look_at)
                )
            }
            Self::Wrong(text) => text,
        }
    }
}

impl Fates {
    /// A connection that is refused (a wrong token) is wrong usage; one that does not work yet fails the checks.
    pub(super) async fn open(target: Target, until: Instant) -> Result<Self, CommandError> {
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
            Ok(Err(error)) if error.exit == Exit::Usage => return Err(error),
            Ok(Err(error)) => Err(error.message),
            Err(_) => Err("recovery does not answer in time; check its /ready".to_owned()),
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

    fn client(&self) -> Result<&Client, FateError> {
        self.client
            .as_ref()
            .map_err(|problem| FateError::Wrong(format!("fates cannot be looked up: {problem}")))
    }

    /// Queries until the fate is found, wrong, or the deadline passes.
    async fn until<T>(
        &self,
        id: &str,
        query: impl AsyncFn(&Client) -> Result<Lookup<T>, CommandError>,
    ) -> Result<T, FateError> {
        let (client, began) = (self.client()?, Instant::now());
        // For a first query that the deadline cuts off; afterwards the last error stands.
        let mut last = Some("recovery does not answer in time; check its /ready".to_owned());
        loop {
            last = match timeout_at(self.until, query(client)).await {
                Ok(Ok(Lookup::Found(found))) => return Ok(found),
                Ok(Ok(Lookup::Wrong(text))) => return Err(FateError::Wrong(line(&text))),
                Ok(Ok(Lookup::Pending)) => None,
                Ok(Err(error)) if error.is("not_found") => None,
                Ok(Err(error)) if error.exit == Exit::Usage => {
                    return Err(FateError::Wrong(error.message));
                }
                Ok(Err(error)) => Some(error.message),
                Err(_) => last,
            };
            if Instant::now() + POLL >= self.until {
                return Err(FateError::Late {
                    id: id.to_owned(),
                    waited: began.elapsed(),
                    last,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until each is one row.
    pub(super) async fn rows_of_each(
        &self,
        posted: &[Posted],
    ) -> Result<Vec<StoredEvent>, FateError> {
        let mut rows = Vec::new();
        for id in posted.iter().flat_map(Posted::ids) {
            rows.extend(self.rows(&id, &[&id]).await?);
        }
        Ok(rows)
    }

    /// The same of a batch, whose events have payments in common.
    pub(super) async fn rows_of_batch(
        &self,
        posted: &Posted,
    ) -> Result<Vec<StoredEvent>, FateError> {
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

    async fn rows(&self, key: &str, ids: &[&str]) -> Result<Vec<StoredEvent>, FateError> {
        self.until(key, async |client| {
            let trace = trace(client, key).await?;
            let mut rows = Vec::new();
            for id in ids {
                match stored_event(&trace, id) {
                    Lookup::Found(row) => rows.push(row),
                    Lookup::Pending => return Ok(Lookup::Pending),
                    Lookup::Wrong(text) => return Ok(Lookup::Wrong(text)),
                }
            }
            Ok(Lookup::Found(rows))
        })
        .await
    }

    /// Waits until an event that was sent again is known as a duplicate and still is one row.
    pub(super) async fn one_row(&self, posted: &Posted) -> Result<StoredEvent, FateError> {
        let id = &posted.events[0].id;
        self.until(id, async |client| {
            let trace = trace(client, id).await?;
            let again = has_duplicate(&trace, id);
            Ok(match stored_event(&trace, id) {
                Lookup::Found(_) if !again => Lookup::Pending,
                found => found,
            })
        })
        .await
    }

    /// Waits for the dead letter of a broken event, and discards it: a stack that is checked often must not fill on-call's list.
    pub(super) async fn dead_letter(
        &self,
        posted: &Posted,
    ) -> Result<(String, Option<RawPosition>), FateError> {
        let id = &posted.events[0].id;
        let parameters = [
            ("event_id", id.clone()),
            ("state", "open,replaying,resolved,discarded".to_owned()),
        ];
        let letters = self
            .until(id, async |client| {
                let found: DeadLetterPage =
                    read(&client.get("/api/v1/dead-letters", &parameters).await?)?;
                Ok(match found.letters.as_slice() {
                    [] => Lookup::Pending,
                    // An edge that got no acknowledgement in time answers 503, and what is sent again may be there twice.
                    all => match all.iter().find(|letter| letter.code != CODE) {
                        None => Lookup::Found(all.to_vec()),
                        Some(other) => Lookup::Wrong(format!(
                            "dead letter {} is {}, not {CODE}: {}",
                            other.id, other.code, other.detail
                        )),
                    },
                })
            })
            .await?;
        let (mut found, mut last) = (Vec::new(), None);
        for letter in &letters {
            let end = self.discard(letter).await;
            found.push(format!(
                "dead letter {} {CODE} at {}, {end}",
                letter.id, letter.stage
            ));
            last = raw_position(&letter.origin);
        }
        Ok((line(&format!("answered 200, {}", found.join("; "))), last))
    }

    async fn discard(&self, letter: &DeadLetter) -> String {
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
            Ok(Err(error)) if error.is("role_too_low") => "the token may only read".to_owned(),
            Ok(Err(error)) => error.message,
            Err(_) => "no answer in time".to_owned(),
        };
        format!(
            "left open ({why}): eventflow dlq discard {} --reason smoke",
            letter.id
        )
    }
}
