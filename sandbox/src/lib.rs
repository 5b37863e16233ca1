//! What the demo, the benchmark and the tests run on instead of a cluster: an embedded [`broker`] and a private [`postgres`].
//! No production image contains it.

pub mod broker;
pub mod postgres;
