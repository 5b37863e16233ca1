//! Replays: [`edit`] what is wrong with a value, plan and run a job ([`jobs`]), try it on today's checks ([`dry_run`]), send it and follow
//! what becomes of it ([`runner`]); by itself where a [`policy`] allows it. A [`revalidation`] is a job of the same kind, of stored events.

pub(crate) mod approval;
pub mod codes;
pub mod dry_run;
pub mod edit;
pub mod jobs;
pub mod policy;
pub mod revalidation;
pub mod runner;
pub(crate) mod state;
