//! What roles load from files at start: sources (vendors), event contracts, the pipeline, secrets.

use crate::config::{ConfigError, check_topic};
use contracts::Secret;
use contracts::event::{Catalog, ContractFiles};
use contracts::pipeline::Pipeline;
use contracts::webhook::source::Sources;
use std::path::Path;

/// Resolves a secret reference: `env:NAME` or `file:/path`. One line end after the secret is dropped (`\n` or `\r\n`), as editors and
/// `echo` add it; any other control character is refused, since no vendor's secret has one and every signature would fail.
///
/// # Errors
/// A sentence naming the variable or file, never its content.
pub fn resolve_secret(reference: &str) -> Result<Secret, String> {
    if let Some(name) = reference.strip_prefix("env:") {
        return match std::env::var(name) {
            Ok(value) => secret_of(value.into_bytes())
                .map_err(|problem| format!("environment variable {name} {problem}")),
            Err(_) => Err(format!("environment variable {name} is not set")),
        };
    }
    if let Some(path) = reference.strip_prefix("file:") {
        let bytes = std::fs::read(path)
            .map_err(|error| format!("cannot read secret file {path}: {error}"))?;
        return secret_of(bytes).map_err(|problem| format!("secret file {path} {problem}"));
    }
    Err("write env:NAME or file:/path, never the secret itself".to_owned())
}

fn secret_of(mut bytes: Vec<u8>) -> Result<Secret, String> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    match bytes.iter().position(u8::is_ascii_control) {
        Some(at) => Err(format!(
            "has a control character (byte {}): write the secret alone, on one line",
            at + 1
        )),
        None if bytes.is_empty() => Err("is empty".to_owned()),
        None => Ok(Secret::new(bytes)),
    }
}

/// The sources of a file, or the built-in one with its secret; `None` when there is neither.
///
/// # Errors
/// Names the file and what is wrong in it, never a secret.
pub fn load_sources(
    file: Option<&Path>,
    secret: Option<&Secret>,
) -> Result<Option<Sources>, ConfigError> {
    let Some(path) = file else {
        return Ok(secret
            .filter(|secret| !secret.expose().is_empty())
            .map(Sources::builtin));
    };
    let bad =
        |problem: String| ConfigError::new("--sources", format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Sources::from_toml(&text, &resolve_secret)
        .map(Some)
        .map_err(|error| bad(error.to_string()))
}

/// The pipeline that a file describes; without one the built-in pipeline.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn load_pipeline(file: Option<&Path>) -> Result<Pipeline, ConfigError> {
    let Some(file) = file else {
        return Ok(Pipeline::built_in());
    };
    let bad =
        |problem: String| ConfigError::new("--pipeline", format!("{}: {problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
    let pipeline = Pipeline::parse(&text).map_err(|error| bad(error.to_string()))?;
    for topic in pipeline.topics.keys() {
        check_topic("--pipeline", topic)?;
    }
    Ok(pipeline)
}

/// The built-in contracts and those of a directory, one folder an event type.
///
/// # Errors
/// Names the folder and the file.
pub fn load_contracts(directory: Option<&Path>) -> Result<Catalog, ConfigError> {
    let bad = |problem: String| ConfigError::new("--contracts", problem);
    let mut files = Catalog::builtin_files();
    if let Some(directory) = directory {
        let entries = std::fs::read_dir(directory)
            .map_err(|error| bad(format!("cannot read {}: {error}", directory.display())))?;
        for entry in entries {
            let folder = entry.map_err(|error| bad(error.to_string()))?.path();
            if !folder.is_dir() {
                continue;
            }
            let read = |name: &str| {
                let path = folder.join(name);
                std::fs::read_to_string(&path)
                    .map_err(|error| bad(format!("cannot read {}: {error}", path.display())))
            };
            let event_type = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let schema_id =
                match read("schema-id") {
                    Ok(text) => Some(text.trim().parse().map_err(|_| {
                        bad(format!("{}/schema-id is not a number", folder.display()))
                    })?),
                    Err(_) => None,
                };
            files.push(ContractFiles {
                event_type,
                schema_json: read("schema.json")?,
                record_avsc: read("record.avsc")?,
                schema_id,
            });
        }
    }
    Catalog::compile(files).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_after_a_secret_is_dropped_and_other_control_characters_are_refused() {
        for (content, secret) in [
            (&b"key"[..], Ok(&b"key"[..])),
            (b"key\n", Ok(b"key")),
            (b"key\r\n", Ok(b"key")),
            (b" k y ", Ok(b" k y ")),
            (
                "schl\u{fc}ssel\n".as_bytes(),
                Ok("schl\u{fc}ssel".as_bytes()),
            ),
            (b"key\n\n", Err("byte 4")),
            (b"key\r", Err("byte 4")),
            (b"a\tb", Err("byte 2")),
            (b"\n", Err("is empty")),
            (b"", Err("is empty")),
        ] {
            match (secret_of(content.to_vec()), secret) {
                (Ok(resolved), Ok(secret)) => assert_eq!(resolved.expose(), secret),
                (Err(problem), Err(reason)) => {
                    assert!(problem.contains(reason), "{problem}");
                    assert!(!problem.contains("key"), "{problem}");
                }
                (resolved, _) => panic!("{content:?}: {resolved:?}"),
            }
        }
    }
}
