//! Whether a captured request is its vendor's, and if not, which known mistake fits: `eventflow rejections explain`, offline.

use super::File;
use super::request::Captured;
use axum::http::Method;
use contracts::Secret;
use contracts::webhook::body::gzip::{Gzip, is_gzip};
use contracts::webhook::diagnose::{Diagnosis, Evidence, Verdict, diagnose};
use contracts::webhook::handshake::Asked;
use contracts::webhook::source::Source;
use recovery::model::{Time, parse_time};
use runtime::config::ConfigError;
use runtime::reload::FilesRead;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// The source, as the sources file names it
    #[arg(long)]
    source: String,
    /// File with the request: request line, headers, an empty line and the body, as a proxy's log or `curl -v` has it; - is standard input
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// File with the body, byte for byte, where it is not in the request's file
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// When it was received: RFC 3339, or an age such as 90s, 30m, 2h, 7d; now without it
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    received: Option<Time>,
    #[command(flatten)]
    file: File,
    /// Secret of the built-in source payment-authorized
    #[arg(long, env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    webhook_signing_secret: Option<Secret>,
}

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let sources = runtime::files::load_sources(
        config.file.path.as_deref(),
        config.webhook_signing_secret.as_ref(),
        &mut FilesRead::default(),
    )?;
    let sources = sources.ok_or_else(|| {
        ConfigError::new(
            "--sources",
            "name the file with the source, or set EVENTFLOW_WEBHOOK_SIGNING_SECRET for the built-in source",
        )
    })?;
    let source = super::named(&sources, &config.source)?;
    let file = crate::send::read(&config.request)?;
    let mut captured = Captured::parse(&file).map_err(|problem| {
        ConfigError::new(
            "--request",
            format!("{}: {problem}", config.request.display()),
        )
    })?;
    if let Some(path) = &config.body {
        captured.body = crate::send::read(path)?;
        captured.notes.clear();
    }
    unpack(source, &mut captured);
    let now = Time::now_utc();
    let evidence = Evidence {
        method: &captured.method,
        query: captured.query.as_deref(),
        headers: &captured.headers,
        body: Some(&captured.body),
        received_at: config.received.unwrap_or(now).unix_timestamp(),
    };
    if let Some(answer) = handshake(source, &captured, None) {
        println!("{answer}");
        return Ok(());
    }
    let diagnosis = diagnose(source, &sources, &evidence);
    for note in &captured.notes {
        println!("note     {note}");
    }
    if let Verdict::Genuine { secret_id } = &diagnosis.verdict {
        println!(
            "genuine: signed with the secret {secret_id:?} of {}",
            source.name
        );
        if let Some(answer) = handshake(source, &captured, Some(secret_id)) {
            println!("{answer}");
        }
        return Ok(());
    }
    print!("{}", refused(&diagnosis, config.received.is_none()));
    anyhow::bail!("{} would refuse it", source.name)
}

/// What the edge would do before it verifies, where the vendor signs the plain bytes.
fn unpack(source: &Source, captured: &mut Captured) {
    if source.body.gzip() != Some(Gzip::Plain) || !is_gzip(&captured.body) {
        return;
    }
    match Gzip::Plain.unpack(&captured.body, source.body_limit_bytes) {
        Ok(plain) => captured.body = plain,
        Err(error) => captured.notes.push(error.to_string()),
    }
}

/// What is answered when it is a handshake: one that is not signed, or one that this secret verified.
fn handshake(source: &Source, captured: &Captured, secret_id: Option<&str>) -> Option<String> {
    let plain = source.body.plain(&captured.body);
    let method = Method::from_bytes(captured.method.as_bytes()).ok()?;
    let answer = source.handshakes.answer(&Asked {
        method: &method,
        query: captured.query.as_deref(),
        headers: &captured.headers,
        body: plain.as_deref().unwrap_or_default(),
        secret_id,
    })?;
    let signed = if secret_id.is_some() {
        ""
    } else {
        ", which is not signed"
    };
    let header = answer
        .header
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    Some(format!(
        "a handshake{signed}: it is answered {} {}",
        answer.status.as_u16(),
        header.unwrap_or(body)
    ))
}

fn refused(diagnosis: &Diagnosis, is_now: bool) -> String {
    let mut lines = Vec::new();
    if let Verdict::Refused(error) = &diagnosis.verdict {
        lines.push(format!("refused: {} ({error})", error.code()));
        let is_old = matches!(error.code(), "timestamp_too_old" | "timestamp_in_future");
        if is_old && is_now {
            lines.push(
                "note     its time is compared with now: say when it was received with --received"
                    .to_owned(),
            );
        }
    }
    if let Some(found) = &diagnosis.found {
        let sure = if found.is_certain { "" } else { "likely: " };
        let mistake = found.mistake;
        lines.push(format!("{sure}{} ({})", mistake.meaning(), mistake.code()));
        lines.push(format!("because  {}", found.detail));
        lines.push(format!("next     {}", mistake.advice()));
    } else {
        lines.push("tried, and none fits".to_owned());
        lines.extend(
            diagnosis
                .tried
                .iter()
                .map(|tried| format!("         {tried}")),
        );
        lines.push(
            "next     compare what the sender signs with eventflow sources show, and its secret with the source's"
                .to_owned(),
        );
    }
    if diagnosis.is_cut_short {
        lines.push("note     the body is large: not everything was tried".to_owned());
    }
    lines.join("\n") + "\n"
}
