//! The value of one dead letter edited: checked while it is typed, with what differs, and taken only when it meets its contract.

use super::dead_letter::{ValueText, api};
use crate::App;
use crate::api::Problem;
use crate::asked::Asked;
use crate::guard::Form;
use crate::layout::problem_box;
use crate::page::{Answer, Changed, Fragment, Page};
use crate::view::{command, csrf, diff, explanation, not_allowed, refusal};
use crate::visit::{Named, Visit};
use axum::Router;
use axum::routing::{get, post};
use maud::{Markup, html};
use recovery::model::{DeadLetterDetail, EditPreview, EditSummary, Explanation};
use runtime::text::pretty;
use serde_json::json;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dead-letters/{id}/edit", get(form).post(save))
        .route("/dead-letters/{id}/check", post(check))
}

async fn form(visit: Visit, Named(id): Named) -> Answer {
    let value: ValueText = visit.get(&api(&id, "/value"), &Asked::default()).await?;
    let written = Written {
        text: pretty(&value.text),
        reason: String::new(),
    };
    page(&visit, &id, &written, &html! {}).await
}

/// What the form has.
struct Written {
    text: String,
    reason: String,
}

impl Written {
    fn of(form: &Form) -> Self {
        Self {
            text: form.lines("text").trim_end().to_owned(),
            reason: form.text("reason").to_owned(),
        }
    }
}

async fn page(visit: &Visit, id: &str, written: &Written, verdict: &Markup) -> Answer {
    let none = Asked::default();
    let detail: DeadLetterDetail = visit.get(&api(id, ""), &none).await?;
    let explained: Explanation = visit.get(&api(id, "/explain"), &none).await?;
    let letter = detail.letter.id;
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } " / " a href={ "/dead-letters/" (letter) } { "Dead letter " (letter) } }
        div.head {
            h1 { "Edit dead letter " (letter) }
            p.lead { "An edit corrects a value; it does not make another event of it. The original is kept." }
        }
        @if visit.may_change() {
            form.edit method="post" action={ "/dead-letters/" (letter) "/edit" } {
                (csrf(visit))
                div.editor {
                    label for="text" { "Value" }
                    textarea #text name="text" rows="18" spellcheck="false" autocapitalize="off" required
                        hx-post={ "/dead-letters/" (letter) "/check" } hx-trigger="input changed delay:400ms" hx-target="#verdict" { "\n" (written.text) }
                }
                div #verdict role="status" aria-live="polite" {
                    (verdict)
                    p.hint { "What differs, and whether today's checks take it, appears here." }
                }
                label.wide for="reason" { "Reason, for the log" }
                input #reason name="reason" value=(written.reason) placeholder="what the vendor said, a ticket" maxlength="2000";
                p.actions {
                    button.primary type="submit" name="then" value="replay" { "Save, then replay" }
                    button type="submit" name="then" value="letter" { "Save" }
                    button type="submit" formaction={ "/dead-letters/" (letter) "/check" } { "Check" }
                    a href={ "/dead-letters/" (letter) } { "Cancel" }
                }
            }
        } @else { (not_allowed(visit)) }
        h2 { "Why it failed" }
        (explanation(&explained, &detail))
        (command(&format!("eventflow dlq edit {letter}")))
    };
    Ok(Page::new(format!("Edit dead letter {letter}"), body))
}

/// For the script the verdict alone; without one, the page with it.
async fn check(
    visit: Visit,
    Named(id): Named,
    headers: axum::http::HeaderMap,
    form: Form,
) -> axum::response::Response {
    use axum::response::IntoResponse;
    let written = Written::of(&form);
    let checked = visit
        .post::<EditPreview>(&api(&id, "/check"), &json!({"text": written.text}))
        .await;
    let verdict = match checked {
        Ok(preview) => verdict(&preview),
        Err(problem) => problem_box(&problem),
    };
    if headers.contains_key("hx-request") {
        return Fragment(verdict).into_response();
    }
    page(&visit, &id, &written, &verdict).await.into_response()
}

/// Whether it would be taken, and what differs.
pub(super) fn verdict(preview: &EditPreview) -> Markup {
    html! {
        @match (&preview.refused, preview.changes) {
            (Some(why), _) => div.verdict.refused { p { strong { "✕ Not taken yet." } } (refusal(why)) },
            (None, true) => div.verdict.taken { p { strong { "✓ It meets its contract." } " Today's checks take it." } },
            (None, false) => div.verdict { p { "Nothing is changed." } },
        }
        @if preview.changes { (diff(&preview.before, &preview.after)) }
    }
}

async fn save(visit: Visit, Named(id): Named, form: Form) -> Result<Changed, Problem> {
    let written = Written::of(&form);
    let before: ValueText = visit.get(&api(&id, "/value"), &Asked::default()).await?;
    let saved = match pretty(&before.text).trim_end() == written.text {
        // As it was shown: written out, and nothing else.
        true => Ok(EditSummary {
            changed: 0,
            unchanged: 1,
        }),
        false => {
            let body = json!({"text": written.text, "reason": written.reason});
            visit.put::<EditSummary>(&api(&id, "/value"), &body).await
        }
    };
    match saved {
        Ok(EditSummary { changed, .. }) => {
            visit.notify(if changed > 0 {
                "The edited value is saved. A replay sends it."
            } else {
                "Nothing was changed."
            });
            let next = Asked::from_iter([("id", &id)]);
            Ok(Changed::Done(match form.text("then") {
                "replay" => next.to("/plan"),
                _ => format!("/dead-letters/{}", runtime::text::encoded(&id)),
            }))
        }
        Err(problem) if matches!(problem.status, 400 | 422) => {
            let page = page(&visit, &id, &written, &problem_box(&problem)).await?;
            Ok(Changed::Again(page.with_status(problem.status)))
        }
        Err(problem) => Err(problem),
    }
}
