//! What consumers read: [`datum`] an event as Avro, [`framing`] the schema's id before it.

pub mod datum;
pub mod framing;
