//! Which vendors are played: what commands ask for.

use super::{Examples, Folder, Vendor, contract_examples};
use contracts::pack::{self, Pack};
use contracts::webhook::draft::Draft;
use runtime::config::ConfigError;
use std::path::{Path, PathBuf};

/// Which vendors are played, and what they send.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Played {
    /// Names of the sources that are played, as the file names them; without it, all of the file that can be
    #[arg(long = "as", value_name = "SOURCE,...", value_delimiter = ',')]
    names: Vec<String>,
    /// TOML file of sources, the one that the edge has. The private key of a vendor that signs with one is beside it, as NAME.key
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    sources: Option<PathBuf>,
    /// Directory of further event contracts, the one that the validator has: its valid examples are sent
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    contracts: Option<PathBuf>,
    /// Send the requests of this pack; the sources are the pack's
    #[arg(long)]
    pack: Option<String>,
}

impl Played {
    /// These sources of a file.
    #[must_use]
    pub fn of(sources: &Path, names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            sources: Some(sources.to_owned()),
            ..Self::default()
        }
    }

    /// True when a vendor is played at all.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.names.is_empty() || self.pack.is_some()
    }

    /// The sources file and the vendors; never none.
    ///
    /// # Errors
    /// Names the setting.
    pub fn vendors(&self) -> Result<(PathBuf, Vec<Vendor>), ConfigError> {
        let Some(file) = &self.sources else {
            return Err(ConfigError::new(
                "--sources",
                "name the file of sources that the edge has; `eventflow simulator vendors DIR --as stripe,github` writes one with new secrets",
            ));
        };
        let examples = examples(self.contracts.as_deref(), self.pack.as_deref())?;
        let played = Folder::vendors(file, &self.names, &examples);
        let (vendors, others) =
            played.map_err(|error| ConfigError::new("--as", format!("{error:#}")))?;
        for other in &others {
            tracing::warn!(event = "not_played", reason = other);
        }
        if vendors.is_empty() {
            let problem = format!("no source of the file can be played: {}", others.join("; "));
            return Err(ConfigError::new("--as", problem));
        }
        Ok((file.clone(), vendors))
    }
}

/// What vendors send besides their presets' examples.
///
/// # Errors
/// Names the setting.
pub fn examples(contracts: Option<&Path>, pack: Option<&str>) -> Result<Examples, ConfigError> {
    let mut examples = Examples::default();
    if let Some(directory) = contracts {
        examples.payloads = contract_examples(directory)
            .map_err(|error| ConfigError::new("--contracts", format!("{error:#}")))?;
    }
    if let Some(name) = pack {
        examples.requests = requests(&named(name)?);
    }
    Ok(examples)
}

/// A pack by its name.
///
/// # Errors
/// There is none; names those that there are.
pub fn named(name: &str) -> Result<Pack, ConfigError> {
    pack::named(name).ok_or_else(|| {
        let known = pack::names().join(", ");
        ConfigError::new(
            "--pack",
            format!("there is no pack {name:?}; there are {known}"),
        )
    })
}

fn requests(pack: &Pack) -> Vec<(String, Draft)> {
    let request = |request: &pack::Request| {
        let draft = Draft::of_text(request.headers, request.body.as_bytes())?;
        Some((request.source.to_owned(), draft))
    };
    pack.requests.iter().filter_map(request).collect()
}
