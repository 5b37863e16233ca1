//! The edge on the embedded broker: every answer, and no 200 before the acknowledgement.

#![allow(clippy::unwrap_used, reason = "a test")]

mod answers;
mod docs;
mod listener;
mod outages;
mod settings;
mod world;
