//! Turns validated events into metrics and per-minute figures.
