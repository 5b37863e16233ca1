//! A chunk claimed: in one transaction its dead letters become `replaying` and its items `sending`, or it is said why not.

use super::metrics as names;
use super::replay_letter::{self, ReplayLetter};
use super::{ClaimContext, no_destination};
use crate::error::RecoveryError;
use crate::model::{DeadLetterState, JobState};
use crate::replay::{approval, state};
use contracts::pipeline::Pipeline;
use runtime::faults;
use sqlx::{Connection, FromRow, PgConnection, Postgres, Transaction};
use std::collections::BTreeMap;

/// Most records a chunk.
pub(crate) const CHUNK_RECORDS: usize = 500;
/// Most bytes of values a chunk, unless its first is larger.
const CHUNK_BYTES: i64 = 8 << 20;

/// An item as it was planned.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Planned {
    pub(crate) letter: i64,
    pub(crate) value_sha256: Option<Vec<u8>>,
    pub(crate) edit: Option<i64>,
    /// Known by the coordinates of its raw record
    pub(crate) of_raw: bool,
}

#[derive(FromRow)]
struct PlannedRow {
    #[sqlx(flatten)]
    planned: Planned,
    /// What would be sent
    bytes: i64,
}

/// What is done with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To this topic
    Send(String),
    /// Why not
    Skip(&'static str, String),
}

/// Whether a planned item may be sent, given its dead letter as it is now.
pub(crate) fn decide(
    planned: &Planned,
    letter: Option<&ReplayLetter>,
    pipeline: &Pipeline,
) -> Decision {
    let Some(letter) = letter else {
        return Decision::Skip(
            "not_open",
            "the dead letter is not in the index any more".to_owned(),
        );
    };
    match letter.state {
        _ if faults::planted("claim_unchecked") => {}
        DeadLetterState::Open => {}
        DeadLetterState::Replaying => {
            let job = letter.job.as_deref().unwrap_or("another one");
            return Decision::Skip(
                "being_replayed",
                format!("replay {job} has sent it, and its outcome is not known yet"),
            );
        }
        other @ (DeadLetterState::Resolved | DeadLetterState::Discarded) => {
            return Decision::Skip("not_open", format!("it is {other}"));
        }
    }
    if letter.value_sha256 != planned.value_sha256
        || letter.edit.as_ref().map(|edit| edit.id) != planned.edit
    {
        return Decision::Skip(
            "changed_since_planned",
            "it was edited since it was selected; plan it again".to_owned(),
        );
    }
    if !letter.is_genuine() {
        return Decision::Skip(
            "not_genuine",
            "its source was in onboarding, and nobody has said that the vendor sent it: eventflow dlq genuine, or discard it"
                .to_owned(),
        );
    }
    if letter.dropped && letter.edit.is_none() {
        return Decision::Skip(
            "value_dropped",
            "retention dropped its value, so there is nothing to send; discard it".to_owned(),
        );
    }
    let Some(topic) = pipeline.retry_of(&letter.group) else {
        return Decision::Skip(
            "destination_unknown",
            no_destination(pipeline, &letter.group),
        );
    };
    if !planned.of_raw {
        let why = "its raw record is not known (ef.raw cannot be read), so its outcome could not be found; export it, or discard it";
        return Decision::Skip("not_replayable", why.to_owned());
    }
    if letter.replay_count == i32::MAX {
        return Decision::Skip(
            "not_replayable",
            "it was replayed too often to count; export it, or discard it".to_owned(),
        );
    }
    Decision::Send(topic.to_owned())
}

/// A claimed item.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) letter: ReplayLetter,
    pub(crate) topic: String,
    pub(crate) count: i32,
}

/// Where the retry topics end, by topic and partition.
pub(crate) type Ends = BTreeMap<String, BTreeMap<i32, i64>>;

/// What a claim came to.
#[derive(Debug)]
pub(crate) enum Claim {
    /// To be sent now; empty when none of the next items may be
    Chunk(Vec<Claimed>),
    /// Nothing is sent without the word of a second person, and why
    NeedsApproval(String),
    /// The job is not running any more
    Over,
}

