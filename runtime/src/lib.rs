//! How a service lives: configuration, telemetry, operations endpoints, Kafka, and the one consumer loop.
//!
//! Knows Kafka and HTTP, not payments. Reading order:
//! [`config`] what every role is told at start, [`telemetry`] logs and metrics, [`health`] and [`ops`] what a role says of itself,
//! [`kafka`] how a client connects, [`publisher`] a record is published when the broker has acknowledged it,
//! [`record`] what is consumed, [`consumer`] the loop that never steps over a record, [`breaker`] what stops a bad deploy, [`replay`] what comes back,
//! `dead_letter` what a dead letter says of itself, [`registry`] schemas by id.

pub mod admin;
pub mod breaker;
pub mod clock;
pub mod config;
pub mod consumer;
mod dead_letter;
pub mod health;
pub mod http;
pub mod kafka;
pub mod metrics;
pub mod ops;
pub mod publisher;
pub mod record;
pub mod registry;
pub mod replay;
pub mod role;
pub mod telemetry;
pub mod traceparent;
