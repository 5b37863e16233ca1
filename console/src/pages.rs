//! The table of pages. One line is one section: where it begins, what it is called, its key after `g`, its routes, and where else its pages are.

mod audit;
mod change;
mod dead_letter;
mod dead_letters;
mod edit;
mod event;
mod events;
mod groups;
mod log;
mod now;
mod patch;
mod plan;
mod rejections;
mod replay;
mod replays;

use crate::{App, banner};
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

/// A section of the navigation.
pub(crate) struct Section {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    /// Goes there, after `g`
    pub(crate) key: char,
    /// What the paths of its other pages begin with
    also: &'static [&'static str],
    routes: fn() -> Router<App>,
}

/// In the order of the navigation; the first is the first page.
pub(crate) fn sections() -> [Section; 7] {
    let section = |path, name, key, routes, also| Section {
        path,
        name,
        key,
        also,
        routes,
    };
    [
        section("/now", "Now", 'n', now::routes, &[]),
        section("/events", "Events", 'e', event_pages, &[]),
        section(
            "/groups",
            "Dead letters",
            'd',
            dead_letter_pages,
            &["/dead-letters", "/plan", "/patch", "/discard", "/genuine"],
        ),
        section("/replays", "Replays", 'r', replay_pages, &[]),
        section("/rejections", "Rejections", 'x', rejections::routes, &[]),
        section("/audit", "Audit", 'a', audit::routes, &[]),
        section("/log", "Log", 'l', log::routes, &[]),
    ]
}

fn dead_letter_pages() -> Router<App> {
    Router::new()
        .merge(groups::routes())
        .merge(dead_letters::routes())
        .merge(dead_letter::routes())
        .merge(edit::routes())
        .merge(patch::routes())
        .merge(change::routes())
        .merge(plan::routes())
}

fn event_pages() -> Router<App> {
    events::routes().merge(event::routes())
}

fn replay_pages() -> Router<App> {
    replays::routes().merge(replay::routes())
}

pub(crate) fn routes() -> Router<App> {
    let first = async || Redirect::to(sections()[0].path);
    let pages = Router::new().route("/", get(first)).merge(banner::routes());
    sections()
        .into_iter()
        .fold(pages, |pages, section| pages.merge((section.routes)()))
}

/// The section that a page belongs to.
pub(crate) fn section_of(sections: &[Section], path: &str) -> Option<&'static str> {
    let within = |start: &str| {
        let rest = path.strip_prefix(start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = sections
        .iter()
        .find(|section| within(section.path) || section.also.iter().any(|start| within(start)));
    found.map(|section| section.path)
}
