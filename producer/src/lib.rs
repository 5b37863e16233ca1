//! The edge: verifies webhooks and publishes them, answering only after the broker acknowledged.
