//! The pipeline as it is now, for people who look.
//!
//! Every role serves `/ready` and `/metrics` ([`runtime::ops`]). [`run`] reads both of every instance it was told of ([`roles`]), every two
//! seconds and each within its deadline ([`scrape`]), takes from them what is shown ([`figures`]), and keeps the last hour in memory
//! ([`book`]). [`now`](fn@now) puts that together along the description of the pipeline ([`picture`]) and says what needs a person
//! ([`attention`]). It asks nobody anything: what pages poll costs no query and no request.

mod attention;
mod book;
mod figures;
mod observed;
mod picture;
pub(crate) mod roles;
mod scrape;

pub(crate) use observed::{Observed, State};
pub use roles::RoleArgs;

use crate::audit;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Now, Time};
use futures_util::future::join_all;
use observed::{Indexed, Instance};
use roles::RoleUrl;
use runtime::health::Health;
use runtime::telemetry;
use scrape::{Readiness, Scraper};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Longest wait for the database's figures; the ones before stay, with their age.
const DATABASE: Duration = Duration::from_secs(2);

/// Looks at all roles, every two seconds, until `shutdown`. `own` is this process.
pub(crate) async fn run(
    context: Context,
    roles: Vec<RoleUrl>,
    own: Health,
    shutdown: CancellationToken,
) {
    let scraper = match Scraper::new() {
        Ok(scraper) => scraper,
        Err(error) => {
            tracing::error!(event = "roles_not_watched", %error, "no HTTP client could be made");
            return;
        }
    };
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        let round = look(&context, &roles, &own, &scraper);
        if shutdown.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

/// Looks once, at everything at the same time.
async fn look(context: &Context, roles: &[RoleUrl], own: &Health, scraper: &Scraper) {
    let looks = roles.iter().map(|role| async move {
        let stores = context.pipeline.stores();
        let stores = stores.is_some_and(|stage| stage.name == role.role);
        (role, scraper.look(role, stores).await)
    });
    let (seen, indexed) = tokio::join!(
        join_all(looks),
        tokio::time::timeout(DATABASE, indexed(context))
    );
    let at = (Instant::now(), Time::from(runtime::clock::now()));
    let mut state = context.observed.lock();
    // A role that is given more than once is one role.
    let mut by_role: BTreeMap<&str, Vec<Instance>> = BTreeMap::new();
    for (role, instances) in seen {
        by_role.entry(&role.role).or_default().extend(instances);
    }
    for (role, instances) in by_role {
        state.note(role, instances, at);
    }
    if !roles.iter().any(|role| role.role == roles::OWN) {
        state.note(roles::OWN, vec![this_process(own)], at);
    }
    match indexed {
        Ok(Ok(indexed)) => state.indexed = Some(indexed),
        Ok(Err(error)) => tracing::debug!(event = "figures_not_read", %error),
        Err(_) => tracing::debug!(event = "figures_not_read", "the database does not answer"),
    }
    state.looked_at = Some(at.1);
}

/// This process needs no request.
fn this_process(own: &Health) -> Instance {
    let list = |all: Vec<(&'static str, String)>| {
        let text = |(check, reason)| format!("{check}: {reason}");
        all.into_iter().map(text).collect()
    };
    let metrics = telemetry::metrics_handle().render();
    Instance {
        id: "this process".to_owned(),
        readiness: Ok(Readiness {
            ready: own.is_ready(),
            reasons: list(own.reasons()),
            warnings: list(own.warnings()),
        }),
        page: figures::read(roles::OWN, false, &metrics),
    }
}

/// What the database counts.
async fn indexed(context: &Context) -> Result<Indexed, RecoveryError> {
    let audit = audit::audit(context, None, None, None).await?;
    let (open, replaying): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(open), 0)::bigint, coalesce(sum(replaying), 0)::bigint FROM groups",
    )
    .fetch_one(&context.pool)
    .await?;
    let unproven = sqlx::query_scalar(
        "SELECT coalesce(sum(open), 0)::bigint FROM groups WHERE code IN ('stale', 'unverified')",
    )
    .fetch_one(&context.pool)
    .await?;
    Ok(Indexed {
        audit,
        open,
        replaying,
        unproven,
    })
}

/// The pipeline now.
///
/// # Errors
/// [`RecoveryError::Unavailable`], only where no role runs in this process: its figures are then read once.
pub async fn now(context: &Context) -> Result<Now, RecoveryError> {
    // Bound before it is awaited: the lock must not be held meanwhile.
    let known = context.observed.lock().indexed.clone();
    let indexed = match known {
        Some(indexed) => indexed,
        None => indexed(context).await?,
    };
    let state = context.observed.lock();
    let mut now = picture::draw(context, &state, &indexed);
    drop(state);
    now.attention = attention::of(&now, indexed.unproven);
    Ok(now)
}
