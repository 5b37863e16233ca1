//! The console as a browser meets it, on a private PostgreSQL: who gets in, what a form may do, and a dead letter's way to a replay.

#![allow(clippy::unwrap_used, reason = "a test")]

mod access;
mod lists;
mod pipeline;
mod story;
mod world;
