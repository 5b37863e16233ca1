//! Many dead letters at once: patched, all or none; given up.

use super::apply::{self, Author, Change};
use super::once::Once;
use super::{Edited, MOST_BYTES, number, value};
use crate::audit_log::{self, Entry, clean};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Selection;
use crate::query::select::push_conditions;
use crate::replay::jobs::within;
use crate::replay::runner::letter::{self, Letter};
use sqlx::{PgConnection, QueryBuilder};

/// Most dead letters of one patch: they are locked until it is through.
const MOST_PATCHED: i64 = 100_000;
const PAGE: usize = 100;
const DISCARDED_AT_ONCE: i64 = 5_000;
/// A count for a person ends here.
const MOST_COUNTED: i64 = 1_000_000;

/// The sentence for what is larger than people expect.
fn unconfirmed(what: &str, count: u64) -> RecoveryError {
    RecoveryError::NeedsConfirmation(format!(
        "this would {what} {count} dead letters; look at them with `eventflow dlq ls` and the same selection, then say --yes"
    ))
}

fn needs_word(recovery: &Context, selection: &Selection, count: u64) -> bool {
    !selection.has_filter()
        || usize::try_from(count).is_ok_and(|count| count > recovery.args.confirm_above)
}

fn entry<'a>(
    author: &Author<'a>,
    action: &'a str,
    selection: &Selection,
    mut counts: serde_json::Value,
) -> Entry<'a> {
    counts["selection"] = serde_json::to_value(selection).unwrap_or_default();
    let letter = if let [one] = selection.id.as_slice() {
        Some(*one)
    } else {
        None
    };
    Entry {
        who: author.who,
        action,
        letter,
        reason: author.reason,
        counts,
        job: None,
    }
}

/// Database work. A statement that took too long is not an outage: asked again, it would take as long.
async fn work<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RecoveryError> {
    within(async { work.await.map_err(too_long) }).await
}

fn too_long(error: sqlx::Error) -> RecoveryError {
    match store::fault::sqlstate(&error).as_deref() {
        Some("57014") => RecoveryError::Invalid(
            "the selection takes the database too long; narrow it with --code, --group or --since, or take it in parts with --limit"
                .to_owned(),
        ),
        _ => error.into(),
    }
}

pub(super) async fn patch(
    recovery: &Context,
    author: &Author<'_>,
    selection: &Selection,
    patch: &str,
    key: &str,
    yes: bool,
) -> Result<Edited, RecoveryError> {
    apply::name(author.who)?;
    let once = Once::new(key, selection, patch)?;
    let marked = number::read(patch).map_err(|error| RecoveryError::Invalid(error.to_string()))?;
    let patch: json_patch::Patch = serde_json::from_value(marked).map_err(|error| {
        RecoveryError::Invalid(format!(
            "not a JSON Patch (RFC 6902), as [{{\"op\":\"replace\",\"path\":\"/payload/currency\",\"value\":\"EUR\"}}]: {error}"
        ))
    })?;
    let mut transaction = work(recovery.pool.begin()).await?;
    if let Some(answer) = within(once.begin(&mut transaction)).await? {
        return Ok(answer);
    }
    let ids = work(selected(&mut transaction, selection)).await?;
    if ids.is_empty() {
        return Err(RecoveryError::NotFound(
            "no open dead letter is selected: nothing to patch".to_owned(),
        ));
    }
    if ids.len() as i64 > MOST_PATCHED {
        return Err(RecoveryError::Invalid(format!(
            "more than {MOST_PATCHED} dead letters are selected; patch them in parts with --limit"
        )));
    }
    if needs_word(recovery, selection, ids.len() as u64) && !yes {
        return Err(unconfirmed("patch", ids.len() as u64));
    }
    let mut edited = Edited {
        changed: 0,
        unchanged: 0,
    };
    for page in ids.chunks(PAGE) {
        let letters = work(letter::load(&mut transaction, page)).await?;
        let mut changes: Vec<(Letter, Change)> = Vec::with_capacity(letters.len());
        for letter in letters {
            match patched(recovery, &letter, &patch).await? {
                Some(change) => changes.push((letter, change)),
                None => edited.unchanged += 1,
            }
        }
        edited.changed += changes.len() as u64;
        work(apply::write(&mut transaction, author, &changes)).await?;
    }
    let counts = serde_json::json!({"changed": edited.changed, "unchanged": edited.unchanged});
    work(async {
        audit_log::write(
            &mut transaction,
            entry(author, "dead_letter.patch", selection, counts),
        )
        .await?;
        once.end(&mut transaction, &edited).await?;
        transaction.commit().await
    })
    .await?;
    Ok(edited)
}

