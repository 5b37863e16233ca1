//! On-call's command line as a person and a script meet it: a process, against a served API and straight on the database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod commands;
mod terminal;
mod world;
