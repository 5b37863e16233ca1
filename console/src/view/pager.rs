//! From one page of a list to the next.

use crate::asked::Asked;
use maud::{Markup, html};

/// Leads to what comes after `last`, if there may be more, and back to the beginning.
pub(crate) fn pager(asked: &Asked, path: &str, last: Option<impl ToString>) -> Markup {
    html! {
        nav.pager aria-label="More" {
            @if asked.get("before").is_some() { a href=(asked.without("before").to(path)) { "The newest" } }
            @if let Some(last) = last { a rel="next" href=(asked.with("before", last.to_string()).to(path)) { "Older" } }
        }
    }
}
