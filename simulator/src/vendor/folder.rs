//! The sources file and the secrets that an edge and the simulator share: a folder that the simulator writes.

use super::{Examples, PrivateKey, Vendor};
use anyhow::Context;
use contracts::Secret;
use contracts::webhook::preset;
use contracts::webhook::scheme::{Method, Scheme};
use contracts::webhook::source::Sources;
use runtime::files::{load_sources, resolve_secret};
use runtime::reload::FilesRead;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::{Table, Value};

/// First line of a sources file that may be written again: the simulator's own.
const MARK: &str = "# Written by eventflow simulator; changes are lost when it rotates secrets.\n";
const FILE: &str = "sources.toml";
/// Stands for the address at which vendors would reach the edge, where they sign it.
const PUBLIC_URL: &str = "https://hooks.example.com/api/webhooks/";

/// A folder with `sources.toml`, the secrets that it names, and the private keys (`NAME.key`) of vendors that sign with one.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    sources: Vec<Table>,
    /// What else the file has
    rest: Table,
    rotations: u32,
}

impl Folder {
    /// Writes a source for each of these presets, named as the preset, with a new secret.
    ///
    /// # Errors
    /// There is no such preset, or the folder cannot be written.
    pub fn of_presets(root: &Path, names: &[String]) -> anyhow::Result<Self> {
        let mut text = String::new();
        for name in names {
            let scheme = Scheme::preset(name).with_context(|| {
                format!(
                    "there is no preset {name:?}; there are {}",
                    preset::names().join(", ")
                )
            })?;
            text += &format!(
                "[[source]]\nname = {name:?}\npreset = {name:?}\nsecrets = [{{ id = \"first\", from = \"made\" }}]\n"
            );
            if scheme.template.contains("{url}") {
                text += &format!("public_url = \"{PUBLIC_URL}{name}\"\n");
            }
            if scheme.template.contains("{webhook_id}") {
                text += "[source.scheme]\nwebhook_id = \"SIMULATED\"\n";
            }
        }
        Self::copy_of(root, &text, &[])
    }

    /// Writes a copy of a sources file in which every secret is there: what is neither `given`, by its reference, nor can be read is made.
    ///
    /// # Errors
    /// The file cannot be used, or the folder cannot be written.
    pub fn copy_of(root: &Path, text: &str, given: &[(&str, &Secret)]) -> anyhow::Result<Self> {
        let described = Sources::described(text)?;
        let mut file: Table = toml::from_str(text)?;
        let Some(Value::Array(sources)) = file.remove("source") else {
            anyhow::bail!("there is no source");
        };
        std::fs::create_dir_all(root)?;
        let mut folder = Self {
            root: root.to_owned(),
            sources: Vec::new(),
            rest: file,
            rotations: 0,
        };
        for (source, value) in described.iter().zip(sources) {
            let Value::Table(mut table) = value else {
                anyhow::bail!("{}: write it as [[source]]", source.name);
            };
            for entry in secrets_of(&mut table) {
                let text = |key: &str| {
                    entry
                        .get(key)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                let (id, from) = (text("id"), text("from"));
                let given = given.iter().find(|(reference, _)| *reference == from);
                let path = match given {
                    Some((_, secret)) => folder.write_secret(&source.name, &id, secret.expose())?,
                    None if resolve_secret(&from).is_ok() => continue,
                    None => folder.new_secret(&source.name, &id, source.verifier.scheme())?,
                };
                entry.insert("from".to_owned(), reference(&path));
            }
            if let Some(Value::String(from)) = table.get("verify_token")
                && resolve_secret(from).is_err()
            {
                let token = hex(&random());
                let path = folder.write_secret(&source.name, "verify-token", token.as_bytes())?;
                table.insert("verify_token".to_owned(), reference(&path));
            }
            folder.sources.push(table);
        }
        folder.write()?;
        Ok(folder)
    }

    /// Opens a sources file that the simulator wrote.
    ///
    /// # Errors
    /// Somebody else wrote it.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)?;
        anyhow::ensure!(
            text.starts_with(MARK),
            "{} was not written by `eventflow simulator vendors`, so its secrets are not rotated",
            file.display()
        );
        let mut parsed: Table = toml::from_str(&text)?;
        let Some(Value::Array(sources)) = parsed.remove("source") else {
            anyhow::bail!("there is no source");
        };
        let tables = sources.into_iter().filter_map(|source| match source {
            Value::Table(table) => Some(table),
            _ => None,
        });
        Ok(Self {
            root: file.parent().unwrap_or(Path::new(".")).to_owned(),
            sources: tables.collect(),
            rest: parsed,
            rotations: 0,
        })
    }

