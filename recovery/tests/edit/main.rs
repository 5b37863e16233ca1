//! Edits: checked before they are taken, the original kept, and never another event.

#![allow(clippy::unwrap_used, reason = "a test")]

mod discard;
mod genuine;
mod key;
mod one;
mod patch;
#[path = "../replay/mod.rs"]
mod replay;

use recovery::model::EditSummary;
use replay::{Dead, World};

const ONE: EditSummary = EditSummary {
    changed: 1,
    unchanged: 0,
};
const SAME: EditSummary = EditSummary {
    changed: 0,
    unchanged: 1,
};

async fn dead(world: &World, group: &str, offset: i64, value: &[u8]) -> i64 {
    world
        .dead(&Dead {
            group,
            raw: (0, offset),
            value: Some(value),
            ..Dead::default()
        })
        .await
}

async fn current(world: &World, id: i64) -> Option<Vec<u8>> {
    let value = sqlx::query_scalar(
        "SELECT e.value FROM dead_letters d JOIN edits e ON e.id = d.edit_id WHERE d.id = $1",
    );
    value.bind(id).fetch_optional(&world.pool).await.unwrap()
}
