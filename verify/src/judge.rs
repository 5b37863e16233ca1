//! The judges: each looks at what has one key, and nothing else.

pub(crate) mod body;
pub(crate) mod event;
pub(crate) mod fate;
mod letter;
pub(crate) mod order;
#[cfg(test)]
pub(crate) mod world;
