//! One event's story: complete, in order, verified again, and by index only.

#![allow(clippy::unwrap_used, reason = "a test")]

mod apart;
mod by_index;
#[path = "../story/mod.rs"]
mod story;
mod whole;

use recovery::model::Trace;
use recovery::query::trace;
use story::World;

async fn traced(world: &World, asked: &str) -> Trace {
    trace::trace(&world.recovery, asked).await.unwrap()
}
