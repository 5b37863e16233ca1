//! The loop on the embedded broker, with faults injected: what is committed is what has reached its next home.

#![allow(clippy::unwrap_used, reason = "a test")]

mod holding;
mod outcomes;
mod retry;
mod settling;
mod world;
