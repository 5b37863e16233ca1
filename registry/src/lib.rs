//! A small Confluent-compatible schema registry over the contracts.
