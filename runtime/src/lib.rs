//! How a service runs: configuration, telemetry, operations endpoints, Kafka, and the one consumer loop.
//!
//! Knows Kafka and HTTP, not payments. Reading order:
//! [`role`] the life of a role, [`config`] its settings, [`files`] what it loads, [`reload`] what it loads again, [`telemetry`] logs and metrics, [`exposition`] metrics read, [`health`] and [`ops`]
//! whether it can do its job, [`http`] the one server, [`memory`] the container's limit, [`kafka`] how a client connects, [`publisher`] a record is published when the broker
//! has acknowledged it, [`record`] a consumed record, [`consumer`] the loop that never steps over a record, [`breaker`] what stops a bad
//! deploy, [`connection`] what `--check --connect` tries, [`replay`] retry topics, `dead_letter` the headers of a dead letter, [`backoff`] delays between attempts, [`text`] strangers' text for people, [`faults`] bugs and crashes that tests switch on, [`registry`] schemas by id.

pub mod admin;
pub mod backoff;
pub mod best_effort;
pub mod breaker;
pub mod clock;
pub mod config;
mod config_error;
pub mod connection;
pub mod consumer;
mod dead_letter;
pub mod exposition;
pub mod faults;
pub mod files;
pub mod health;
pub mod http;
pub mod http_client;
pub mod kafka;
pub mod memory;
pub mod metrics;
pub mod ops;
pub mod publisher;
pub mod record;
pub mod registry;
pub mod reload;
pub mod replay;
pub mod role;
pub mod telemetry;
pub mod text;
pub mod traceparent;
