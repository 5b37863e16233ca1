//! Presets: what a vendor fixed, one file a vendor in `contracts/sources`, compiled in.

use super::draft::Draft;
use super::resends::Resends;
use super::scheme::Scheme;
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use toml::{Table, Value};

/// One file a preset: the keys of a `[[source]]` without its name and secrets, and `[about]`.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sources");

/// Who the vendor is and where its rules come from.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The vendor, and which of its ways to sign
    pub vendor: String,
    /// The vendor's pages that the preset follows
    pub rules: Vec<String>,
    /// What the secret is and where the vendor shows it
    pub secret: String,
    /// What else whoever uses it must know
    #[serde(default)]
    pub note: Option<String>,
}

/// Names of the presets, in order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let stems = FILES
        .files()
        .filter_map(|file| file.path().to_str()?.strip_suffix(".toml"));
    let mut names: Vec<_> = stems.collect();
    names.sort_unstable();
    names
}

/// Who the vendor is; `None` when there is no preset of this name.
#[must_use]
pub fn about(name: &str) -> Option<About> {
    let mut table = file(name)?;
    table.remove("about")?.try_into().ok()
}

/// The text of a preset's file, as it is in `contracts/sources`.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    FILES.get_file(format!("{name}.toml"))?.contents_utf8()
}

/// How the vendor sends again what was not answered 2xx: as its own file says, or that of the preset it names, or the default.
///
/// # Panics
/// Never: a test reads them all.
#[must_use]
pub fn resends(name: &str) -> Resends {
    let Some(mut table) = file(name) else {
        return Resends::default();
    };
    match (table.remove("resends"), table.remove("preset")) {
        (Some(Value::Table(own)), _) => Resends::parse(own)
            .unwrap_or_else(|problem| panic!("preset {name}: resends: {problem}")),
        (_, Some(Value::String(base))) => resends(&base),
        (_, _) => Resends::default(),
    }
}

/// The examples of a preset, as its vendor sends them but for what is made when a request is signed. The first is `body.*` with
/// `headers.txt`; further ones are `body-LABEL.*`, with `headers-LABEL.txt` where their headers are others.
#[must_use]
pub fn examples(name: &str) -> Vec<Draft> {
    let Some(folder) = FILES.get_dir(name) else {
        return Vec::new();
    };
    let mut bodies: Vec<_> = folder
        .files()
        .filter(|file| stem(file.path()).starts_with("body"))
        .collect();
    bodies.sort_by_key(|file| stem(file.path()));
    let example = |body: &&include_dir::File<'_>| {
        let label = stem(body.path()).strip_prefix("body")?.to_owned();
        let headers =
            |label: &str| folder.get_file(folder.path().join(format!("headers{label}.txt")));
        let headers = headers(&label).or_else(|| headers(""))?.contents_utf8()?;
        Draft::of_text(headers, body.contents())
    };
    bodies.iter().filter_map(example).collect()
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The keys that a source of this preset begins with: the file's own, over those of the preset that the file itself names.
///
/// # Errors
/// There is no preset of this name.
pub(crate) fn table(name: &str) -> Result<Table, String> {
    let mut table = file(name).ok_or_else(|| unknown(name))?;
    table.remove("about");
    table.remove("resends");
    match table.remove("preset") {
        Some(Value::String(base)) => Ok(merge(table, self::table(&base)?)),
        Some(_) | None => Ok(table),
    }
}

/// The scheme of a preset.
pub(crate) fn scheme(name: &str) -> Option<Scheme> {
    table(name).ok()?.remove("scheme")?.try_into().ok()
}

/// What is said of a name that no preset has.
pub(crate) fn unknown(name: &str) -> String {
    let close = names()
        .into_iter()
        .find(|known| known.contains(name) || name.contains(known));
    let hint = close.map_or_else(String::new, |close| format!(" (do you mean {close:?}?)"));
    format!(
        "{name:?} is unknown{hint}; presets are {}",
        names().join(", ")
    )
}

/// `own` over `base`. The tables `scheme` and `event` are merged key by key; a scheme by its name replaces the whole.
pub(crate) fn merge(own: Table, base: Table) -> Table {
    let mut merged = base;
    for (key, value) in own {
        match (value, merged.get_mut(&key)) {
            (Value::Table(own), Some(Value::Table(base))) if key == "scheme" || key == "event" => {
                base.extend(own);
            }
            (value, _) => {
                merged.insert(key, value);
            }
        }
    }
    merged
}

fn file(name: &str) -> Option<Table> {
    toml::from_str(text(name)?).ok()
}
