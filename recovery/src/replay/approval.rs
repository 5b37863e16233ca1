//! Four eyes: which replays need a second person, and who that may be. Asked when a replay is applied, and again by the role that sends it,
//! whose settings count.
//!
//! A replay needs one when it is of many dead letters or of a selection without a filter; when it sends a value that a person edited, or a
//! webhook that a person called genuine; and when it is small, but its planner's replays of the last day, none of them approved, come to many.

use crate::config::PipelineArgs;
use crate::context::person;
use crate::error::RecoveryError;
use crate::model::JobKind;
use sqlx::{FromRow, PgConnection};

/// Whether a dead letter `d` holds, or would be sent as, a value that a person edited: an edit, or what came back of one.
pub(crate) const IS_EDITED: &str =
    "(d.edit_id IS NOT NULL OR d.replay_count > 0 AND d.headers::text LIKE '%\"ef.edited_by\"%')";

/// Whether a dead letter `d` is unverified, and nobody has said that it is genuine: no replay sends it.
pub(crate) const IS_NOT_GENUINE: &str = "(d.unproven = 'unverified' AND d.genuine_by IS NULL)";

/// Of others of the same planner, those that were started before: of two that are started at once, the second is too much.
const STATE: &str = "SELECT j.kind, j.policy IS NULL AS of_person, j.created_by, j.approved_by IS NOT NULL AS approved, j.needs_confirmation,
        j.edited, j.unverified, j.items::bigint AS items,
        coalesce((SELECT sum(o.items) FROM replay_jobs o
                  WHERE o.created_by = j.created_by AND o.policy IS NULL AND o.approved_by IS NULL AND o.id <> j.id
                    AND o.started_at > clock_timestamp() - interval '24 hours'
                    AND (j.started_at IS NULL OR (o.started_at, o.id) < (j.started_at, j.id))), 0)::bigint AS of_others
     FROM replay_jobs j WHERE j.id = $1";

#[derive(FromRow)]
struct Approval {
    kind: JobKind,
    of_person: bool,
    created_by: String,
    approved: bool,
    needs_confirmation: bool,
    edited: bool,
    unverified: bool,
    items: i64,
    of_others: i64,
}

/// Why a job may not be sent without a second person; none when it may.
pub(crate) async fn missing(
    connection: &mut PgConnection,
    job: &str,
    args: &PipelineArgs,
) -> Result<Option<String>, sqlx::Error> {
    if !args.require_approval {
        return Ok(None);
    }
    let known: Approval = sqlx::query_as(STATE)
        .bind(job)
        .fetch_one(connection)
        .await?;
    if known.approved {
        return Ok(None);
    }
    let is_many = |items: i64| usize::try_from(items).is_ok_and(|items| items > args.confirm_above);
    let together = known.items + known.of_others;
    Ok(if known.edited {
        Some("it sends edited values".to_owned())
    } else if known.unverified {
        Some("it sends webhooks that were not verified".to_owned())
    } else if known.needs_confirmation || is_many(known.items) {
        Some(format!(
            "it is of many {}s, or of a selection without a filter",
            known.kind.item()
        ))
    } else if known.of_person && is_many(together) {
        Some(format!(
            "with it, the replays of {} in 24 hours come to {together} dead letters, more than {}",
            known.created_by, args.confirm_above
        ))
    } else {
        None
    })
}

/// One job of a person is started after the other, so that each sees those before it.
pub(crate) async fn serialize(
    connection: &mut PgConnection,
    planner: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('eventflow four eyes ' || $1, 0))")
        .bind(planner)
        .execute(connection)
        .await
        .map(drop)
}

/// Refuses an approval by anybody who planned the job, edited a value of it or called a webhook of it genuine, and where a name says nothing of a person.
pub(crate) async fn check_approver(
    connection: &mut PgConnection,
    job: &str,
    planner: &str,
    approver: &str,
) -> Result<(), RecoveryError> {
    let shared = store::connect::login(crate::SCHEMA.role);
    let no_person = |name: &str| person(name) == shared;
    if no_person(approver) {
        return Err(RecoveryError::WrongState(format!(
            "{shared} is the database login of the role, which does not say who you are: approve replay {job} through the API with your \
             token, or with a database login of your own"
        )));
    }
    let authors: Vec<(String, String)> = sqlx::query_as(
        "SELECT e.edited_by, 'edited' FROM replay_items i JOIN edits e ON e.dead_letter_id = i.dead_letter_id WHERE i.job_id = $1
         UNION SELECT d.genuine_by, 'called genuine' FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id
               WHERE i.job_id = $1 AND d.genuine_by IS NOT NULL
         UNION SELECT h.header->>1, 'edited' FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id AND d.replay_count > 0
               CROSS JOIN LATERAL json_array_elements(d.headers) h (header)
               WHERE i.job_id = $1 AND h.header->>0 = 'ef.edited_by' AND h.header->>1 IS NOT NULL",
    )
    .bind(job)
    .fetch_all(connection)
    .await?;
    let authors = authors.iter().map(|(name, what)| (&**name, &**what));
    for (name, what) in std::iter::once((planner, "planned")).chain(authors) {
        if no_person(name) {
            return Err(RecoveryError::WrongState(format!(
                "replay {job} was {what} over the database login {shared}, which does not say by whom: do it again with a token, \
                 or with a database login of one person"
            )));
        }
        if approver.trim().is_empty() || person(approver) == person(name) {
            return Err(RecoveryError::WrongState(format!(
                "replay {job} was {what} by {name}: another person must approve it"
            )));
        }
    }
    Ok(())
}
