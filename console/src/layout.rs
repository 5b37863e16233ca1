//! The frame around every page: head, navigation, who is logged in, what needs a person.

use crate::api::Problem;
use crate::page::Page;
use crate::pages::{self, Section};
use crate::view::{self, text};
use crate::visit::Visit;
use crate::{assets, banner};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

/// The response with its page, or its problem, as a document; for a part of a page only the part. Others stay as they are.
pub(crate) fn framed(visit: &Visit, part: bool, mut response: Response) -> Response {
    let extensions = response.extensions_mut();
    let page = match (extensions.remove::<Page>(), extensions.remove::<Problem>()) {
        (Some(page), _) => page,
        (None, Some(problem)) => problem_page(&problem),
        (None, None) => return response,
    };
    let markup = if part {
        page.body
    } else {
        document(visit, &page)
    };
    let mut framed = (page.status, Html(markup.into_string())).into_response();
    // What the handler set beside its page.
    for (name, value) in response.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            framed.headers_mut().append(name.clone(), value.clone());
        }
    }
    framed
}

fn problem_page(problem: &Problem) -> Page {
    let status = StatusCode::from_u16(problem.status).ok();
    let reason = status.and_then(|status| status.canonical_reason());
    let body = html! {
        h1 { (reason.unwrap_or("Not done")) }
        (problem_box(problem))
        p { a href="/" { "To the first page" } }
    };
    Page::new(reason.unwrap_or("Not done"), body).with_status(problem.status)
}

/// A refusal, where something else was expected.
pub(crate) fn problem_box(problem: &Problem) -> Markup {
    html! {
        div.problem role="alert" {
            @match &problem.rejection {
                Some(refusal) => (view::refusal(refusal)),
                None => p { (text(&problem.detail)) },
            }
            p.code { code { (problem.code) } }
        }
    }
}

fn head(title: &str, refresh: Option<u32>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            // No script runs that is not a file of ours: what would be evaluated is off.
            meta name="htmx-config" content=r#"{"includeIndicatorCSS":false,"history":false,"extensions":"sse"}"#;
            title { (title) " · EventFlow" }
            link rel="icon" type="image/svg+xml" href=(assets::ICON.path());
            link rel="stylesheet" href=(assets::STYLE.path());
            script src=(assets::HTMX.path()) defer {}
            script src=(assets::SSE.path()) defer {}
            script src=(assets::SCRIPT.path()) defer {}
            @if let Some(seconds) = refresh {
                noscript { meta http-equiv="refresh" content=(seconds); }
            }
        }
    }
}

/// A page for somebody who is not logged in.
pub(crate) fn bare(title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, None))
            body.bare {
                main #main {
                    p.brand { (logo()) "EventFlow" }
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Html(page.into_string())
}

fn document(visit: &Visit, page: &Page) -> Markup {
    let person = &visit.member.person;
    let sections = pages::sections();
    let here = pages::section_of(&sections, visit.uri.path());
    let notice = visit
        .app
        .console
        .sessions
        .take_notice(&visit.member.session);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&page.title, page.refresh))
            body {
                a.skip href="#main" { "To the content" }
                header.bar {
                    a.brand href="/" { (logo()) "EventFlow" }
                    nav aria-label="Pages" {
                        @for section in &sections {
                            a href=(section.path) aria-current=[(Some(section.path) == here).then_some("page")] data-go=(section.key) {
                                (section.name)
                            }
                        }
                    }
                    form.who method="post" action="/logout" {
                        (view::csrf(visit))
                        span.name title="your token's name, as it stands in the log" { (text(person.name())) }
                        span.role { (person.role()) }
                        button.quiet type="submit" { "Log out" }
                    }
                }
                (banner::place())
                main #main tabindex="-1" {
                    @if let Some(notice) = notice { div.notice role="status" { (text(&notice)) } }
                    (page.body)
                }
                (help(&sections))
            }
        }
    }
}

fn logo() -> Markup {
    html! { img.logo src=(assets::ICON.path()) alt="" width="20" height="20"; }
}

/// Opened by `?`.
fn help(sections: &[Section]) -> Markup {
    let keys = [
        ("/", "to the search field"),
        ("j  k", "to the next, to the previous row"),
        ("Enter", "open the row"),
        (".", "load what is new"),
        ("Esc", "out of a field"),
        ("?", "this list"),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl.keys {
                @for (key, what) in keys { dt { kbd { (key) } } dd { (what) } }
                @for section in sections { dt { kbd { "g " (section.key) } } dd { "to " (section.name) } }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}
