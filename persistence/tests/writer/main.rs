//! The storing transaction on a real PostgreSQL: one row an event, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test")]

mod content;
mod copied;
mod copies;
mod faults;
mod indexes;
mod partitions;
mod retyped;
mod rows;
mod world;
