//! A selection frozen into exact items.

use super::MAX_ITEMS;
use crate::audit_log::{self, Entry};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{JobKind, Selection};
use crate::query::{known, select::push_conditions};
use crate::replay::{approval, revalidation};
use sqlx::{Acquire, PgConnection, QueryBuilder};
use std::time::Duration;

/// What is to be planned.
pub(super) struct Wanted<'a> {
    pub(super) kind: JobKind,
    pub(super) who: &'a str,
    pub(super) selection: &'a Selection,
    pub(super) reason: &'a str,
    pub(super) key: &'a str,
    pub(super) policy: Option<&'a str>,
}

/// Longest a plan may take: of a million dead letters.
const DEADLINE: Duration = Duration::from_secs(150);

/// No letter or digit that can be taken for another.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

fn new_id() -> String {
    (0..8)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}

pub(super) async fn plan(context: &Context, wanted: &Wanted<'_>) -> Result<String, RecoveryError> {
    if wanted.who.trim().is_empty() {
        return Err(RecoveryError::Invalid(
            "give the name of who plans it".to_owned(),
        ));
    }
    if !(1..=200).contains(&wanted.key.len()) || wanted.key.contains('\0') {
        return Err(RecoveryError::Invalid(
            "an idempotency key must have 1 to 200 bytes, none of them NUL".to_owned(),
        ));
    }
    if wanted.kind == JobKind::Replay {
        known::check(context, wanted.selection).await?;
    }
    let planning = async {
        let mut connection = context.pool.acquire().await?;
        if let Some(id) = known(&mut connection, wanted).await? {
            return Ok(id);
        }
        let mut transaction = connection.begin().await?;
        // A million items are one statement; the usual limit is for the hot path.
        sqlx::query("SET LOCAL statement_timeout = '120s'")
            .execute(&mut *transaction)
            .await?;
        let id = new_id();
        let inserted = sqlx::query(
            "INSERT INTO replay_jobs (id, selection, reason, created_by, idempotency_key, policy, items, needs_confirmation, kind)
             VALUES ($1, $2::json, $3, $4, $5, $6, 0, true, $7) ON CONFLICT DO NOTHING",
        )
        .bind(&id)
        .bind(text_of(wanted.selection)?)
        .bind(audit_log::clean(wanted.reason))
        .bind(audit_log::clean(wanted.who))
        .bind(wanted.key)
        .bind(wanted.policy.map(audit_log::clean))
        .bind(wanted.kind)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            // Somebody else planned with this key just now: their job is the answer.
            transaction.rollback().await?;
            let id = known(&mut connection, wanted).await?;
            return id.ok_or_else(|| {
                RecoveryError::Unavailable("a new job's id was taken; try again".to_owned())
            });
        }
        let Frozen {
            items,
            edited,
            unverified,
            not_genuine,
        } = match wanted.kind {
            JobKind::Replay => freeze(&mut transaction, &id, wanted.selection).await?,
            JobKind::Revalidation => Frozen {
                items: revalidation::freeze(
                    &mut transaction,
                    context,
                    &id,
                    wanted.selection,
                    most(wanted.selection),
                )
                .await?,
                ..Frozen::default()
            },
        };
        if items == 0 {
            return Err(RecoveryError::NotFound(nothing(wanted)));
        }
        if items > MAX_ITEMS {
            return Err(RecoveryError::Invalid(format!(
                "more than {MAX_ITEMS} {}s are selected; narrow the selection, or take them in parts with --limit",
                wanted.kind.item()
            )));
        }
        if not_genuine > 0 {
            return Err(RecoveryError::WrongState(format!(
                "{not_genuine} of the {items} selected dead letters are unverified: anybody may have sent them. Say of those that the vendor sent that they are \
                 genuine (eventflow dlq genuine), discard the others, or leave them out of the selection"
            )));
        }
        let above = usize::try_from(items).is_ok_and(|items| items > context.args.confirm_above);
        let needs_confirmation = above || !wanted.selection.has_filter();
        sqlx::query(
            "UPDATE replay_jobs SET items = $2, needs_confirmation = $3, edited = $4, unverified = $5 WHERE id = $1",
        )
        .bind(&id)
        .bind(i32::try_from(items).unwrap_or(i32::MAX))
        .bind(needs_confirmation)
        .bind(edited)
        .bind(unverified)
        .execute(&mut *transaction)
        .await?;
        let counts = serde_json::json!({"items": items});
        let entry = Entry {
            who: wanted.who,
            action: match wanted.kind {
                JobKind::Replay => "replay.plan",
                JobKind::Revalidation => "revalidation.plan",
            },
            job: Some(&id),
            reason: wanted.reason,
            counts,
            letter: None,
        };
        audit_log::write(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(id)
    };
    tokio::time::timeout(DEADLINE, planning)
        .await
        .unwrap_or_else(|_| Err(store::silent().into()))
}

