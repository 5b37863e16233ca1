//! The source files as text, for what only the text says: which literals are used as codes, metrics and routes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every source file of every crate, by its path in the repository.
pub(super) fn files() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let (root, mut found) = (super::repository("."), Vec::new());
    for entry in std::fs::read_dir(&root).unwrap() {
        let folder = entry.unwrap().path().join("src");
        if folder.is_dir() {
            collect(&folder, &mut found);
        }
    }
    assert!(found.len() > 100, "the sources were found");
    found.sort();
    // This module's own literals are not the product's.
    let own = Path::new("eventflow/src/reference");
    found
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_owned(), path))
        .filter(|(name, _)| !name.starts_with(own))
        .map(|(name, path)| {
            (
                name.to_string_lossy().into_owned(),
                std::fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

/// The text of one file of the repository.
pub(super) fn text_of(file: &str) -> String {
    let path = super::repository(file);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The text literals in a file's `fn code`: one for each variant, and the compiler sees to it that no variant is without.
pub(super) fn codes_in(file: &str) -> BTreeSet<String> {
    let text = text_of(file);
    let (_, rest) = text.split_once("pub fn code(").unwrap();
    let body = rest.split("\n    }").next().unwrap();
    let codes: BTreeSet<_> = body
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    assert!(!codes.is_empty(), "{file}");
    codes
}

/// The literal that each of these calls begins with. Calls whose code is not a literal pass one on that is declared elsewhere.
pub(super) fn first_literals<'a>(text: &'a str, call: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(call)
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}
