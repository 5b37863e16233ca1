//! Packs: whole domains as data, each a folder of `contracts/packs`, compiled in: who sends, what, and a request of each kind.
//!
//! ```text
//! NAME/README.md                         its story, and queries over its rows
//! NAME/sources.toml                      its vendors; the secret of each is `env:EVENTFLOW_PACK_SECRET`
//! NAME/events/CONTRACT/vN/...            its contracts, as in `contracts/events`
//! NAME/requests/SOURCE/TYPE.json         the body that a source posts, without its signature
//! NAME/requests/SOURCE/TYPE.headers.txt  its headers, where the vendor's mapping reads some
//! ```
//!
//! Names of sources begin with the pack's name and a hyphen, so a pack can stand beside sources of one's own. A contract's name is what its
//! source's mapping makes of the event type (`film.{type}`), so it need not be the event type.

use crate::event::{Catalog, ContractError, ContractFiles, files_in};
use include_dir::{Dir, include_dir};

static PACKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/packs");

/// The environment variable with the secret of all sources of a pack. Its value begins with `whsec_` and continues in base64, which suits every scheme
/// that packs use.
pub const SECRET_VARIABLE: &str = "EVENTFLOW_PACK_SECRET";

/// A domain: its sources, its contracts, and what its sources send.
#[derive(Debug)]
pub struct Pack {
    /// The name of its folder
    pub name: &'static str,
    /// Its story, in Markdown
    pub readme: &'static str,
    /// A whole sources file
    pub sources_toml: &'static str,
    /// Without the built-in contracts
    pub contracts: Vec<ContractFiles>,
    /// At least one of each contract, in the order of their names
    pub requests: Vec<Request>,
    folder: &'static Dir<'static>,
}

/// What a source of a pack posts, without its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The source, as `sources_toml` names it
    pub source: &'static str,
    /// The name of its file, which is the event type with `.` for `/`
    pub name: &'static str,
    /// One `name: value` a line; empty where the mapping reads none
    pub headers: &'static str,
    /// JSON
    pub body: &'static str,
}

/// Names of the packs, in order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = PACKS.dirs().filter_map(name_of).collect();
    names.sort_unstable();
    names
}

/// The pack of this name; `None` when there is none, or a file of it is missing.
#[must_use]
pub fn named(name: &str) -> Option<Pack> {
    let folder = PACKS.dirs().find(|folder| name_of(folder) == Some(name))?;
    let text = |file: &str| folder.get_file(folder.path().join(file))?.contents_utf8();
    Some(Pack {
        name: name_of(folder)?,
        readme: text("README.md")?,
        sources_toml: text("sources.toml")?,
        contracts: files_in(folder.get_dir(folder.path().join("events"))?),
        requests: requests(folder.get_dir(folder.path().join("requests"))?),
        folder,
    })
}

impl Pack {
    /// Its contracts and the built-in ones.
    ///
    /// # Errors
    /// As [`Catalog::compile`]; a test compiles every pack.
    pub fn catalog(&self) -> Result<Catalog, ContractError> {
        let builtin = Catalog::builtin_files().into_iter();
        Catalog::compile(builtin.chain(self.contracts.iter().cloned()))
    }

    /// All its files, by their path in its folder: to write them somewhere. `events` is then what `--contracts` takes.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &'static [u8])> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder];
        while let Some(folder) = folders.pop() {
            folders.extend(folder.dirs());
            found.extend(folder.files().filter_map(|file| {
                let path = file.path().strip_prefix(self.folder.path()).ok()?;
                Some((path.to_str()?, file.contents()))
            }));
        }
        found.sort_unstable();
        found
    }
}

fn name_of(folder: &Dir<'static>) -> Option<&'static str> {
    folder.path().file_name()?.to_str()
}

fn requests(folder: &'static Dir<'static>) -> Vec<Request> {
    let mut found = Vec::new();
    for source in folder.dirs() {
        found.extend(source.files().filter_map(|file| {
            let name = file.path().file_name()?.to_str()?.strip_suffix(".json")?;
            let headers = source.path().join(format!("{name}.headers.txt"));
            let headers = source
                .get_file(headers)
                .and_then(|file| file.contents_utf8());
            Some(Request {
                source: name_of(source)?,
                name,
                headers: headers.unwrap_or_default(),
                body: file.contents_utf8()?,
            })
        }));
    }
    found.sort_unstable_by_key(|request| (request.source, request.name));
    found
}
