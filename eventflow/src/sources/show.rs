//! One source, or one preset as a source of that name would be.

use super::live::{self, Used};
use crate::oncall::when;
use contracts::webhook::preset;
use contracts::webhook::scheme::{Encoding, Method, Scheme, TimestampFormat};
use contracts::webhook::source::{InEffect, Source, SourceError, Sources, in_effect};
use runtime::config::ConfigError;
use std::collections::BTreeMap;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Stands for what only the user knows.
const PUBLIC_URL: &str = "https://YOUR-HOST/api/webhooks/";

pub(super) async fn show(name: &str, file: Option<&Path>, edges: &[String]) -> anyhow::Result<()> {
    let text = match file {
        Some(path) => super::text(path)?,
        None => preset_file(name)?,
    };
    let bad = |problem: SourceError| match file {
        Some(path) => ConfigError::new("--sources", format!("{}: {problem}", path.display())),
        None => ConfigError::new("NAME", problem.to_string()),
    };
    let sources = Sources::described(&text).map_err(bad)?;
    let keys = in_effect(&text, name).map_err(bad)?;
    let (Some(source), Some(keys)) = (sources.get(name), keys) else {
        let known: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        let known = known.join(", ");
        return Err(ConfigError::new(
            "NAME",
            format!("the file has no source {name:?}; it has {known}"),
        )
        .into());
    };
    let used = match edges {
        [] => None,
        edges => Some(live::used(edges, name).await?),
    };
    print!("{}", words(source, &keys, used.as_ref()));
    Ok(())
}

/// The file of a source that is nothing but its preset.
pub(super) fn preset_file(name: &str) -> Result<String, ConfigError> {
    let bad = |problem: String| ConfigError::new("NAME", problem);
    if !preset::names().contains(&name) {
        let known = preset::names().join(", ");
        return Err(bad(format!(
            "there is no preset {name:?}; give the file of your own sources with --sources, or one of {known}"
        )));
    }
    let scheme = Scheme::preset(name).ok_or_else(|| bad(format!("{name} has no scheme")))?;
    let webhook_id = if scheme.template.contains("{webhook_id}") {
        "\n[source.scheme]\nwebhook_id = \"WEBHOOK-ID\""
    } else {
        ""
    };
    Ok(format!(
        "[[source]]\nname = {name:?}\npreset = {name:?}\nsecrets = [{{ id = \"2026-11\", from = \"env:SECRET\" }}]\nverify_token = \"env:VERIFY_TOKEN\"\npublic_url = \"{PUBLIC_URL}{name}\"{webhook_id}\n"
    ))
}

/// Everything about a source, one fact a line.
fn words(source: &Source, keys: &InEffect, used: Option<&BTreeMap<String, Used>>) -> String {
    let scheme = source.verifier.scheme();
    let mut lines = vec![
        ("source", source.name.clone()),
        ("preset", source.scheme_name.clone()),
        ("url", format!("POST /api/webhooks/{}", source.name)),
    ];
    if source.batches {
        lines.push(("url", format!("POST /api/webhooks/{}/batch", source.name)));
    }
    lines.extend([
        ("proof", scheme.proof()),
        (
            "signed",
            scheme
                .signed()
                .unwrap_or_else(|| "nothing: whoever sees the token can write anything".to_owned()),
        ),
        (
            "not signed",
            source
                .may_be_unsigned()
                .unwrap_or_else(|| "all of id, entity key and time is signed".to_owned()),
        ),
        ("time window", scheme.window()),
    ]);
    lines.extend(
        secrets(source, used)
            .into_iter()
            .map(|line| ("secrets", line)),
    );
    // The URL of a preset stands for the user's, and matters only where it is signed.
    let is_shown = |key: &str| key != "public_url" || scheme.template.contains("{url}");
    let form = keys.form.iter().filter(|(key, _)| is_shown(key));
    lines.extend(form.cloned());
    if !source.event.is_given() {
        let none = "none: events are read in EventFlow's own envelope";
        lines.push(("mapping", none.to_owned()));
    }
    lines.extend(keys.mapping.iter().map(|key| ("mapping", key.clone())));
    let handshakes = keys.handshakes.iter();
    lines.extend(handshakes.map(|one| ("handshake", one.clone())));
    lines.push(("limits", limits(source)));
    if let Some(about) = preset::about(&source.scheme_name) {
        lines.push(("vendor", about.vendor));
        lines.push(("the secret is", about.secret));
        lines.extend(about.note.map(|note| ("note", note)));
        lines.extend(about.rules.into_iter().map(|url| ("rules", url)));
    }
    let mut text = String::new();
    let mut before = "";
    for (name, value) in lines {
        let shown = if name == before { "" } else { name };
        text += &format!("{shown:<14}{value}\n");
        before = name;
    }
    if let Some(curl) = curl(source) {
        text += &format!("\nSign and post a test event, with the secret in $SECRET:\n\n{curl}");
    }
    text
}