fn text_of(selection: &Selection) -> Result<String, RecoveryError> {
    serde_json::to_string(selection).map_err(|error| RecoveryError::Invalid(error.to_string()))
}

/// Why there is nothing to plan.
fn nothing(wanted: &Wanted<'_>) -> String {
    match wanted.kind {
        JobKind::Replay => "no open dead letter is selected; list them with `eventflow dlq ls` and the same selection".to_owned(),
        JobKind::Revalidation => format!(
            "of the events of {} that are selected, none is stored under the generic contract or an older version of one that recovery has (--contracts)",
            wanted.selection.source.join(", ")
        ),
    }
}

/// Most items that a selection comes to: one more than there may be, to see that there are more.
fn most(selection: &Selection) -> i64 {
    let limit = selection.limit.map_or(MAX_ITEMS + 1, i64::from);
    limit.min(MAX_ITEMS + 1)
}

/// The job of this key, if there is one and it is of the same selection.
async fn known(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
) -> Result<Option<String>, RecoveryError> {
    let found: Option<(String, String, JobKind)> = sqlx::query_as(
        "SELECT id, selection::text, kind FROM replay_jobs WHERE idempotency_key = $1",
    )
    .bind(wanted.key)
    .fetch_optional(connection)
    .await?;
    let Some((id, selection, kind)) = found else {
        return Ok(None);
    };
    if kind == wanted.kind
        && serde_json::from_str::<Selection>(&selection).ok().as_ref() == Some(wanted.selection)
    {
        return Ok(Some(id));
    }
    Err(RecoveryError::WrongState(format!(
        "this idempotency key belongs to replay {id} of another selection; use a new key"
    )))
}

/// What a selection came to.
#[derive(Default, sqlx::FromRow)]
struct Frozen {
    items: i64,
    /// One of them is an edited value
    edited: bool,
    /// One of them was not verified
    unverified: bool,
    /// So many of those nobody has called genuine
    not_genuine: i64,
}

/// The items in one statement, the oldest first: what happened to one entity is replayed in its order.
async fn freeze(
    connection: &mut PgConnection,
    id: &str,
    selection: &Selection,
) -> Result<Frozen, RecoveryError> {
    let mut query = QueryBuilder::new(
        "WITH chosen AS (INSERT INTO replay_items (job_id, dead_letter_id, position, value_sha256, edit_id) SELECT ",
    );
    query.push_bind(id.to_owned());
    query.push(
        ", s.id, row_number() OVER (ORDER BY s.id), s.value_sha256, s.edit_id
          FROM (SELECT d.id, d.value_sha256, d.edit_id FROM dead_letters d WHERE d.state = 'open' AND ",
    );
    push_conditions(&mut query, selection);
    query
        .push(" ORDER BY d.id DESC LIMIT ")
        .push_bind(most(selection))
        .push(") s RETURNING dead_letter_id) SELECT count(*) AS items, coalesce(bool_or(")
        .push(approval::IS_EDITED)
        .push("), false) AS edited, coalesce(bool_or(d.unproven = 'unverified'), false) AS unverified, count(*) FILTER (WHERE ")
        .push(approval::IS_NOT_GENUINE)
        .push(") AS not_genuine FROM chosen JOIN dead_letters d ON d.id = chosen.dead_letter_id");
    Ok(query.build_query_as().fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_can_be_read_aloud_and_typed() {
        for _ in 0..1000 {
            let id = new_id();
            assert_eq!(id.len(), 8);
            assert!(!id.contains(['0', 'o', '1', 'i', 'l']), "{id}");
        }
    }
}
