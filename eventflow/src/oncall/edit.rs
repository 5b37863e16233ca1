//! `eventflow dlq edit`: one dead letter in an editor, any number with a patch. The API validates every new value before it accepts it.

use super::client::{Client, read};
use super::error::CommandError;
use super::text::{count, line, lines, pretty, put};
use super::{confirm, note, print, print_json, table, with_ids};
use axum::http::Method;
use recovery::model::{EditSummary, PatchPreview, Selection};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Change values.
#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    /// Numbers of dead letters; a single one without --set and --patch opens in the editor
    letters: Vec<i64>,
    #[command(flatten)]
    selection: Selection,
    /// Set one field, such as /payload/amount=12.50; repeatable. The value is JSON if it parses as JSON, otherwise text; a number whose
    /// digits JSON would change is set as text
    #[arg(long, value_name = "POINTER=VALUE", value_parser = parse_set)]
    set: Vec<(String, Value)>,
    /// JSON Patch (RFC 6902): the text itself, or a file
    #[arg(long, value_name = "FILE|JSON", conflicts_with = "set")]
    patch: Option<String>,
    /// Show what --set or --patch would make of the newest ten, and why it would be refused; nothing is changed
    #[arg(long)]
    preview: bool,
    /// Reason, kept with each edit and in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Edit without asking for confirmation, however many are selected
    #[arg(long, short)]
    yes: bool,
}

fn parse_set(text: &str) -> Result<(String, Value), String> {
    let (pointer, value) = text
        .split_once('=')
        .ok_or("expected POINTER=VALUE, such as /payload/amount=12.50")?;
    if !pointer.starts_with('/') {
        return Err("a JSON pointer begins with a slash, such as /payload/amount".to_owned());
    }
    Ok((pointer.to_owned(), recovery::replay::edit::written(value)))
}

pub(super) async fn run(
    client: &Client,
    edit: EditArgs,
    as_json: bool,
) -> Result<(), CommandError> {
    let EditArgs {
        letters,
        selection,
        set,
        patch,
        preview,
        reason,
        yes,
    } = edit;
    if set.is_empty() && patch.is_none() {
        if preview {
            return Err(CommandError::usage(
                "--preview needs --set or --patch; the editor shows what differs by itself",
            ));
        }
        let [letter] = letters.as_slice() else {
            return Err(CommandError::usage(
                "give one number to open it in the editor, or --set or --patch to change several",
            ));
        };
        return in_editor(client, *letter, &reason, as_json).await;
    }
    let selection = with_ids(selection, letters);
    if selection == Selection::default() {
        return Err(CommandError::usage(
            "select dead letters: numbers, --group, --code, ... (eventflow dlq edit --help)",
        ));
    }
    let patch = match patch {
        Some(patch) => read_patch(&patch)?,
        None => {
            let steps: Vec<Value> = set
                .into_iter()
                .map(|(path, value)| json!({"op": "add", "path": path, "value": value}))
                .collect();
            serde_json::value::to_raw_value(&steps)
                .map_err(|error| CommandError::failed(error.to_string()))?
        }
    };
    let body = |yes: bool| {
        serde_json::to_string(&PatchBody {
            selection: &selection,
            patch: &patch,
            reason: &reason,
            yes,
        })
    };
    if preview {
        let path = "/api/v1/dead-letters/patch/preview";
        let text = client.send(Method::POST, path, body(false)?).await?;
        return if as_json {
            print_json(&text)
        } else {
            print(&preview_text(&read(&text)?))
        };
    }
    let key = uuid::Uuid::new_v4().to_string();
    let send = async |yes: bool| {
        let body = body(yes)?;
        client
            .open(
                Method::POST,
                "/api/v1/dead-letters/patch",
                Some(&key),
                Some(body),
            )
            .await?
            .text()
            .await
    };
    let mut answer = send(yes).await;
    if let Err(error) = &answer
        && error.is("needs_confirmation")
        && !yes
        && confirm(&format!("{error}. Change them?"))?
    {
        answer = send(true).await;
    }
    report(
        &answer?,
        as_json,
        &format!("eventflow replay plan{}", selection.to_flags()),
    )
}

/// As text: a number of the patch keeps its digits.
#[derive(serde::Serialize)]
struct PatchBody<'a> {
    selection: &'a Selection,
    patch: &'a RawValue,
    reason: &'a str,
    yes: bool,
}

fn read_patch(patch: &str) -> Result<Box<RawValue>, CommandError> {
    let bad = |problem: String| CommandError::usage(format!("--patch: {problem}"));
    let text = if patch.trim_start().starts_with(['[', '{']) {
        patch.to_owned()
    } else {
        std::fs::read_to_string(patch).map_err(|error| {
            bad(format!(
                "neither JSON nor a readable file ({patch}: {error})"
            ))
        })?
    };
    serde_json::from_str(&text).map_err(|error| bad(format!("not JSON: {error}")))
}

