//! What consumers read: [`datum`] an event as Avro, [`framing`] the schema's id before it, [`content`] whether two are the same.

pub mod content;
pub mod datum;
pub mod framing;
