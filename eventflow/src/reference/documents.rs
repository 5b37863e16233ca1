//! What the documents name exists: files and folders in backticks, links and their headings, and every `eventflow` command line.

use super::repository;
use clap::error::ErrorKind;
use std::collections::BTreeSet;
use std::path::Path;

/// Every document of the repository by its path, without what is generated or historical.
fn documents() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                collect(&path, found);
            } else if name.ends_with(".md") && name != "CHANGELOG.md" {
                found.push(path);
            }
        }
    }
    let (root, mut found) = (repository("."), Vec::new());
    collect(&root, &mut found);
    found.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy();
        (name.into_owned(), std::fs::read_to_string(&path).unwrap())
    };
    let documents: Vec<_> = found.into_iter().map(read).collect();
    assert!(documents.len() > 10, "the documents were found");
    documents
}

/// The lines in code blocks, and what stands between backticks outside of them.
fn code_of(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut blocks, mut spans, mut inside) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            blocks.push(line);
        } else {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    (blocks, spans)
}

/// A path of this repository, by its form: it has a slash, begins with none, and has nothing to fill in.
fn looks_like_a_path(text: &str) -> bool {
    text.contains('/')
        && !text.starts_with(['/', '-', '.'])
        && !text.starts_with("target/")
        && !text.starts_with("application/")
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "._-/".contains(character))
}

#[test]
fn every_file_and_folder_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for (name, text) in documents() {
        // The others name files in folders of their own.
        if !name.starts_with("docs/") && name.contains('/') {
            continue;
        }
        for path in code_of(&text).1 {
            if looks_like_a_path(path) && !repository(path).exists() {
                missing.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The heading's anchor, as GitHub makes it.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for (name, text) in documents() {
        let folder = repository(&name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => repository(&name),
                path => folder.join(path),
            };
            let headings: BTreeSet<String> = std::fs::read_to_string(&target)
                .unwrap_or_default()
                .lines()
                .filter_map(|line| Some(anchor(line.strip_prefix('#')?.trim_start_matches('#'))))
                .collect();
            if !target.exists() || (!heading.is_empty() && !headings.contains(heading)) {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The words of a command line as a shell splits them; none where it has something to fill in.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#' | '&' | ';') if word.is_none() => break,
            (None, '<' | '…' | '→' | '|' | '\\') => return None,
            (None, ' ') => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    (!words.iter().any(|word| word.contains("..."))).then_some(words)
}

#[test]
fn every_command_line_in_a_document_is_one_that_the_program_takes() {
    let (mut refused, mut parsed) = (Vec::new(), 0);
    for (name, text) in documents() {
        let (blocks, spans) = code_of(&text);
        let lines = blocks.into_iter().chain(spans);
        let commands = lines.filter_map(|line| {
            let line = line.trim().trim_start_matches("$ ");
            line.starts_with("eventflow ").then_some(line)
        });
        for words in commands.filter_map(words) {
            parsed += 1;
            let Err(error) = super::command_line().try_get_matches_from(&words) else {
                continue;
            };
            match error.kind() {
                // A command that is only named, without what it needs.
                ErrorKind::MissingRequiredArgument
                | ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {}
                _ => refused.push(format!("{name}: {}: {error}", words.join(" "))),
            }
        }
    }
    assert!(parsed > 50, "the command lines were found: {parsed}");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn a_command_line_is_split_as_a_shell_does() {
    let split =
        words("eventflow dlq edit --patch '[{\"a\": 1}]' --reason \"two words\"   # why").unwrap();
    assert_eq!(
        split,
        [
            "eventflow",
            "dlq",
            "edit",
            "--patch",
            "[{\"a\": 1}]",
            "--reason",
            "two words"
        ]
    );
    assert_eq!(words("eventflow trace <event id>"), None);
}
