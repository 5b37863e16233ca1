//! Contracts as they stand somewhere: in a directory, or in a commit of its repository.

use anyhow::Context;
use contracts::event::{Catalog, ContractFiles, version_of};
use runtime::config::ConfigError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long git may take.
const GIT: Duration = Duration::from_secs(60);
const FILES: [&str; 3] = ["schema.json", "record.avsc", "schema-id"];

/// Whether these are the built-in contracts in their own repository.
pub(super) fn has_builtin(files: &[ContractFiles]) -> bool {
    let builtin = Catalog::builtin_files();
    files.iter().any(|one| {
        builtin
            .iter()
            .any(|other| (&other.name, other.version) == (&one.name, one.version))
    })
}

/// One file of a version's folder `examples`.
pub(super) struct Example {
    pub(super) valid: bool,
    /// Without the extension
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) payload: Vec<u8>,
}

/// The examples of a version, by name: those of `valid`, then those of `invalid`.
pub(super) fn examples(folder: &Path) -> anyhow::Result<Vec<Example>> {
    let mut found = Vec::new();
    for (kind, valid) in [("valid", true), ("invalid", false)] {
        let folder = folder.join("examples").join(kind);
        if !folder.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        paths.retain(|path| path.is_file());
        paths.sort();
        for path in paths {
            let payload =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_stem().unwrap_or_default();
            found.push(Example {
                valid,
                name: name.to_string_lossy().into_owned(),
                payload,
                path,
            });
        }
    }
    Ok(found)
}

/// The contracts of a directory as a commit has them; none where it had no such directory.
pub(super) async fn of_commit(
    directory: &Path,
    commit: &str,
) -> anyhow::Result<Vec<ContractFiles>> {
    let named = |problem: &str| {
        let problem = format!(
            "there is no folder {commit:?}, no such contract, and no such git ref: {problem}"
        );
        ConfigError::new("what is compared", problem)
    };
    if commit.starts_with('-') || commit.contains([':', '\n']) {
        return Err(named("write a branch, a tag or a commit").into());
    }
    let arguments = ["ls-tree", "-r", "-z", "--name-only", commit, "--", "."];
    let listed = git(directory, &arguments, Vec::new()).await?;
    let listed = listed.map_err(|problem| named(&problem))?;
    let paths: Vec<&str> = listed.split('\0').filter(|path| is_wanted(path)).collect();
    let wanted: String = paths
        .iter()
        .map(|path| format!("{commit}:./{path}\n"))
        .collect();
    let contents = git(directory, &["cat-file", "--batch"], wanted.into_bytes()).await?;
    let contents = contents.map_err(|problem| named(&problem))?;
    let contents = of_batch(&contents, paths.len()).context("git answered something unexpected")?;
    let mut versions: BTreeMap<(&str, u32), ContractFiles> = BTreeMap::new();
    for (path, text) in paths.into_iter().zip(contents) {
        let mut parts = path.split('/');
        let (Some(name), Some(version), Some(file)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let version = version_of(version).unwrap_or_default();
        let files = versions
            .entry((name, version))
            .or_insert_with(|| ContractFiles {
                name: name.to_owned(),
                version,
                schema_json: String::new(),
                record_avsc: None,
                schema_id: None,
            });
        match file {
            "schema.json" => files.schema_json = text.to_owned(),
            "record.avsc" => files.record_avsc = Some(text.to_owned()),
            _ => files.schema_id = text.trim().parse().ok(),
        }
    }
    Ok(versions
        .into_values()
        .filter(|files| !files.schema_json.is_empty())
        .collect())
}

/// `<name>/v<N>/<file>`
fn is_wanted(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), [_, version, file] if version_of(version).is_some() && FILES.contains(file))
        && !path.contains('\n')
}

/// What `git cat-file --batch` printed: before each text a line with its length in bytes.
fn of_batch(printed: &str, count: usize) -> Option<Vec<&str>> {
    let mut rest = printed;
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let (head, after) = rest.split_once('\n')?;
        let length: usize = head.rsplit(' ').next()?.parse().ok()?;
        texts.push(after.get(..length)?);
        rest = after.get(length + 1..)?;
    }
    Some(texts)
}

/// What git prints, or why it fails.
async fn git(
    directory: &Path,
    arguments: &[&str],
    input: Vec<u8>,
) -> anyhow::Result<Result<String, String>> {
    let mut child = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context(
            "cannot run git, which reads the published contracts: install it, or give a folder",
        )?;
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // It may end before it has read all; its exit code says so.
            stdin.write_all(&input).await.ok();
        }
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1 };
    let output = tokio::time::timeout(GIT, both)
        .await
        .with_context(|| format!("git took longer than {} s", GIT.as_secs()))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(if output.status.success() {
        match String::from_utf8(output.stdout) {
            Ok(printed) => Ok(printed),
            Err(_) => Err("a contract is not UTF-8".to_owned()),
        }
    } else {
        Err(text(output.stderr).trim().replace('\n', "; "))
    })
}
