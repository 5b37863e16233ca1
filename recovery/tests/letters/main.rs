//! Questions of on-call against a model in memory, pages, export, limits.

#![allow(clippy::unwrap_used, reason = "a test")]

mod counters;
mod export;
#[allow(missing_docs, unreachable_pub, reason = "a test")]
#[path = "../index_world/mod.rs"]
mod index_world;
mod limits;
mod questions;

use contracts::RejectionCode;
use index_world::{Made, World, body, ours, take, world};

const CODES: [RejectionCode; 4] = [
    RejectionCode::NotJson,
    RejectionCode::MissingField,
    RejectionCode::InvalidAmount,
    RejectionCode::Conflict,
];

/// 600 dead letters of several codes, sources, types and states.
async fn filled() -> World {
    let world = world().await;
    let batch: Vec<Made> = (0..600_i64)
        .map(|offset| {
            let made = ours(offset, CODES[usize::try_from(offset % 4).unwrap()])
                .with("ef.source", format!("s{}", offset % 3));
            Made {
                value: Some(body(&format!("evt-{offset}"), &format!("t{}", offset % 5))),
                ..made
            }
        })
        .collect();
    take(&mut world.index(), &batch).unwrap();
    for settle in [
        "UPDATE dead_letters SET state = 'resolved', resolution = 'stored', settled_at = now() - interval '1 hour' WHERE id % 3 = 0",
        "UPDATE dead_letters SET state = 'discarded', reason = 'why', settled_at = now() - interval '2 hours' WHERE id % 7 = 0",
        "UPDATE dead_letters SET state = 'replaying' WHERE id % 11 = 0 AND state = 'open'",
    ] {
        sqlx::query(settle).execute(&world.pool).await.unwrap();
    }
    world
}
