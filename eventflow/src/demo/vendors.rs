//! The demo's vendors: the sources and secrets that all roles share, in a folder that goes with the process, and what each vendor sends.

use super::config::{Config, SECRET};
use anyhow::Context as _;
use contracts::Secret;
use contracts::event::Mappings;
use contracts::webhook::source::BUILTIN;
use runtime::config::ConfigError;
use simulator::vendor::{Folder, Vendor, examples, named};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The source of the demo's own payments, and of POST /authorize.
pub(super) const PAYMENTS: &str = "payment-authorized";
/// Played beside it, unless sources are given.
const VENDORS: [&str; 4] = ["stripe", "github", "shopify", "slack"];
/// Stands in a sources file for a secret that the demo makes.
const MADE: &str = "made";
/// Waits until the owner's end of the pipe closes, then leaves nothing.
const REMOVE: &str = r#"cat >/dev/null; rm -rf "$1""#;

/// The sources of a demo.
pub(super) struct Vendors {
    /// The sources file that the roles are given
    pub(super) sources: PathBuf,
    /// Further contracts, if there are any
    pub(super) contracts: Option<PathBuf>,
    /// Whether the demo sends payments of its own
    pub(super) payments: bool,
    /// Signs the payments
    pub(super) payments_secret: Secret,
    /// The other vendors; taken when they begin to send
    pub(super) played: Vec<Vendor>,
    /// Sources that nobody plays, and why
    pub(super) others: Vec<String>,
    _folder: Temporary,
}

impl Vendors {
    /// # Errors
    /// A setting that cannot be used.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let folder = Temporary::new()?;
        let mut contracts = config.contracts.clone();
        let mut text = match (&config.pack, &config.sources) {
            (Some(name), _) => {
                let pack = named(name)?;
                for (path, content) in pack.files() {
                    let path = folder.path.join("pack").join(path);
                    std::fs::create_dir_all(path.parent().unwrap_or(&folder.path))?;
                    std::fs::write(path, content)?;
                }
                contracts = Some(folder.path.join("pack/events"));
                pack.sources_toml.to_owned()
            }
            (None, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| bad("--sources", format!("{}: {error}", file.display())))?,
            (None, None) => presets(),
        };
        let is_own = config.pack.is_none() && config.sources.is_none();
        let mappings = |text: &str| {
            Mappings::from_toml(text).map_err(|error| bad("--sources", error.to_string()))
        };
        let has_payments = mappings(&text)?.get(PAYMENTS).is_some();
        if !has_payments {
            text = format!("{BUILTIN}\n{text}");
        }
        let secret = Secret::new(SECRET);
        let given = [("builtin", &secret)];
        let copy = Folder::copy_of(&folder.path, &text, &given)
            .map_err(|error| bad("--sources", format!("{error:#}")))?;
        let examples = examples(config.contracts.as_deref(), config.pack.as_deref())?;
        let (mut played, others) = Folder::vendors(&copy.file(), &[], &examples)
            .map_err(|error| bad("--sources", format!("{error:#}")))?;
        let is_payments = |vendor: &Vendor| vendor.name() == PAYMENTS;
        let signs_payments = played
            .iter()
            .any(|vendor| is_payments(vendor) && vendor.preset() == "eventflow");
        played.retain(|vendor| !is_payments(vendor));
        Ok(Self {
            sources: copy.file(),
            contracts,
            payments: signs_payments && (is_own || has_payments),
            payments_secret: copy
                .secret(PAYMENTS)
                .context("the payments have no secret")?,
            played,
            others,
            _folder: folder,
        })
    }

    /// How events are read.
    ///
    /// # Errors
    /// Never: the file was read before.
    pub(super) fn mappings(&self) -> anyhow::Result<Mappings> {
        Ok(Mappings::from_toml(&std::fs::read_to_string(
            &self.sources,
        )?)?)
    }

    /// Who sends.
    pub(super) fn names(&self) -> Vec<String> {
        let own = self.payments.then(|| PAYMENTS.to_owned());
        let others = self.played.iter().map(|vendor| vendor.name().to_owned());
        own.into_iter().chain(others).collect()
    }

    /// The flags of roles that read sources; those that read contracts have them besides.
    pub(super) fn flags(&self, with_contracts: bool) -> Vec<String> {
        let sources = format!("--sources={}", self.sources.display());
        let mut flags = vec![sources];
        if with_contracts {
            flags.extend(self.contract_flags());
        }
        flags
    }

    pub(super) fn contract_flags(&self) -> Option<String> {
        let contracts = self.contracts.as_ref()?;
        Some(format!("--contracts={}", contracts.display()))
    }
}

fn bad(setting: &'static str, problem: String) -> ConfigError {
    ConfigError::new(setting, problem)
}

/// A source of each of the demo's own vendors.
fn presets() -> String {
    let source = |name: &str| {
        format!(
            "[[source]]\nname = {name:?}\npreset = {name:?}\nsecrets = [{{ id = \"demo\", from = {MADE:?} }}]\n"
        )
    };
    VENDORS.map(source).concat()
}

/// A folder that a shell removes when this process drops it or ends, however it ends.
struct Temporary {
    path: PathBuf,
    watcher: Child,
}

impl Temporary {
    fn new() -> Result<Self, ConfigError> {
        let cannot = |error: std::io::Error| {
            let place = std::env::temp_dir();
            bad(
                "TMPDIR",
                format!("cannot make a folder in {}: {error}", place.display()),
            )
        };
        let folder = tempfile::Builder::new()
            .prefix("eventflow-demo-")
            .tempdir()
            .map_err(cannot)?;
        let watcher = watch(folder.path()).map_err(cannot)?;
        Ok(Self {
            path: folder.keep(),
            watcher,
        })
    }
}

/// In a process group of its own, so that a Ctrl-C at the terminal does not reach it.
fn watch(folder: &Path) -> std::io::Result<Child> {
    Command::new("sh")
        .args(["-c", REMOVE, "eventflow-demo-watch"])
        .arg(folder)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        if let Err(error) = self.watcher.wait() {
            tracing::debug!(event = "demo_folder_left", %error);
        }
    }
}
