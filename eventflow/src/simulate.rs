//! `eventflow simulator vendors` and `eventflow simulator stream`: play vendors against an edge.

use anyhow::Context;
use contracts::webhook::source::Sources;
use runtime::config::{ConfigError, parse_positive_duration};
use serde_json::Value;
use simulator::event::Rate;
use simulator::stream::{SharedTotals, StreamTotals};
use simulator::vendor::stream::{FAULTS, VendorSettings, stream};
use simulator::vendor::{Folder, Played, Vendor};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the edge may take to read its sources again.
const RELOADED: Duration = Duration::from_secs(60);

/// Write a sources file with new secrets, for an edge and for the simulator, which then plays these vendors
#[derive(Debug, clap::Args)]
pub(crate) struct VendorsConfig {
    /// Folder that gets sources.toml, the secrets and the private keys; one that has a sources.toml is refused
    folder: PathBuf,
    /// Presets, a source of each
    #[arg(
        long = "as",
        value_name = "PRESET,...",
        value_delimiter = ',',
        required = true
    )]
    names: Vec<String>,
}

/// Post events as these vendors do: signed as they sign, sent again on their schedules
#[derive(Debug, clap::Args)]
pub(crate) struct StreamConfig {
    #[command(flatten)]
    played: Played,
    /// Base URL of the edge
    #[arg(long, env = "EVENTFLOW_URL", default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Requests per second, all vendors together
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
    /// Stop after this long, such as 30s or 2m; without it, at Ctrl-C
    #[arg(long, value_parser = parse_positive_duration)]
    duration: Option<Duration>,
    /// Divides the vendors' waits between two attempts: 60 makes a minute a second
    #[arg(long, default_value_t = 60.0)]
    retry_factor: f64,
    /// Rotate all secrets after this long. The sources file must be one that `simulator vendors` wrote and the edge watches
    #[arg(long, value_parser = parse_positive_duration)]
    rotate_after: Option<Duration>,
    /// How long the edge has to read the file again, before the new secrets sign; with --edge-ops, until it says so
    #[arg(long, default_value = "10s", value_parser = parse_positive_duration)]
    rotate_overlap: Duration,
    /// How long the old secrets stay valid after that
    #[arg(long, default_value = "10m", value_parser = parse_positive_duration)]
    rotate_keep: Duration,
    /// URL of the edge's operations port, whose /sources says which secrets it has
    #[arg(long)]
    edge_ops: Option<String>,
    /// Fault as fault=share (0 to 1); repeatable: duplicate, bad_signature, stale_timestamp, future_timestamp, not_json
    #[arg(long = "fault", value_delimiter = ',')]
    faults: Vec<Rate>,
    /// Maximum requests at once
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Time limit of an attempt, in seconds
    #[arg(long, default_value_t = 15)]
    timeout_seconds: u64,
    /// Seed of the random numbers; without it every run differs
    #[arg(long)]
    seed: Option<u64>,
    /// File to which is added what was sent and answered, as JSON lines: the journal for eventflow verify
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Print the totals as JSON
    #[arg(long, default_value_t = false)]
    json: bool,
}

pub(crate) fn write_vendors(config: &VendorsConfig) -> anyhow::Result<()> {
    if config.folder.join("sources.toml").exists() {
        let problem = format!(
            "{} has a sources.toml; choose another",
            config.folder.display()
        );
        return Err(ConfigError::new("FOLDER", problem).into());
    }
    let folder = Folder::of_presets(&config.folder, &config.names)
        .map_err(|error| ConfigError::new("--as", format!("{error:#}")))?;
    let file = folder.file();
    println!(
        "wrote {file}\ngive it to producer, validator and recovery: --sources {file}\nthen: eventflow simulator stream --sources {file} --url http://127.0.0.1:8000",
        file = file.display()
    );
    Ok(())
}

pub(crate) async fn run_stream(
    config: &StreamConfig,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let settings = config.settings()?;
    let (file, vendors) = config.played.vendors()?;
    let folder = config.rotate_after.map(|_| Folder::open(&file)).transpose();
    let mut folder =
        folder.map_err(|error| ConfigError::new("--rotate-after", format!("{error:#}")))?;
    let (sender, receiver) = watch::channel(Arc::new(vendors));
    let stop = shutdown.child_token();
    let end = stop.clone();
    let (duration, rotate_after) = (config.duration, config.rotate_after);
    let events = async {
        let totals = SharedTotals::default();
        let done = stream(&settings, receiver, totals, stop.clone()).await;
        stop.cancel();
        done
    };
    let timer = async {
        if let Some(duration) = duration {
            end.run_until_cancelled(tokio::time::sleep(duration)).await;
            end.cancel();
        }
    };
    let rotation = async {
        let (Some(after), Some(folder)) = (rotate_after, &mut folder) else {
            return Ok(());
        };
        let rotate = async {
            tokio::time::sleep(after).await;
            rotate(config, folder, &sender).await
        };
        end.run_until_cancelled(rotate).await.unwrap_or(Ok(()))
    };
    let (totals, (), rotated) = tokio::join!(events, timer, rotation);
    rotated.context("the secrets were not rotated")?;
    let totals = totals?;
    if config.json {
        println!("{}", serde_json::to_string_pretty(&totals)?);
    } else {
        print!("{}", table(&totals));
    }
    anyhow::ensure!(
        totals.sent == 0 || totals.accepted > 0 || totals.sent > totals.unanswered,
        "no answer from {}: is the producer running?",
        config.url
    );
    Ok(())
}

