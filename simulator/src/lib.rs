//! A misbehaving payment provider, and the load generator.
