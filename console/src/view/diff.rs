//! Differences: of two texts line by line, and the steps of a JSON Patch.

use super::text;
use maud::{Markup, html};
use runtime::text::pretty;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// Lines around a difference.
const AROUND: usize = 3;
/// Longest search for the smallest difference; after that a larger one is shown.
const LONGEST: Duration = Duration::from_millis(200);
/// Most lines shown.
const LINES: usize = 400;

/// What differs between two values, both written out.
pub(crate) fn diff(before: &str, after: &str) -> Markup {
    let (before, after) = (pretty(before), pretty(after));
    let diff = TextDiff::configure()
        .timeout(LONGEST)
        .diff_lines(before.trim_end(), after.trim_end());
    let groups = diff.grouped_ops(AROUND);
    let changes = groups
        .iter()
        .enumerate()
        .flat_map(|(place, group)| {
            let gap = (place > 0).then_some(None);
            let changes = group.iter().flat_map(|op| diff.iter_changes(op)).map(Some);
            gap.into_iter().chain(changes)
        })
        .take(LINES);
    html! {
        @if groups.is_empty() {
            p.hint { "Nothing differs." }
        } @else {
            pre.diff tabindex="0" role="region" aria-label="Differences" {
                @for change in changes {
                    @match change {
                        None => span.gap { "⋯\n" },
                        Some(change) => @match change.tag() {
                            ChangeTag::Delete => del { "- " (text(change.value().trim_end_matches('\n'))) "\n" },
                            ChangeTag::Insert => ins { "+ " (text(change.value().trim_end_matches('\n'))) "\n" },
                            ChangeTag::Equal => span { "  " (text(change.value().trim_end_matches('\n'))) "\n" },
                        },
                    }
                }
            }
        }
    }
}

/// The steps of a JSON Patch, in words; nothing for none.
pub(crate) fn steps(patch: &Value) -> Markup {
    let steps = patch.as_array().map(Vec::as_slice).unwrap_or_default();
    let word = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    html! {
        ul.steps {
            @for step in steps.iter().take(50) {
                li {
                    b { (text(&word(step, "op"))) } " " code { (text(&word(step, "path"))) }
                    @if let Some(value) = step.get("value") { " → " code.value { (super::short(&value.to_string(), 200)) } }
                    @if let Some(from) = step.get("from").and_then(Value::as_str) { " from " code { (text(from)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_value_is_two_lines() {
        let shown = diff(r#"{"a":1,"b":"<i>"}"#, r#"{"a":2,"b":"<i>"}"#).into_string();
        assert!(
            shown.contains("<del>-   &quot;a&quot;: 1,\n</del><ins>+   &quot;a&quot;: 2,\n</ins>"),
            "{shown}"
        );
        assert!(!shown.contains("<i>"));
        assert!(diff("{}", "{ }").into_string().contains("Nothing differs"));
    }

    #[test]
    fn a_patch_is_read_step_by_step() {
        let patch = serde_json::json!([{"op": "replace", "path": "/a", "value": "<b>"}, {"op": "move", "path": "/b", "from": "/c"}]);
        let shown = steps(&patch).into_string();
        assert!(
            shown.contains("<b>replace</b>")
                && shown.contains("&lt;b&gt;")
                && shown.contains(" from "),
            "{shown}"
        );
    }
}
