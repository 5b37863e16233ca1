//! The whole pipeline, every role a process of its own, proven from outside: on a real Apache Kafka with processes killed, the broker
//! stopped and members joining, over SCRAM and mTLS; and embedded, as the demo runs it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod acknowledgements;
mod attacks;
mod compose;
mod contracts;
mod embedded;
mod exactly_once;
mod filtered;
mod grown;
mod headers;
mod members;
mod new_stage;
mod onboarding;
mod oncall;
mod post;
mod real;
mod recovery;
mod recovery_audit;
mod recovery_deploys;
mod recovery_embedded;
mod recovery_waits;
mod rejections;
#[path = "../smoke/report.rs"]
mod report;
mod retry;
mod revalidated;
mod rights;
mod rotation;
mod secrets;
mod secure;
mod shutdown;
mod smoke;
mod strangers;
mod unsigned;
mod vendors;
mod verified;
mod world;
