//! Command lines: what a button does, for a terminal.

use super::text;
use maud::{Markup, html};

/// A command line with a button that copies it.
pub(crate) fn command(line: &str) -> Markup {
    html! {
        div.command {
            code { span.prompt aria-hidden="true" { "$ " } (text(line)) }
            button.copy type="button" data-copy=(line) aria-label={ "Copy: " (line) } { "Copy" }
        }
    }
}

/// A sentence of the API, which ends with the command that does what it says: the command stands apart.
pub(crate) fn with_commands(sentence: &str) -> Markup {
    match sentence.find(" eventflow ") {
        Some(place) => html! { (text(&sentence[..place])) (command(&sentence[place + 1..])) },
        None => text(sentence),
    }
}
