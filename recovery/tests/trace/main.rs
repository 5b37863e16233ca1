//! One event's timeline: complete, in order, verified again, and by index only.

#![allow(clippy::unwrap_used, reason = "a test")]

mod apart;
mod by_index;
mod search;
#[path = "../timeline/mod.rs"]
mod timeline;
mod whole;

use recovery::model::Trace;
use recovery::query::trace;
use timeline::World;

async fn traced(world: &World, asked: &str) -> Trace {
    trace::trace(&world.recovery, asked).await.unwrap()
}
