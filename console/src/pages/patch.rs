//! One change of many dead letters: a JSON Patch, with what it makes of the newest ten before it is applied to all or to none.

use super::change::{confirmed, open, selected};
use super::edit::verdict;
use crate::App;
use crate::api::Problem;
use crate::guard::Form;
use crate::layout::problem_box;
use crate::page::{Answer, Changed, Page};
use crate::view::{command, count, csrf, not_allowed};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{EditSummary, PatchPreview, Selection};
use recovery::replay::edit;
use runtime::text::quoted;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/patch", get(form).post(submit))
}

/// What the form has.
#[derive(Default)]
struct Written {
    /// Simple changes, `/pointer=value` a line; or a whole patch
    set: String,
    reason: String,
    key: String,
}

const EXAMPLE: &str = "/payload/currency=EUR";

async fn form(visit: Visit) -> Answer {
    let written = Written {
        key: uuid::Uuid::new_v4().to_string(),
        ..Written::default()
    };
    page(&visit, &written, None, None).await
}

async fn page(
    visit: &Visit,
    written: &Written,
    preview: Option<&PatchPreview>,
    problem: Option<&Problem>,
) -> Answer {
    let selection = visit.asked.selection()?;
    let many = open(visit, &selection).await?;
    let confirm = problem.is_some_and(|problem| problem.is("needs_confirmation"));
    let patch = patch_of(&written.set).ok();
    let line = patch.as_ref().map_or("...", |patch| patch.get());
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } }
        div.head {
            h1 { "Patch " (count(many, "dead letter")) }
            p.lead { (selected(visit)) }
        }
        p { "For what is true for every one of them, such as a currency in lower case. An id belongs to one event: edit those one by one. All are changed, or none." }
        @if let Some(problem) = problem { (problem_box(problem)) }
        @if visit.may_change() {
            form method="post" action=(visit.asked.to("/patch")) {
                (csrf(visit))
                input type="hidden" name="key" value=(written.key);
                label for="set" { "Fields to set, one a line: place = value. Or a JSON Patch (RFC 6902)" }
                textarea #set name="set" rows="5" spellcheck="false" required placeholder=(EXAMPLE) { "\n" (written.set) }
                label for="reason" { "Reason, for the log" }
                input #reason name="reason" value=(written.reason) maxlength="2000";
                @if confirm { (confirmed(many)) }
                p.actions {
                    button.primary[preview.is_none()] type="submit" name="do" value="preview" formnovalidate[confirm] { "Preview" }
                    @if preview.is_some() || confirm { button.primary type="submit" name="do" value="apply" { "Apply to " (count(many, "dead letter")) } }
                    a href=(visit.asked.to("/dead-letters")) { "See them first" }
                }
            }
        } @else { (not_allowed(visit)) }
        @if let Some(preview) = preview { (shown(preview)) }
        (command(&format!("eventflow dlq edit{} --patch {}", selection.to_flags(), quoted(line))))
    };
    Ok(Page::new("Patch", body))
}

fn shown(preview: &PatchPreview) -> Markup {
    let refused = preview
        .previews
        .iter()
        .filter(|one| one.refused.is_some())
        .count();
    html! {
        h2 { "What it makes of " @if preview.selected > preview.previews.len() as i64 { "the newest " (preview.previews.len()) " of " } (count(preview.selected, "dead letter")) }
        @if refused > 0 { p.verdict.refused { strong { "✕ " (refused) " of these would be refused, so none would be changed." } } }
        @for one in &preview.previews {
            section.preview {
                h3 { a href={ "/dead-letters/" (one.letter) } { "Dead letter " (one.letter) } }
                (verdict(one))
            }
        }
    }
}

/// The patch that lines say; a whole patch as it is, so that a number keeps its digits.
fn patch_of(text: &str) -> Result<Box<RawValue>, Problem> {
    let bad = |problem: String| Problem::new(400, "bad_value", problem);
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|error| bad(format!("the patch is not JSON: {error}")));
    }
    let steps: Result<Vec<Value>, Problem> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (place, value) = line
                .split_once('=')
                .map(|(place, value)| (place.trim(), value.trim()))
                .filter(|(place, _)| place.starts_with('/'))
                .ok_or_else(|| bad(format!("write a place, = and a value, such as {EXAMPLE}")))?;
            Ok(json!({"op": "add", "path": place, "value": edit::written(value)}))
        })
        .collect();
    let steps = steps?;
    if steps.is_empty() {
        return Err(bad(format!("write what to set, such as {EXAMPLE}")));
    }
    serde_json::value::to_raw_value(&steps).map_err(|error| bad(error.to_string()))
}

#[derive(serde::Serialize)]
struct PatchBody<'a> {
    selection: &'a Selection,
    patch: &'a RawValue,
    reason: &'a str,
    yes: bool,
}

async fn submit(visit: Visit, form: Form) -> Result<Changed, Problem> {
    let selection = visit.asked.selection()?;
    let written = Written {
        set: form.lines("set"),
        reason: form.text("reason").to_owned(),
        key: form.text("key").to_owned(),
    };
    let again = async |preview: Option<&PatchPreview>, problem: Option<&Problem>| {
        let page = page(&visit, &written, preview, problem).await?;
        Ok(Changed::Again(match problem {
            Some(problem) => page.with_status(problem.status),
            None => page,
        }))
    };
    let patch = match patch_of(&written.set) {
        Ok(patch) => patch,
        Err(problem) => return again(None, Some(&problem)).await,
    };
    let body = PatchBody {
        selection: &selection,
        patch: &patch,
        reason: &written.reason,
        yes: form.is_checked("yes"),
    };
    if form.text("do") != "apply" {
        return match visit
            .post::<PatchPreview>("/api/v1/dead-letters/patch/preview", &body)
            .await
        {
            Ok(preview) => again(Some(&preview), None).await,
            Err(problem) => again(None, Some(&problem)).await,
        };
    }
    match visit
        .post_once::<EditSummary>("/api/v1/dead-letters/patch", &written.key, &body)
        .await
    {
        Ok(EditSummary { changed, unchanged }) => {
            visit.notify(format!(
                "{} changed, {unchanged} had these values already. A replay sends the new ones.",
                count(changed as i64, "dead letter")
            ));
            Ok(Changed::Done(visit.asked.to("/plan")))
        }
        Err(problem) if matches!(problem.status, 400 | 404 | 409 | 422) => {
            again(None, Some(&problem)).await
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn lines_become_a_patch_digit_for_digit() {
        for (text, patch) in [
            (
                "/a=12.50\n\n/b = EUR ",
                r#"[{"op":"add","path":"/a","value":"12.50"},{"op":"add","path":"/b","value":"EUR"}]"#,
            ),
            (r#"/a="1=2""#, r#"[{"op":"add","path":"/a","value":"1=2"}]"#),
            (
                r#" [{"op":"add","path":"/x","value":1.50}]"#,
                r#"[{"op":"add","path":"/x","value":1.50}]"#,
            ),
        ] {
            assert_eq!(patch_of(text).unwrap().get(), patch, "{text}");
        }
        for text in ["", "a=1", "/a", "[{"] {
            assert_eq!(patch_of(text).unwrap_err().code, "bad_value", "{text}");
        }
    }
}