impl StreamConfig {
    fn settings(&self) -> Result<VendorSettings, ConfigError> {
        let bad = |setting, problem: &str| Err(ConfigError::new(setting, problem));
        if !(0.1..=1e6).contains(&self.rate) {
            return bad("--rate", "must be between 0.1 and 1000000");
        }
        if !(1.0..=1e6).contains(&self.retry_factor) {
            return bad("--retry-factor", "must be between 1 and 1000000");
        }
        if let Some(other) = self
            .faults
            .iter()
            .find(|rate| !FAULTS.contains(&rate.fault))
        {
            let known = FAULTS.map(|fault| fault.name()).join(", ");
            let problem = format!(
                "{} is a fault of payments only; known here are {known}",
                other.fault
            );
            return bad("--fault", &problem);
        }
        if self.faults.iter().map(|rate| rate.share).sum::<f64>() > 1.0 {
            return bad("--fault", "the sum of all shares must be at most 1");
        }
        let url = self.url.trim_end_matches('/').to_owned();
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return bad("--url", "must begin with http:// or https://");
        }
        Ok(VendorSettings {
            url,
            rate: self.rate,
            seed: self
                .seed
                .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
            faults: self.faults.clone(),
            concurrency: self.concurrency,
            timeout: Duration::from_secs(self.timeout_seconds.max(1)),
            retry_factor: self.retry_factor,
            journal: self.journal.clone(),
        })
    }
}

/// New secrets in the file, then, when the edge has them, for signing.
async fn rotate(
    config: &StreamConfig,
    folder: &mut Folder,
    vendors: &watch::Sender<Arc<Vec<Vendor>>>,
) -> anyhow::Result<()> {
    let longest = match config.edge_ops {
        Some(_) => RELOADED,
        None => config.rotate_overlap,
    };
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let keep = i64::try_from((longest + config.rotate_keep).as_secs())?;
    folder.rotate(now + keep)?;
    tracing::info!(event = "secrets_added", file = %folder.file().display());
    match &config.edge_ops {
        Some(edge) => until_reloaded(edge, &folder.file()).await?,
        None => tokio::time::sleep(config.rotate_overlap).await,
    }
    let (_, new) = config.played.vendors()?;
    vendors.send_replace(Arc::new(new));
    tracing::info!(event = "secrets_rotated");
    Ok(())
}

/// Waits until the edge has the first secret of every source of the file.
async fn until_reloaded(edge: &str, file: &Path) -> anyhow::Result<()> {
    let described = Sources::described(&std::fs::read_to_string(file)?)?;
    let client = runtime::http_client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    let url = format!("{}/sources", edge.trim_end_matches('/'));
    let deadline = tokio::time::Instant::now() + RELOADED;
    loop {
        let shown: Value = match client.get(&url).send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        let has = |name: &str, id: &str| {
            let sources = shown["sources"].as_array().into_iter().flatten();
            let mut of_name = sources.filter(|source| source["name"] == name);
            of_name.any(|source| {
                let mut secrets = source["secrets"].as_array().into_iter().flatten();
                secrets.any(|secret| secret["id"] == id)
            })
        };
        let mut first = described.iter().filter_map(|source| {
            Some((source.name.as_str(), source.verifier.secret_ids().next()?))
        });
        if first.all(|(name, id)| has(name, id)) {
            return Ok(());
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "{url} does not show the new secrets after {} s; does the edge read {}?",
            RELOADED.as_secs(),
            file.display()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn table(totals: &StreamTotals) -> String {
    let mut rows = crate::oncall::TextTable::new(&[
        "SOURCE",
        "SENT",
        "ACCEPTED",
        "EVENTS",
        "REFUSED",
        "UNANSWERED",
    ]);
    for (source, of_source) in &totals.by_source {
        let counts = [
            of_source.sent,
            of_source.accepted,
            of_source.events_accepted,
            of_source.refused,
            of_source.unanswered,
        ];
        let mut row = vec![source.clone()];
        row.extend(counts.iter().map(u64::to_string));
        rows.add(&row);
    }
    let mut text = rows.to_string();
    text += &format!("sent again {} times", totals.resent);
    if totals.given_up > 0 {
        text += &format!("; {} given up, because too many waited", totals.given_up);
    }
    for (code, count) in &totals.refused {
        text += &format!("\nrefused {count} {code}");
    }
    text.push('\n');
    text
}
