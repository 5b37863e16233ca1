//! `eventflow send`: one event of a source, signed as its vendor signs, posted to an edge.

use anyhow::Context;
use contracts::Secret;
use contracts::webhook::signature::SchemeError;
use contracts::webhook::source::Source;
use runtime::config::ConfigError;
use runtime::reload::FilesRead;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// Longest answer that is shown, in bytes.
const SHOWN_BYTES: usize = 64 << 10;

/// Sign a body with a source's secret and post it to the edge; print the answer
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// The source, as the sources file names it
    #[arg(long)]
    source: String,
    /// File with the body, posted byte for byte; - is standard input
    body: PathBuf,
    /// TOML file of sources, the one that the edge has; without it, the only source is the built-in payment-authorized
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    sources: Option<PathBuf>,
    /// Secret of the built-in source payment-authorized
    #[arg(long, env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    webhook_signing_secret: Option<Secret>,
    /// Base URL of the edge
    #[arg(long, env = "EVENTFLOW_URL", default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Id of the secret to sign with, when the source has several; the first without it
    #[arg(long)]
    secret_id: Option<String>,
    /// Delivery id, for schemes that have one in a header; a new one without it
    #[arg(long)]
    id: Option<String>,
    /// Further header, as "name: value"; may be given several times. It replaces a header that the scheme would send
    #[arg(long = "header", short = 'H', value_parser = header_of)]
    headers: Vec<(String, String)>,
    /// Post to the source's /batch
    #[arg(long)]
    batch: bool,
    /// Time limit, in seconds
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

fn header_of(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as \"name: value\"")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let sources = runtime::files::load_sources(
        config.sources.as_deref(),
        config.webhook_signing_secret.as_ref(),
        &mut FilesRead::default(),
    )?;
    let sources = sources.ok_or_else(|| {
        ConfigError::new(
            "--sources",
            "name the file with the source, or set EVENTFLOW_WEBHOOK_SIGNING_SECRET for the built-in source",
        )
    })?;
    let source = sources.get(&config.source).ok_or_else(|| {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        ConfigError::new(
            "--source",
            format!(
                "there is no source {:?}; there are {}",
                config.source,
                names.join(", ")
            ),
        )
    })?;
    source
        .verifier
        .can_sign()
        .map_err(|SchemeError(problem)| ConfigError::new("--source", problem))?;
    let body = read(&config.body)?;
    let url = format!(
        "{}/api/webhooks/{}{}",
        config.url.trim_end_matches('/'),
        source.name,
        if config.batch { "/batch" } else { "" }
    );
    let now = runtime::clock::now_micros() / 1_000_000;
    let id = config
        .id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let key = key_index(source, config.secret_id.as_deref())?;
    let content_type = match source.body.is_urlencoded(&body) {
        true => "application/x-www-form-urlencoded",
        false => "application/json",
    };
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    headers.extend(source.verifier.sign(Some(&id), now, &body, key));
    headers.retain(|(name, _)| !config.headers.iter().any(|(own, _)| own == name));
    headers.extend(config.headers.iter().cloned());
    let client = runtime::http_client::builder()
        .timeout(Duration::from_secs(config.seconds))
        .build()?;
    let mut request = client.post(&url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.with_context(|| {
        format!("no answer from {url}; check --url and that the edge is running")
    })?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let shown: String = text.chars().take(SHOWN_BYTES).collect();
    println!("{status}\n{}", shown.trim_end());
    anyhow::ensure!(status.is_success(), "the edge did not accept it");
    Ok(())
}

/// The bytes of a file, or of standard input.
pub(crate) fn read(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body)?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Which of the source's secrets signs.
fn key_index(source: &Source, secret_id: Option<&str>) -> Result<usize, ConfigError> {
    let Some(wanted) = secret_id else {
        return Ok(0);
    };
    let ids: Vec<_> = source.verifier.secret_ids().collect();
    ids.iter().position(|id| *id == wanted).ok_or_else(|| {
        ConfigError::new(
            "--secret-id",
            format!(
                "the source has no secret {wanted:?}; it has {}",
                ids.join(", ")
            ),
        )
    })
}
