//! What crosses the wire: contracts, signatures, topics, headers and codes. Pure: no I/O, no clock, no tokio.
//!
//! Reading order: [`webhook`] who may post and how that is proven, [`event`] what they may post, [`avro`] what consumers read,
//! [`RejectionCode`] why a record is dead-lettered, [`kafka`] the names, [`pipeline`] the stages, their topics and their rights, [`pack`] whole domains as data.

pub mod avro;
pub mod event;
pub mod json;
pub mod kafka;
pub mod pack;
pub mod pipeline;
mod rejection;
mod secret;
pub mod webhook;

pub use rejection::{Rejection, RejectionCode};
pub use secret::Secret;
