//! What a contract says of a payload is applied, or stops the boot; what it does not say is kept.

#![allow(clippy::unwrap_used, reason = "a test")]

mod keywords;
mod money;
mod records;
mod refused;
mod rest;
mod versions;
mod world;
