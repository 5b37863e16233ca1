//! Fixed vectors, one row an error, rotation, and what is refused at start.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
mod faults;
mod schemes;
mod vectors;
