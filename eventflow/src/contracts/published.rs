//! The records that a schema registry has of a contract.

use anyhow::{Context, bail};
use contracts::Secret;
use reqwest::{Client, StatusCode, Url};
use runtime::config::ConfigError;
use serde::Deserialize;
use std::time::Duration;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(15);

/// A registry that is asked.
pub(super) struct Registry {
    client: Client,
    base: Url,
    /// The same without a password
    shown: Url,
    topic: String,
    login: Option<(String, Option<Secret>)>,
}

/// One version of a subject.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    pub(super) version: u32,
    pub(super) schema: String,
}

impl Registry {
    pub(super) fn new(
        url: &str,
        topic: &str,
        username: Option<&str>,
        password: Option<&Secret>,
    ) -> anyhow::Result<Self> {
        let base = Url::parse(url)
            .map_err(|error| ConfigError::new("--against", format!("is not a URL: {error}")))?;
        let mut shown = base.clone();
        let without = shown
            .set_username("")
            .and_then(|()| shown.set_password(None));
        if without.is_err() {
            bail!(ConfigError::new(
                "--against",
                "the URL names no host".to_owned()
            ));
        }
        Ok(Self {
            client: runtime::http_client::builder().timeout(ANSWER).build()?,
            base,
            shown,
            topic: topic.to_owned(),
            login: username.map(|name| (name.to_owned(), password.cloned())),
        })
    }

    /// All versions of a record, the oldest first; none when the registry does not have it.
    pub(super) async fn versions(&self, record_name: &str) -> anyhow::Result<Vec<Published>> {
        let subject = format!("{}-{record_name}", self.topic);
        let mut found = Vec::new();
        let numbers: Option<Vec<u32>> = self.get(&["subjects", &subject, "versions"]).await?;
        for number in numbers.unwrap_or_default() {
            let number = number.to_string();
            let version = self
                .get(&["subjects", &subject, "versions", &number])
                .await?;
            found.extend(version);
        }
        Ok(found)
    }

    /// `None` when it is not there.
    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &[&str]) -> anyhow::Result<Option<T>> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.client.get(url);
        if let Some((name, password)) = &self.login {
            let password = password
                .as_ref()
                .map(|word| String::from_utf8_lossy(word.expose()));
            request = request.basic_auth(name, password);
        }
        let asked = || format!("the registry {}", self.shown);
        let answer = request
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("no answer from {}", asked()))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let text = answer.text().await.map_err(reqwest::Error::without_url)?;
                let read = serde_json::from_str(&text);
                read.map(Some).with_context(|| {
                    format!(
                        "{} answered something else than Confluent's registry does",
                        asked()
                    )
                })
            }
            status => bail!("{} answered {status}", asked()),
        }
    }
}
