//! Names and meanings of this role's metrics.
