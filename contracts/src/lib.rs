//! What crosses the wire: contracts, signatures, topics, headers and codes. Pure: no I/O, no clock, no tokio.
//!
//! Reading order: [`source`] who may post, [`scheme`] and [`signature`] how that is proven, [`contract`] what they may post,
//! [`money`] what an amount is, [`datum`] and [`framing`] what consumers read, [`rejection`] why a record cannot go on,
//! [`topics`] and [`headers`] the names, [`topology`] who may use them.

pub mod contract;
pub mod datum;
pub mod framing;
pub mod headers;
mod locator;
mod mac;
pub mod money;
mod plan;
mod rejection;
pub mod scheme;
mod secret;
pub mod signature;
pub mod source;
mod template;
pub mod topics;
pub mod topology;

pub use rejection::{Rejection, RejectionCode};
pub use secret::Secret;
