//! Questions about dead letters and events: [`letters`] by selection, [`explain`] one of them, [`trace`] an event's whole story.

pub mod explain;
pub mod letters;
pub(crate) mod select;
pub mod trace;
