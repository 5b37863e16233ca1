//! The stage on a database that is slow, or locked, or silent.

#![allow(clippy::unwrap_used, reason = "a test")]

mod failover;
mod locked;
mod refused;
mod silent;
mod world;