/// Claims the next items, at most `records`. Whether a second person must agree is this role's setting, whoever applied the job. Runs on the connection that holds the job's lock:
/// who lost the lock lost the connection, and claims nothing.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    claim: &ClaimContext<'_>,
    records: usize,
    ends: &Ends,
) -> Result<Claim, RecoveryError> {
    let mut transaction = connection.begin().await?;
    if let Some(over) = blocked(&mut transaction, claim).await? {
        return Ok(over);
    }
    let planned = next(&mut transaction, claim, records.clamp(1, CHUNK_RECORDS)).await?;
    let ids: Vec<i64> = planned.iter().map(|planned| planned.letter).collect();
    let mut letters: BTreeMap<i64, ReplayLetter> = replay_letter::lock(&mut transaction, &ids)
        .await?
        .into_iter()
        .map(|letter| (letter.id, letter))
        .collect();
    let mut decided = Decided::default();
    for planned in &planned {
        match decide(planned, letters.get(&planned.letter), claim.pipeline) {
            Decision::Send(topic) => {
                if let Some(letter) = letters.remove(&planned.letter) {
                    decided.send(letter, topic);
                }
            }
            Decision::Skip(code, detail) => decided.skip(planned.letter, code, &detail),
        }
    }
    note(transaction, claim, decided, ends).await
}

/// What is done with the items of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    claimed: Vec<Claimed>,
    /// Item, code, detail
    skipped: (Vec<i64>, Vec<&'static str>, Vec<String>),
}

impl Decided {
    pub(crate) fn send(&mut self, letter: ReplayLetter, topic: String) {
        self.claimed.push(Claimed {
            count: letter.replay_count.saturating_add(1),
            letter,
            topic,
        });
    }

    pub(crate) fn skip(&mut self, item: i64, code: &'static str, detail: &str) {
        self.skipped.0.push(item);
        self.skipped.1.push(code);
        self.skipped.2.push(crate::audit_log::clean(detail));
    }
}

/// Why nothing of the job would be claimed now.
pub(crate) async fn closed(
    connection: &mut PgConnection,
    claim: &ClaimContext<'_>,
) -> Result<Option<Claim>, RecoveryError> {
    let mut transaction = connection.begin().await?;
    blocked(&mut transaction, claim).await
}

/// As [`claim`], of items about which everything is decided: those of a revalidation, which only who holds the job's lock changes.
pub(crate) async fn claim_decided(
    connection: &mut PgConnection,
    claim: &ClaimContext<'_>,
    decided: Decided,
    ends: &Ends,
) -> Result<Claim, RecoveryError> {
    let mut transaction = connection.begin().await?;
    match blocked(&mut transaction, claim).await? {
        Some(over) => Ok(over),
        None => note(transaction, claim, decided, ends).await,
    }
}

/// Why nothing of the job may be claimed now. Its row is locked until the transaction ends.
async fn blocked(
    transaction: &mut PgConnection,
    claim: &ClaimContext<'_>,
) -> Result<Option<Claim>, RecoveryError> {
    let job: Option<JobState> =
        sqlx::query_scalar("SELECT state FROM replay_jobs WHERE id = $1 FOR UPDATE")
            .bind(claim.job)
            .fetch_optional(&mut *transaction)
            .await?;
    match job {
        Some(JobState::Running) => {}
        None
        | Some(JobState::Planned | JobState::Paused | JobState::Stopped | JobState::Finished) => {
            return Ok(Some(Claim::Over));
        }
    }
    let missing = approval::missing(transaction, claim.job, claim.args).await?;
    Ok(missing.map(Claim::NeedsApproval))
}

/// Writes down what is sent next and what is not.
async fn note(
    mut transaction: Transaction<'_, Postgres>,
    claim: &ClaimContext<'_>,
    Decided { claimed, skipped }: Decided,
    ends: &Ends,
) -> Result<Claim, RecoveryError> {
    state::skip(&mut transaction, claim.job, &skipped).await?;
    let ids: Vec<i64> = claimed.iter().map(|claimed| claimed.letter.id).collect();
    let counts: Vec<i32> = claimed.iter().map(|claimed| claimed.count).collect();
    state::claim(&mut transaction, claim.job, &ids, &counts).await?;
    let ends =
        serde_json::to_string(ends).map_err(|error| RecoveryError::Invalid(error.to_string()))?;
    sqlx::query(
        "UPDATE replay_jobs SET blocked = NULL, sending_from = $2::json, claimed_at = clock_timestamp(), claimed_by = $3 WHERE id = $1",
    )
    .bind(claim.job)
    .bind(ends)
    .bind(claim.instance)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    faults::kill_point("replay_claimed");
    metrics::counter!(names::REPLAYED, "outcome" => "skipped").increment(skipped.0.len() as u64);
    Ok(Claim::Chunk(claimed))
}

