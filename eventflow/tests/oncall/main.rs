//! On-call's command line as a person and a script meet it: a process, against a served API and on the database.

#![allow(clippy::unwrap_used, reason = "a test")]

mod answers;
mod dead_letters;
mod mistakes;
mod replays;
mod terminal;
mod world;

use world::Way;

const WAYS: [Way; 2] = [Way::Api, Way::Database];
