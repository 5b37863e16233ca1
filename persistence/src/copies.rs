//! Rows whose ids are not signed: what is a copy of a stored body is not inserted ([`store::copies`]).

use crate::rows::insert_all;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::LazyLock;
use store::copies::{self, Copies, key_of};
use store::fate::Fate;
use store::row::EventRow;

/// Table of the signed bodies.
pub(crate) const BODIES: &str = "signed_bodies";

static COPIES: LazyLock<Copies> = LazyLock::new(|| Copies::among(BODIES, "events"));

/// Inserts those that are no copies, and claims their bodies. Of a batch that has one body under several ids, the first that is stored has it.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<Vec<Fate>, sqlx::Error> {
    if rows.iter().all(|row| row.signed_body.is_none()) {
        return insert_all(connection, rows).await;
    }
    let mut fates: HashMap<usize, Fate> = COPIES
        .find(connection, rows)
        .await?
        .into_iter()
        .map(|(place, first)| (place, Fate::Copy(first)))
        .collect();
    let mut left: Vec<usize> = (0..rows.len())
        .filter(|place| !fates.contains_key(place))
        .collect();
    while !left.is_empty() {
        // Of each body, the first of those that are left; the others once it is known what became of it.
        let mut firsts = HashMap::new();
        let (now, held): (Vec<usize>, Vec<usize>) = left.iter().partition(|place| {
            let row = rows[**place];
            let Some(key) = key_of(row) else { return true };
            let first = *firsts.entry(key).or_insert(**place);
            rows[first].event.event_id == row.event.event_id
        });
        let batch: Vec<&EventRow<'_>> = now.iter().map(|place| rows[*place]).collect();
        let inserted = insert_all(connection, &batch).await?;
        fates.extend(now.into_iter().zip(inserted));
        left.clear();
        for place in held {
            let first = key_of(rows[place]).and_then(|key| firsts.get(&key).copied());
            match first.filter(|first| fates.get(first).is_some_and(has_body)) {
                Some(first) => {
                    let id = rows[first].event.event_id.to_owned();
                    drop(fates.insert(place, Fate::Copy(id)));
                }
                None => left.push(place),
            }
        }
    }
    let claiming = rows.iter().enumerate().filter_map(|(place, row)| {
        let claims = match fates.get(&place)? {
            Fate::Stored | Fate::Duplicate => true,
            Fate::StoredBefore
            | Fate::Retyped
            | Fate::Copy(_)
            | Fate::Conflict(_)
            | Fate::Refused(_) => false,
        };
        claims.then_some(*row)
    });
    let claiming: Vec<&EventRow<'_>> = claiming.collect();
    copies::claim(connection, BODIES, &claiming).await?;
    Ok((0..rows.len())
        .filter_map(|place| fates.remove(&place))
        .collect())
}

/// Whether what became of a row leaves its body with its event.
fn has_body(fate: &Fate) -> bool {
    match fate {
        Fate::Stored | Fate::StoredBefore | Fate::Retyped | Fate::Duplicate => true,
        Fate::Copy(_) | Fate::Conflict(_) | Fate::Refused(_) => false,
    }
}
