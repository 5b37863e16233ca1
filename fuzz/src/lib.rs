//! Any bytes at every surface that reads what strangers wrote: vendors, senders to a topic, and people with an editor.
//!
//! A [`Surface`] takes bytes and panics when a property does not hold. `cargo test -p fuzz` gives each its examples, and some thousand
//! mutations of them; `script/fuzz` lets libFuzzer look for bytes that reach new code, as long as you like.

mod examples;
mod surfaces;

pub use surfaces::{SURFACES, Surface};