    /// The sources file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.root.join(FILE)
    }

    /// The secret of a source that signs: its first.
    #[must_use]
    pub fn secret(&self, source: &str) -> Option<Secret> {
        let is_it = |table: &&Table| table.get("name").and_then(Value::as_str) == Some(source);
        let table = self.sources.iter().find(is_it)?;
        let first = table.get("secrets")?.as_array()?.first()?;
        resolve_secret(first.get("from")?.as_str()?).ok()
    }

    /// Gives every source a new secret, which signs from now on; those before it stay valid until `not_after`, in Unix seconds.
    ///
    /// # Errors
    /// The folder cannot be written. Then the sources file is as it was.
    pub fn rotate(&mut self, not_after: i64) -> anyhow::Result<()> {
        self.rotations += 1;
        let until = OffsetDateTime::from_unix_timestamp(not_after)?.format(&Rfc3339)?;
        let id = format!("rotated-{}-{not_after}", self.rotations);
        let described = Sources::described(&self.text()?)?;
        for (index, source) in described.iter().enumerate() {
            let path = self.new_secret(&source.name, &id, source.verifier.scheme())?;
            let Some(table) = self.sources.get_mut(index) else {
                continue;
            };
            for before in secrets_of(table) {
                before
                    .entry("not_after")
                    .or_insert_with(|| Value::String(until.clone()));
            }
            let mut entry = Table::new();
            entry.insert("id".to_owned(), Value::String(id.clone()));
            entry.insert("from".to_owned(), reference(&path));
            if let Some(Value::Array(secrets)) = table.get_mut("secrets") {
                secrets.insert(0, Value::Table(entry));
            }
        }
        self.write()
    }

    /// The vendors of a sources file, `only` those named if any are, with their private keys beside it; and why others cannot be played.
    ///
    /// # Errors
    /// The file cannot be used, or has none of a name.
    pub fn vendors(
        file: &Path,
        only: &[String],
        examples: &Examples,
    ) -> anyhow::Result<(Vec<Vendor>, Vec<String>)> {
        let sources = load_sources(Some(file), None, &mut FilesRead::default())?;
        let sources: Vec<_> = sources.into_iter().flatten().collect();
        for name in only {
            let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
            anyhow::ensure!(
                names.contains(&name.as_str()),
                "{} has no source {name:?}; it has {}",
                file.display(),
                names.join(", ")
            );
        }
        let (mut vendors, mut others) = (Vec::new(), Vec::new());
        for source in sources {
            if !only.is_empty() && !only.contains(&source.name) {
                continue;
            }
            let name = source.name.clone();
            let scheme = source.verifier.scheme();
            let key = file.with_file_name(format!("{name}.key"));
            let private = match scheme.algorithm.method() {
                Method::PublicKey if key.exists() => Some(PrivateKey::from_pem(
                    scheme.algorithm,
                    &std::fs::read(key)?,
                )?),
                Method::PublicKey | Method::Mac | Method::Token => None,
            };
            match Vendor::new(source, private, examples) {
                Ok(vendor) => vendors.push(vendor),
                Err(error) if only.is_empty() => others.push(format!("{name}: {error:#}")),
                Err(error) => return Err(error.context(name)),
            }
        }
        Ok((vendors, others))
    }

    /// A new secret of a scheme, or a new key pair; where what the edge needs is.
    fn new_secret(&self, source: &str, id: &str, scheme: &Scheme) -> anyhow::Result<PathBuf> {
        match scheme.new_secret(&random()) {
            Some(secret) => self.write_secret(source, id, secret.as_bytes()),
            None => {
                let key = PrivateKey::generate(scheme.algorithm)?;
                write_private(&self.root.join(format!("{source}.key")), &key.pem()?)?;
                self.write_secret(source, id, &key.public_pem()?)
            }
        }
    }

    fn write_secret(&self, source: &str, id: &str, secret: &[u8]) -> anyhow::Result<PathBuf> {
        let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '-';
        let id: String = id
            .chars()
            .map(|one| if is_plain(one) { one } else { '_' })
            .collect();
        let path = self.root.join(format!("{source}-{id}.secret"));
        write_private(&path, secret)?;
        Ok(path)
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut file = self.rest.clone();
        let sources = self.sources.iter().cloned().map(Value::Table);
        file.insert("source".to_owned(), Value::Array(sources.collect()));
        Ok(format!("{MARK}{}", toml::to_string(&file)?))
    }

    /// Replaces the sources file whole: an edge that watches it never sees half of it.
    fn write(&self) -> anyhow::Result<()> {
        let next = self.root.join("sources.toml.next");
        std::fs::write(&next, self.text()?)?;
        Ok(std::fs::rename(next, self.file())?)
    }
}

/// The entries of `secrets`.
fn secrets_of(source: &mut Table) -> impl Iterator<Item = &mut Table> {
    let secrets = match source.get_mut("secrets") {
        Some(Value::Array(secrets)) => secrets.as_mut_slice(),
        Some(_) | None => &mut [],
    };
    secrets.iter_mut().filter_map(|entry| match entry {
        Value::Table(entry) => Some(entry),
        _ => None,
    })
}

fn reference(path: &Path) -> Value {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Value::String(format!("file:{}", path.display()))
}

/// Readable by its owner only.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
}

fn random() -> [u8; 32] {
    let (one, other) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(one.as_bytes());
    bytes[16..].copy_from_slice(other.as_bytes());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
