//! What the demo, the benchmark and the tests run on instead of a cluster: an embedded [`broker`] and a private [`postgres`], and the
//! [`harness`] and the [`proxy`] that tests share. No production image contains it.

pub mod broker;
pub mod harness;
pub mod postgres;
pub mod proxy;
