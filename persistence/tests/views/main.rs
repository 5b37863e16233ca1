//! Typed views over the rows: their values, that they are kept in step, and that neither names nor rows of anybody break them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod hostile;
mod packs;
mod rights;
mod steps;
mod world;
