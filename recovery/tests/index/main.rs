//! The index on a real PostgreSQL: one row a dead event, whatever is read twice, fails again or is hostile.

#![allow(clippy::unwrap_used, reason = "a test")]

mod again;
mod flood;
mod hostile;
#[allow(missing_docs, unreachable_pub, reason = "a test")]
#[path = "../index_world/mod.rs"]
mod index_world;
mod retention;
mod rows;
