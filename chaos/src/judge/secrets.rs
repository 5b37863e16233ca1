//! No secret of the run may be in what a process printed.

use super::Finding;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A secret and what it is called.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) secret: String,
}

/// Looks for them in every log of this folder; each is named, and not shown.
pub(crate) fn shown(folder: &Path, secrets: &[Named]) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut left: Vec<&Named> = secrets.iter().collect();
        for line in BufReader::new(std::fs::File::open(&path)?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            left.retain(|one| {
                let is_shown = line.contains(&one.secret);
                if is_shown {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    let what = format!("{} is in {file}", one.name);
                    found.push(Finding::new("secret_shown", what));
                }
                !is_shown
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_log_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = [Named {
            name: "the database's password".to_owned(),
            secret: "s3cret".to_owned(),
        }];
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("a.log", "started\n").unwrap();
        write("a.toml", "password = \"s3cret\"\n").unwrap();
        assert!(shown(folder.path(), &secrets).unwrap().is_empty());
        write("b.log", "url=postgres://u:s3cret@h/d\nagain s3cret\n").unwrap();
        let found = shown(folder.path(), &secrets).unwrap();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["secret_shown: the database's password is in b.log"]);
    }
}
