//! Names of a consuming stage's health checks, as `/ready` lists them.

/// The group gave this instance its partitions.
pub(super) const MEMBERSHIP: &str = "consumer";
/// What the stage needs besides records answers: broker, schema registry, database.
pub(super) const DEPENDENCY: &str = "dependency";
/// The breaker is closed.
pub(super) const BREAKER: &str = "breaker";
/// Every topic the stage reads exists.
pub(super) const TOPIC_MISSING: &str = "topic_missing";
/// Kafka lets the stage read its topics as its group.
pub(super) const AUTHORIZATION: &str = "authorization";
/// The next offset of every partition is still in its topic.
pub(super) const OFFSET_OUT_OF_RANGE: &str = "offset_out_of_range";
