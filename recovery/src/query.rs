//! Questions about dead letters and events. [`known`] refuses a mistyped filter, [`select`] turns a selection into SQL; [`list`], [`stats`], [`detail`] and [`export`] show
//! what it selects; [`explain`] says what to do about one dead letter; [`trace`] tells the whole timeline of an event, [`events`] finds events.

pub mod detail;
pub mod events;
pub mod explain;
pub mod export;
pub(crate) mod known;
pub mod list;
mod payload;
pub(crate) mod select;
pub mod stats;
pub mod trace;

pub(crate) use payload::plain;

use crate::error::RecoveryError;

/// The answer to a number of no dead letter.
pub(crate) fn no_such_dead_letter(id: i64) -> RecoveryError {
    RecoveryError::NotFound(format!(
        "there is no dead letter {id}; `eventflow dlq ls` lists them"
    ))
}