async fn patched(
    recovery: &Context,
    letter: &Letter,
    patch: &json_patch::Patch,
) -> Result<Option<Change>, RecoveryError> {
    let text = value::text(recovery, letter, letter.outgoing()).await?;
    let before = number::read(&text).map_err(|error| value::not_json(letter.id, &error))?;
    let mut document = before.clone();
    json_patch::patch(&mut document, patch).map_err(|error| {
        RecoveryError::Invalid(format!(
            "dead letter {} cannot take the patch: {}",
            letter.id,
            clean(&error.to_string())
        ))
    })?;
    if document == before {
        return Ok(None);
    }
    let text = number::write(&document);
    if text.len() > MOST_BYTES {
        return Err(RecoveryError::Invalid(format!(
            "dead letter {} would have more than {MOST_BYTES} bytes",
            letter.id
        )));
    }
    apply::change(recovery, letter, &text).await
}

/// The selection's open dead letters, locked.
async fn selected(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<Vec<i64>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT id FROM dead_letters WHERE id IN (");
    push_open(&mut query, selection, i64::MAX, MOST_PATCHED + 1);
    query.push(") AND state = 'open' ORDER BY id FOR UPDATE");
    query.build_query_scalar().fetch_all(connection).await
}

fn push_open(
    query: &mut QueryBuilder<sqlx::Postgres>,
    selection: &Selection,
    up_to: i64,
    most: i64,
) {
    query
        .push("SELECT d.id FROM dead_letters d WHERE d.state = 'open' AND d.id <= ")
        .push_bind(up_to)
        .push(" AND ");
    push_conditions(query, selection);
    query
        .push(" ORDER BY d.id DESC LIMIT ")
        .push_bind(selection.limit.map_or(most, i64::from).min(most));
}

pub(super) async fn discard(
    recovery: &Context,
    author: &Author<'_>,
    selection: &Selection,
    yes: bool,
) -> Result<u64, RecoveryError> {
    apply::name(author.who)?;
    if author.reason.trim().is_empty() {
        return Err(RecoveryError::Invalid(
            "a discard needs a reason: it is what is left to tell why an event was given up"
                .to_owned(),
        ));
    }
    // What came after the person looked is not meant; and one statement over a flood would not end within its limit.
    let newest = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM dead_letters");
    let mut up_to: i64 = work(newest.fetch_one(&recovery.pool)).await?;
    let most = selection.limit.map_or(i64::MAX, i64::from);
    if !yes {
        let count = work(open(recovery, selection, up_to, MOST_COUNTED)).await?;
        if needs_word(recovery, selection, count as u64) && count > 0 {
            return Err(unconfirmed("discard", count as u64));
        }
    }
    let mut discarded = 0;
    while discarded < most {
        // Each part has its own time: a flood takes longer than any one of them may.
        let part = discard_some(
            recovery,
            author,
            selection,
            up_to,
            (most - discarded).min(DISCARDED_AT_ONCE),
        );
        let Some(part) = work(part).await? else { break };
        discarded += part.discarded;
        up_to = part.lowest - 1;
    }
    Ok(discarded.unsigned_abs())
}

/// How many are open, as far as `most`.
async fn open(
    recovery: &Context,
    selection: &Selection,
    up_to: i64,
    most: i64,
) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (");
    push_open(&mut query, selection, up_to, most);
    query.push(") AS wanted");
    query.build_query_scalar().fetch_one(&recovery.pool).await
}

/// A part of a discard.
struct Part {
    discarded: i64,
    /// The lowest number looked at: what is left is below
    lowest: i64,
}

/// Gives up the newest so many, in one transaction with its entry in the log; none when none are open. The second time there are none:
/// nothing is changed, nothing is logged.
async fn discard_some(
    recovery: &Context,
    author: &Author<'_>,
    selection: &Selection,
    up_to: i64,
    most: i64,
) -> Result<Option<Part>, sqlx::Error> {
    let mut transaction = recovery.pool.begin().await?;
    let mut query = QueryBuilder::new("");
    push_open(&mut query, selection, up_to, most);
    let ids: Vec<i64> = query
        .build_query_scalar()
        .fetch_all(&mut *transaction)
        .await?;
    let Some(lowest) = ids.iter().min().copied() else {
        return Ok(None);
    };
    // In the order of their numbers, as everybody locks them.
    let lock =
        "SELECT id FROM dead_letters WHERE id = ANY($1) AND state = 'open' ORDER BY id FOR UPDATE";
    let ids: Vec<i64> = sqlx::query_scalar(lock)
        .bind(ids)
        .fetch_all(&mut *transaction)
        .await?;
    let discard = "UPDATE dead_letters SET state = 'discarded', settled_at = clock_timestamp(), settled_by = $2, reason = $3
         WHERE id = ANY($1)";
    let discard = sqlx::query(discard)
        .bind(ids)
        .bind(clean(author.who))
        .bind(clean(author.reason));
    let discarded = discard.execute(&mut *transaction).await?.rows_affected();
    if discarded > 0 {
        let counts = serde_json::json!({"discarded": discarded});
        audit_log::write(
            &mut transaction,
            entry(author, "dead_letter.discard", selection, counts),
        )
        .await?;
        transaction.commit().await?;
    }
    Ok(Some(Part {
        discarded: i64::try_from(discarded).unwrap_or(i64::MAX),
        lowest,
    }))
}
