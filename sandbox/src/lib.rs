//! What the demo, the benchmark, the tests and the chaos runs use instead of a cluster: an embedded [`broker`], a real [`kafka`], a private
//! [`postgres`], and the [`harness`] and the [`proxy`] that tests share. No production image contains it.

pub mod broker;
pub mod harness;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod proxy;
