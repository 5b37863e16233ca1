//! What running edges say of their sources: the operations endpoint `/sources` of a producer.

use anyhow::Context;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest answer, in bytes: a source with its secrets has some hundred.
const MOST_BYTES: usize = 4 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of a secret, of all edges that were asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// When it last verified a request, in Unix seconds; `None`: not since the edges started
    pub(super) matched: Option<i64>,
    /// When it was last used past its `not_after`
    pub(super) expired: Option<i64>,
}

#[derive(Deserialize)]
struct Shown {
    sources: Vec<Source>,
}

#[derive(Deserialize)]
struct Source {
    name: String,
    secrets: Vec<Secret>,
}

#[derive(Deserialize)]
struct Secret {
    id: String,
    last_matched_at: Option<i64>,
    last_used_expired_at: Option<i64>,
}

/// Asks each edge; of a secret, the latest of all. By the secret's id.
pub(super) async fn used(edges: &[String], source: &str) -> anyhow::Result<BTreeMap<String, Used>> {
    let client = runtime::http_client::builder().timeout(TIMEOUT).build()?;
    let mut all: BTreeMap<String, Used> = BTreeMap::new();
    for edge in edges {
        let url = format!("{}/sources", edge.trim_end_matches('/'));
        let of_url = || format!("{url}: give the producer's operations port, as http://HOST:9100");
        let mut answer = client
            .get(&url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .with_context(of_url)?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.with_context(of_url)? {
            anyhow::ensure!(text.len() + piece.len() <= MOST_BYTES, of_url());
            text.extend_from_slice(&piece);
        }
        let shown: Shown = serde_json::from_slice(&text).with_context(of_url)?;
        let found = shown.sources.into_iter().find(|one| one.name == source);
        let found = found.with_context(|| format!("{url}: this edge has no source {source:?}"))?;
        for secret in found.secrets {
            let used = all.entry(secret.id).or_default();
            used.matched = used.matched.max(secret.last_matched_at);
            used.expired = used.expired.max(secret.last_used_expired_at);
        }
    }
    Ok(all)
}