/// One secret a line: until when it verifies, and when the edges that were asked last saw it.
fn secrets(source: &Source, used: Option<&BTreeMap<String, Used>>) -> Vec<String> {
    let time = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).ok();
    let one = |(id, not_after): (&str, Option<i64>)| {
        let until = not_after
            .and_then(time)
            .and_then(|at| at.format(&Rfc3339).ok());
        let mut line = until.map_or_else(|| id.to_owned(), |until| format!("{id} until {until}"));
        let Some(all) = used else { return line };
        let Some(used) = all.get(id) else {
            return line + ": the edge does not have it";
        };
        line += &match used.matched.and_then(time) {
            Some(at) => format!(": last matched {}", when(at)),
            None => ": not matched since the edge started".to_owned(),
        };
        if let Some(at) = used.expired.and_then(time) {
            line += &format!("; EXPIRED AND STILL USED, last {}", when(at));
        }
        line
    };
    let mut lines: Vec<_> = source.verifier.secrets().map(one).collect();
    let known: Vec<_> = source.verifier.secret_ids().collect();
    let others = used.into_iter().flatten().map(|(id, _)| id);
    let others = others.filter(|id| !known.contains(&id.as_str()));
    lines.extend(others.map(|id| format!("{id}: the edge has it, and the file does not")));
    lines
}

fn limits(source: &Source) -> String {
    let quota = source.quota_per_second;
    let mut all = vec![
        format!("body {} bytes", source.body_limit_bytes),
        quota.map_or_else(
            || "no quota".to_owned(),
            |quota| format!("{quota} events a second"),
        ),
    ];
    if let Some(deadline) = source.answer_deadline {
        all.push(format!("answered within {} ms", deadline.as_millis()));
    }
    if let Some(horizon) = source.resend_horizon {
        all.push(format!(
            "the same body counts as sent again for {} h",
            horizon.as_secs() / 3600
        ));
    }
    all.join("; ")
}

/// Commands that sign as this vendor does, where openssl can: a MAC by a key that is taken as it is, over id, time and body.
fn curl(source: &Source) -> Option<String> {
    let scheme = source.verifier.scheme();
    let digest = match scheme.algorithm.method() {
        Method::Mac => scheme
            .algorithm
            .words()
            .strip_prefix("HMAC-")?
            .to_lowercase(),
        Method::PublicKey | Method::Token => return None,
    };
    let plain_key = scheme.key.encoding.is_none() && scheme.key.digest.is_none();
    let seconds = scheme.timestamp_format == TimestampFormat::UnixSeconds;
    let header = scheme.signature_header.0.first()?;
    if !plain_key
        || !seconds
        || scheme.timestamp_pointer.is_some()
        || !scheme.require_headers.is_empty()
    {
        return None;
    }
    let url = if scheme.template.contains("{url}") {
        format!("{PUBLIC_URL}{}", source.name)
    } else {
        String::new()
    };
    let signed = scheme
        .template
        .replace("{id}", "$id")
        .replace("{timestamp}", "$at");
    let signed = signed.replace("{url}", &url).replace("{body}", "$body");
    if signed.contains(['{', '"', '`', '\\']) {
        return None;
    }
    let write = match scheme.encoding {
        Encoding::Hex => format!("openssl dgst -{digest} -hmac \"$SECRET\" -r | cut -d' ' -f1"),
        Encoding::Base64 => {
            format!("openssl dgst -{digest} -hmac \"$SECRET\" -binary | base64 -w0")
        }
        Encoding::Base64Unpadded | Encoding::Base64url | Encoding::Base64urlUnpadded => {
            return None;
        }
    };
    let value = match (&scheme.timestamp_prefix, scheme.separator) {
        (Some(prefix), Some(separator)) => {
            format!("{prefix}$at{separator}{}$signature", scheme.prefix)
        }
        _ => format!("{}$signature", scheme.prefix),
    };
    let mut text = format!(
        "  id=test-$RANDOM; at=$(date +%s); body='{{\"id\":\"'$id'\",\"type\":\"test\"}}'\n  signature=$(printf %s \"{signed}\" | {write})\n  curl -d \"$body\" -H 'content-type: application/json' -H \"{header}: {value}\""
    );
    for (names, value) in [
        (&scheme.timestamp_header, "$at"),
        (&scheme.id_header, "$id"),
    ] {
        if let Some(name) = names.0.first() {
            text += &format!(" -H \"{name}: {value}\"");
        }
    }
    Some(format!(
        "{text} http://127.0.0.1:8000/api/webhooks/{}\n",
        source.name
    ))
}
