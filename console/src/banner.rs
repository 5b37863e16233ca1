//! What needs a person now, on top of every page.

use crate::page::Fragment;
use crate::view::text;
use crate::visit::Visit;
use crate::{App, asked::Asked};
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{Attention, AttentionKind, Job, JobState, Now};
use runtime::text::encoded;
use serde::Deserialize;

/// Jobs that are looked at, the newest.
const JOBS: &str = "10";

/// One thing that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alert {
    /// Something is wrong; otherwise somebody is waited for
    pub(crate) wrong: bool,
    /// One sentence
    pub(crate) what: String,
    /// Where to look
    pub(crate) place: String,
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/live/banner", get(show))
}

/// Where it appears: empty until it has something to say.
pub(crate) fn place() -> Markup {
    html! { div #banner role="status" aria-label="What needs a person" hx-get="/live/banner" hx-trigger="load, every 20s" hx-swap="innerMorph" {} }
}

async fn show(visit: Visit) -> Fragment {
    let alerts = alerts(&visit).await;
    Fragment(html! {
        @for alert in alerts {
            a.alert.wrong[alert.wrong] href=(alert.place) { (text(&alert.what)) }
        }
    })
}

#[derive(Deserialize)]
struct Jobs {
    replays: Vec<Job>,
}

/// All there is. What cannot be asked just now is left out: the page itself says so.
async fn alerts(visit: &Visit) -> Vec<Alert> {
    let now = visit.get::<Now>("/api/v1/now", &Asked::default()).await;
    let attention = now.map(|now| now.attention).unwrap_or_default();
    // Only those that can need somebody: the API counts the items of each.
    let going_on = Asked::from_iter([("state", "planned,running"), ("limit", JOBS)]);
    let jobs = visit.get::<Jobs>("/api/v1/replays", &going_on).await;
    let jobs = jobs.map(|jobs| jobs.replays).unwrap_or_default();
    let of_jobs = jobs.iter().filter_map(of_job);
    attention.iter().map(of_attention).chain(of_jobs).collect()
}

/// What the pipeline says of itself.
fn of_attention(attention: &Attention) -> Alert {
    let place = match (attention.kind, &attention.of) {
        (AttentionKind::Unaccounted, _) => "/audit".to_owned(),
        (AttentionKind::SourceFails, Some(source)) => {
            Asked::from_iter([("source", source)]).to("/groups")
        }
        (AttentionKind::Unproven, _) => "/groups?code=stale,unverified".to_owned(),
        _ => "/now#roles".to_owned(),
    };
    Alert {
        wrong: !matches!(
            attention.kind,
            AttentionKind::Unproven | AttentionKind::Warning
        ),
        what: attention.what.clone(),
        place,
    }
}

fn of_job(job: &Job) -> Option<Alert> {
    let place = format!("/replays/{}", encoded(&job.id));
    let unapproved = job.needs_approval && job.approved_by.is_none();
    match (job.state, &job.blocked) {
        (JobState::Running, Some(why)) => Some(Alert {
            wrong: true,
            what: format!("{} {} waits: {why}", job.kind, job.id),
            place,
        }),
        (JobState::Planned | JobState::Running, _) if unapproved => Some(Alert {
            wrong: false,
            what: format!(
                "{} {} of {} waits for the approval of a second person",
                job.kind, job.id, job.created_by
            ),
            place,
        }),
        _ => None,
    }
}
