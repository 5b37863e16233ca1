//! The recovery API as its clients meet it: the routes by `oneshot` on a private PostgreSQL, and the listener over TLS.

#![allow(clippy::unwrap_used, reason = "a test")]

mod guard;
mod listener;
mod work;
mod world;