/// The next pending items in order, within the chunk's bounds.
async fn next(
    connection: &mut PgConnection,
    claim: &ClaimContext<'_>,
    records: usize,
) -> Result<Vec<Planned>, RecoveryError> {
    let rows: Vec<PlannedRow> = sqlx::query_as(
        "SELECT i.dead_letter_id AS letter, i.value_sha256, i.edit_id AS edit,
                coalesce(octet_length(d.value), 0)::bigint + coalesce(octet_length(e.value), 0) AS bytes,
                coalesce(of_raw_topic(d.origin_topic, $3) AND d.origin_group = CASE WHEN d.consumer_group = ANY($4) THEN d.consumer_group ELSE '' END,
                         false) AS of_raw
         FROM replay_items i LEFT JOIN dead_letters d ON d.id = i.dead_letter_id LEFT JOIN edits e ON e.id = d.edit_id
         WHERE i.job_id = $1 AND i.state = 'pending' ORDER BY i.position LIMIT $2",
    )
    .bind(claim.job)
    .bind(i64::try_from(records).unwrap_or(1))
    .bind(&claim.pipeline.raw)
    .bind(beside_the_path(claim.pipeline))
    .fetch_all(connection)
    .await?;
    let (mut planned, mut bytes) = (Vec::with_capacity(rows.len()), 0_i64);
    for row in rows {
        bytes = bytes.saturating_add(row.bytes);
        if bytes > CHUNK_BYTES && !planned.is_empty() {
            break;
        }
        planned.push(row.planned);
    }
    Ok(planned)
}

/// Groups of stages that are not on the path to a row: each has a dead letter of its own of a raw record.
fn beside_the_path(pipeline: &Pipeline) -> Vec<&str> {
    let beside = pipeline.stages.iter().filter(|stage| !stage.on_path);
    beside.map(|stage| stage.group.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::runner::replay_letter::EditedValue;
    use proptest::prelude::*;
    use store::row::RawPosition;

    fn letters() -> impl Strategy<Value = ReplayLetter> {
        let edit = prop::option::of(1_i64..3).prop_map(|id| {
            id.map(|id| EditedValue {
                id,
                by: "eve".to_owned(),
                value: Vec::new(),
                key: None,
            })
        });
        (
            prop::sample::select(DeadLetterState::ALL),
            prop::sample::select(vec!["v", "p", "billing", "", "v "]),
            prop::option::of(prop::collection::vec(0_u8..2, 1)),
            any::<bool>(),
            edit,
            prop::sample::select(vec![0, 3, i32::MAX]),
            prop::sample::select(vec![
                None,
                Some(("stale", None)),
                Some(("unverified", None)),
                Some(("unverified", Some("ann"))),
            ]),
        )
            .prop_map(
                |(state, group, value_sha256, dropped, edit, replay_count, unproven)| {
                    ReplayLetter {
                        id: 1,
                        state,
                        job: None,
                        group: group.to_owned(),
                        origin: RawPosition::new(0, 0),
                        replay_count,
                        key: None,
                        value: None,
                        value_sha256,
                        dropped,
                        headers: Vec::new(),
                        edit,
                        unproven: unproven.map(|(unproven, _)| unproven.to_owned()),
                        genuine_by: unproven.and_then(|(_, who)| who).map(str::to_owned),
                        revalidates: None,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn only_what_is_open_unchanged_whole_and_ours_is_sent_and_only_to_its_own_group(
            letter in prop::option::of(letters()),
            value_sha256 in prop::option::of(prop::collection::vec(0_u8..2, 1)),
            edit in prop::option::of(1_i64..3),
            of_raw in prop::bool::weighted(0.8),
        ) {
            let mut pipeline = Pipeline::built_in();
            for (stage, group, topic) in [(0, "v", "to validator"), (2, "p", "to persistence")] {
                group.clone_into(&mut pipeline.stages[stage].group);
                pipeline.stages[stage].retry = Some(topic.to_owned());
            }
            let planned = Planned { letter: 1, value_sha256, edit, of_raw };
            let may = letter.as_ref().filter(|letter| {
                letter.state == DeadLetterState::Open
                    && letter.value_sha256 == planned.value_sha256
                    && letter.edit.as_ref().map(|edit| edit.id) == planned.edit
                    && (letter.unproven.as_deref() != Some("unverified") || letter.genuine_by.is_some())
                    && (letter.edit.is_some() || !letter.dropped)
                    && ["v", "p"].contains(&letter.group.as_str())
                    && of_raw
                    && letter.replay_count < i32::MAX
            });
            match (decide(&planned, letter.as_ref(), &pipeline), may) {
                (Decision::Send(topic), Some(letter)) => {
                    prop_assert_eq!(topic, if letter.group == "v" { "to validator" } else { "to persistence" });
                }
                (Decision::Skip(code, detail), None) => {
                    prop_assert!(!detail.is_empty());
                    let being = letter.is_some_and(|letter| letter.state == DeadLetterState::Replaying);
                    prop_assert_eq!(code == "being_replayed", being);
                }
                (decision, may) => prop_assert!(false, "{:?} of {:?}", decision, may),
            }
        }
    }
}
