//! What roles load from files at start: sources (vendors), event contracts, the pipeline, secrets.

use crate::config::{ConfigError, check_topic};
use crate::reload::FilesRead;
use contracts::Secret;
use contracts::event::{Catalog, ContractFiles, Mappings, version_of};
use contracts::pipeline::Pipeline;
use contracts::webhook::source::Sources;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Resolves a secret reference: `env:NAME` or `file:/path`. One line end after the secret is dropped (`\n` or `\r\n`), as editors and
/// `echo` add it; any other control character is refused, since no vendor's secret has one and every signature would fail. A public key or
/// certificate in PEM has lines.
///
/// # Errors
/// A sentence naming the variable or file, never its content.
pub fn resolve_secret(reference: &str) -> Result<Secret, String> {
    resolve(reference, &mut FilesRead::default())
}

fn resolve(reference: &str, files: &mut FilesRead) -> Result<Secret, String> {
    if let Some(name) = reference.strip_prefix("env:") {
        return match std::env::var(name) {
            Ok(value) => secret_of(value.into_bytes())
                .map_err(|problem| format!("environment variable {name} {problem}")),
            Err(_) => Err(format!("environment variable {name} is not set")),
        };
    }
    if let Some(path) = reference.strip_prefix("file:") {
        let bytes = files
            .read(Path::new(path))
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
    let is_pem = bytes.starts_with(b"-----BEGIN ");
    let unexpected =
        |byte: &u8| byte.is_ascii_control() && !(is_pem && matches!(byte, b'\n' | b'\r'));
    match bytes.iter().position(unexpected) {
        Some(at) => Err(format!(
            "has a control character (byte {}): write the secret alone, on one line",
            at + 1
        )),
        None if bytes.is_empty() => Err("is empty".to_owned()),
        None => Ok(Secret::new(bytes)),
    }
}

/// The sources of a file, or the built-in one with its secret; `None` when there is neither. What is read is noted in `files`: the file, and
/// every secret's.
///
/// # Errors
/// Names the file and what is wrong in it, never a secret.
pub fn load_sources(
    file: Option<&Path>,
    secret: Option<&Secret>,
    files: &mut FilesRead,
) -> Result<Option<Sources>, ConfigError> {
    let Some(path) = file else {
        return Ok(secret
            .filter(|secret| !secret.expose().is_empty())
            .map(Sources::builtin));
    };
    let bad =
        |problem: String| ConfigError::new("--sources", format!("{}: {problem}", path.display()));
    let text = files.read(path).map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| bad("is not UTF-8".to_owned()))?;
    let files = RefCell::new(files);
    let resolve = |reference: &str| resolve(reference, &mut files.borrow_mut());
    Sources::from_toml(&text, &resolve)
        .map(Some)
        .map_err(|error| bad(error.to_string()))
}

/// Where the envelope is in the events of a sources file, of the built-in source without one. Needs no secrets. The file is noted in `files`.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn load_mappings(file: Option<&Path>, files: &mut FilesRead) -> Result<Mappings, ConfigError> {
    let Some(path) = file else {
        return Ok(Mappings::builtin());
    };
    let bad =
        |problem: String| ConfigError::new("--sources", format!("{}: {problem}", path.display()));
    let text = files.read(path).map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| bad("is not UTF-8".to_owned()))?;
    Mappings::from_toml(&text).map_err(|error| bad(error.to_string()))
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

/// The built-in contracts and those of a directory: `<name>/v<N>`.
///
/// # Errors
/// Names the folder and the file.
pub fn load_contracts(directory: Option<&Path>) -> Result<Catalog, ConfigError> {
    let mut files = Catalog::builtin_files();
    if let Some(directory) = directory {
        files.extend(read_contracts(directory)?);
    }
    Catalog::compile(files).map_err(|error| bad_contracts(error.to_string()))
}

/// The files of the contracts of a directory, by name and version: `<name>/v<N>`.
///
/// # Errors
/// Names the folder and the file.
pub fn read_contracts(directory: &Path) -> Result<Vec<ContractFiles>, ConfigError> {
    let mut files = Vec::new();
    for (name, folder) in folders(directory)? {
        for (version, folder) in folders(&folder)? {
            files.push(contract_files(&name, &version, &folder)?);
        }
    }
    files.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
    Ok(files)
}

fn bad_contracts(problem: String) -> ConfigError {
    ConfigError::new("--contracts", problem)
}

/// The folders in a folder, with their names, in their order. Those whose name begins with a dot are of others: `.git`, Kubernetes' `..data`.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, ConfigError> {
    let bad = |error| bad_contracts(format!("cannot read {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(bad)? {
        let entry = entry.map_err(bad)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn contract_files(name: &str, version: &str, folder: &Path) -> Result<ContractFiles, ConfigError> {
    let version = version_of(version).ok_or_else(|| {
        bad_contracts(format!(
            "{} is no version: a contract's folders are v1, v2 and so on, and its files are in them",
            folder.display()
        ))
    })?;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| bad_contracts(format!("cannot read {}: {error}", path.display())))
    };
    let schema_id = match read("schema-id") {
        Ok(text) => Some(text.trim().parse().map_err(|_| {
            bad_contracts(format!("{}/schema-id is not a number", folder.display()))
        })?),
        Err(_) => None,
    };
    Ok(ContractFiles {
        name: name.to_owned(),
        version,
        schema_json: read("schema.json")?,
        record_avsc: folder
            .join("record.avsc")
            .exists()
            .then(|| read("record.avsc"))
            .transpose()?,
        schema_id,
    })
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
            (
                b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
                Ok(b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----"),
            ),
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
