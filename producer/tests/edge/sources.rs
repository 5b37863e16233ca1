//! An edge with sources of the test's own, which sign as GitHub does.

use crate::world::{SECRET, World, world};
use contracts::Secret;
use contracts::webhook::source::Sources;
use std::io::Write;
use tempfile::NamedTempFile;

pub(crate) struct Vendors {
    pub(crate) world: World,
    sources: Sources,
    _files: [NamedTempFile; 2],
}

/// Sources by name, each with further lines of its entry.
pub(crate) async fn vendors(entries: &[(&str, &str)]) -> Vendors {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let from = secret.path().display();
    let entry = |(name, more): &(&str, &str)| {
        format!(
            "[[source]]\nname = \"{name}\"\nscheme = \"github\"\nsecrets = [{{ id = \"k\", from = \"file:{from}\" }}]\n{more}\n"
        )
    };
    let text: String = entries.iter().map(entry).collect();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let world = world(&["--sources", file.path().to_str().unwrap()], 1000).await;
    Vendors {
        world,
        sources: Sources::from_toml(&text, &|_| Ok(Secret::new(SECRET))).unwrap(),
        _files: [secret, file],
    }
}

impl Vendors {
    /// The headers that sign a body.
    pub(crate) fn sign(&self, source: &str, body: &[u8]) -> Vec<(String, String)> {
        let verifier = &self.sources.get(source).unwrap().verifier;
        verifier.sign(Some("delivery-1"), 0, body, 0)
    }
}
