//! Refused requests: what the edge wrote to `events.rejections.v1`, kept for days, listed, grouped and explained.
//!
//! Beside everything else of this role, and never in its way: the topic has a consumer group of its own, whose state is in no check of
//! `/ready`; whatever ends it, it is started again ([`index`]). Nothing else depends on what it holds: a refused request is no event, and
//! no part of the audit.

mod explain;
mod index;
mod list;
mod retention;

pub use explain::explain;
pub use index::Index;
pub use list::{groups, list, show};
pub use retention::{RejectionLimits, TrimmedRejections, trim};

use crate::config::Config;
use crate::context::Context;
use crate::error::RecoveryError;
use tokio_util::sync::CancellationToken;

/// Reads the topic and enforces the limits, until `shutdown`.
pub(crate) async fn run(config: Config, context: Context, shutdown: CancellationToken) {
    let limits = config.rejections;
    tokio::join!(
        index::run(config, context.clone(), shutdown.clone()),
        retention::run(context, limits, shutdown),
    );
}

fn no_such_rejection(id: i64) -> RecoveryError {
    RecoveryError::NotFound(format!(
        "there is no refused request {id}, or it is no longer kept; `eventflow rejections ls` lists them"
    ))
}
