//! A part of a page, sent whenever it has changed.

use crate::api::Problem;
use crate::visit::Visit;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use maud::Markup;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// A part as it is now.
pub(crate) struct Drawn {
    pub(crate) part: Markup,
    /// It will not change any more
    pub(crate) is_last: bool,
}

/// Where a stream stands.
struct Watched<D> {
    visit: Visit,
    every: Duration,
    draw: D,
    shown: Option<String>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// Streams what `draw` draws until it is the last, and then the event `end`; or until the session or the role ends, or it cannot be drawn: the page
/// then polls.
pub(crate) fn stream<D>(visit: Visit, every: Duration, draw: D) -> Response
where
    D: Fn(Visit) -> BoxFuture<'static, Result<Drawn, Problem>> + Send + Sync + 'static,
{
    let streams = Arc::clone(&visit.app.console.streams);
    let Ok(place) = streams.try_acquire_owned() else {
        return Problem::new(
            503,
            "overloaded",
            "too many pages stream at once; this one asks again by itself",
        )
        .into_response();
    };
    let watched = Watched {
        visit,
        every,
        draw,
        shown: None,
        ended: false,
        _place: place,
    };
    let events = stream::unfold(watched, |mut watched| async {
        let event = watched.next().await?;
        Some((Ok::<_, Infallible>(event), watched))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl<D: Fn(Visit) -> BoxFuture<'static, Result<Drawn, Problem>>> Watched<D> {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        loop {
            let console = &self.visit.app.console;
            if self.shown.is_some() {
                let wait = tokio::time::sleep(self.every);
                // At the role's end the browser finds the next one by itself.
                console.shutdown.run_until_cancelled(wait).await?;
            }
            if !console
                .sessions
                .is_open(&self.visit.member.session, Instant::now())
            {
                return None;
            }
            let drawn = (self.draw)(self.visit.clone()).await.ok()?;
            let part = drawn.part.into_string();
            if self.shown.as_ref() != Some(&part) {
                self.shown = Some(part.clone());
                return Some(Event::default().data(part));
            }
            if drawn.is_last {
                self.ended = true;
                return Some(Event::default().event("end").data("end"));
            }
        }
    }
}