/// What a patch would make of the newest of a selection.
fn preview_text(preview: &PatchPreview) -> String {
    let mut out = String::new();
    let (selected, shown) = (preview.selected, preview.previews.len() as i64);
    let these = if selected > shown {
        format!("the newest {shown} of {}", count(selected, "dead letter"))
    } else {
        count(selected, "dead letter")
    };
    put(&mut out, &format!("nothing is changed; {these} would be:"));
    for one in &preview.previews {
        let what = match (&one.refused, one.changes) {
            (Some(why), _) => format!("refused: {} ({})", why.detail, why.code),
            (None, true) => "changed".to_owned(),
            (None, false) => "unchanged".to_owned(),
        };
        put(&mut out, &format!("dead letter {}: {what}", one.letter));
        if one.changes {
            out.push_str(&diff(&pretty(&one.before), &pretty(&one.after)));
        }
    }
    out
}

fn report(text: &str, as_json: bool, next: &str) -> Result<(), CommandError> {
    if as_json {
        return print_json(text);
    }
    let EditSummary { changed, unchanged } = read(text)?;
    let mut out = String::new();
    put(
        &mut out,
        &format!(
            "changed {}, {unchanged} unchanged",
            count(changed as i64, "dead letter")
        ),
    );
    put(&mut out, &format!("next: {next}"));
    print(&out)
}

async fn in_editor(
    client: &Client,
    letter: i64,
    reason: &str,
    as_json: bool,
) -> Result<(), CommandError> {
    let path = format!("/api/v1/dead-letters/{letter}/value");
    let answer: Value = read(&client.get(&path, &[]).await?)?;
    let original = answer["text"].as_str().unwrap_or_default().to_owned();
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    });
    let Some(editor) = editor else {
        return Err(CommandError::usage(
            "no editor: set $VISUAL or $EDITOR, or use --set or --patch",
        ));
    };
    // Readable by its owner only (0600); deleted with the handle, whatever happens.
    let mut file = tempfile::Builder::new()
        .prefix(&format!("dead-letter-{letter}-"))
        .suffix(".json")
        .tempfile()?;
    let before = pretty(&original);
    file.write_all(before.as_bytes())?;
    file.flush()?;
    loop {
        open(&editor, file.path()).await?;
        let after = reread(file.path())?;
        if after.trim_end() == before.trim_end() {
            return if as_json {
                print_json(&json!({"changed": 0, "unchanged": 1}).to_string())
            } else {
                print("nothing was changed\n")
            };
        }
        if !as_json {
            print(&diff(&before, &after))?;
        }
        let body = json!({"text": after.trim_end(), "reason": reason}).to_string();
        match client.send(Method::PUT, &path, body).await {
            Ok(text) => {
                return report(
                    &text,
                    as_json,
                    &format!("eventflow replay apply {letter} --yes"),
                );
            }
            Err(error) if error.is("still_broken") || error.is("invalid_request") => {
                note(&format!("the current contract rejects it: {error}"));
                if let Some(pointer) = error
                    .problem
                    .as_ref()
                    .and_then(|problem| problem["rejection"]["pointer"].as_str())
                {
                    note(&format!("  at {pointer}"));
                }
                if !confirm("Edit it again?")? {
                    return Err(error);
                }
                file.as_file_mut().seek(SeekFrom::Start(0))?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Editors may replace the file: it is read by its name.
fn reread(path: &Path) -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(16 << 20)
        .read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| {
        CommandError::usage("nothing was changed: the saved file is not UTF-8; save it as UTF-8")
    })
}

async fn open(editor: &str, path: &Path) -> Result<(), CommandError> {
    // A Ctrl-C in the editor is for the editor.
    let _interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut command = tokio::process::Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("editor")
        .arg(path);
    let ended = command.status().await.map_err(|error| {
        CommandError::failed(format!(
            "cannot start the editor {editor}: {error}; check $VISUAL and $EDITOR"
        ))
    })?;
    if ended.success() {
        Ok(())
    } else {
        Err(CommandError::failed(format!(
            "nothing was changed: the editor {editor} ended with {ended}; check $VISUAL and $EDITOR, or use --set or --patch"
        )))
    }
}

fn diff(before: &str, after: &str) -> String {
    let colours = table::coloured();
    let diff = similar::TextDiff::from_lines(before.trim_end(), after.trim_end());
    let text = diff
        .unified_diff()
        .context_radius(2)
        .header("original", "edited")
        .to_string();
    let mut out = String::new();
    for shown in lines(&text).lines().map(line) {
        let colour = match shown.chars().next() {
            Some('-') if colours => "\u{1b}[31m",
            Some('+') if colours => "\u{1b}[32m",
            _ => "",
        };
        out.push_str(&if colour.is_empty() {
            format!("{shown}\n")
        } else {
            format!("{colour}{shown}\u{1b}[0m\n")
        });
    }
    if !std::io::stdout().is_terminal() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn a_field_is_set_digit_for_digit() {
        for (text, value) in [
            ("/a=12.50", json!("12.50")),
            ("/a=12.5", json!(12.5)),
            (
                "/a=99999999999999999999.99",
                json!("99999999999999999999.99"),
            ),
            ("/a=EUR", json!("EUR")),
            ("/a=\"1\"", json!("1")),
            ("/a=null", json!(null)),
            ("/a=b=c", json!("b=c")),
        ] {
            assert_eq!(parse_set(text).unwrap(), ("/a".to_owned(), value), "{text}");
        }
        assert!(parse_set("a=1").is_err() && parse_set("/a").is_err());
    }
}
