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

/// Draws the part.
pub(crate) type Draw = fn(Visit) -> BoxFuture<'static, Result<Markup, Problem>>;

/// Where a stream stands.
struct Watched {
    visit: Visit,
    every: Duration,
    draw: Draw,
    shown: Option<String>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// Streams it until the session or the role ends, or it cannot be drawn: the page then polls.
pub(crate) fn stream(visit: Visit, every: Duration, draw: Draw) -> Response {
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

impl Watched {
    async fn next(&mut self) -> Option<Event> {
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
            let part = (self.draw)(self.visit.clone()).await.ok()?.into_string();
            if self.shown.as_ref() != Some(&part) {
                self.shown = Some(part.clone());
                return Some(Event::default().data(part));
            }
        }
    }
}
