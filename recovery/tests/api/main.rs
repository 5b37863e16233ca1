//! The recovery API as its clients meet it: the routes by `oneshot` on a private PostgreSQL, and the listener over TLS.

#![allow(clippy::unwrap_used, reason = "a test")]

mod answers;
mod edits;
mod guard;
mod letters;
mod listener;
mod now;
mod replays;
mod world;
