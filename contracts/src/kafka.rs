//! Names on Kafka: [`topics`] and the [`headers`] of a record.

pub mod headers;
pub mod topics;
