//! The edge on the embedded broker: every answer, and no 200 before the acknowledgement.

#![allow(clippy::unwrap_used, reason = "a test")]

mod answers;
mod batches;
mod docs;
mod forms;
mod handshakes;
mod headers;
mod ingest;
mod listener;
mod outages;
mod presets;
mod rejections;
mod settings;
mod simulated;
mod sources;
mod unproven;
mod world;
