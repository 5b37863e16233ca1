//! What a vendor's request becomes in the raw topic, by the edge's rules, offline and without the signature.

use super::request;
use axum::http::{HeaderMap, Method};
use contracts::event::Mappings;
use contracts::kafka::headers;
use contracts::webhook::body::Parts;
use contracts::webhook::handshake::Asked;
use contracts::webhook::source::{Source, Sources};
use runtime::config::ConfigError;
use std::path::Path;

/// Most events of one body that are looked at; an edge takes so many unless it is told otherwise.
const MOST_EVENTS: usize = 1000;

/// The headers of a raw record.
pub(crate) type RecordHeaders = Vec<(String, Option<Vec<u8>>)>;

/// Sources and their mappings, without secrets.
pub(crate) struct Offline {
    pub(crate) sources: Sources,
    pub(crate) mappings: Mappings,
}

/// The raw records that a request becomes.
pub(crate) struct Records {
    /// Of each of them
    pub(crate) headers: RecordHeaders,
    pub(crate) values: Vec<Vec<u8>>,
    /// They were cut out of one body
    pub(crate) several: bool,
    /// Headers of the vendor's that are among them, and that did not fit
    pub(crate) kept: usize,
    pub(crate) left_out: usize,
}

impl Offline {
    /// Of a sources file; of the built-in source without one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let sources = super::read(path)?;
        let mappings = match path {
            None => Mappings::builtin(),
            Some(path) => {
                let bad = |problem: String| {
                    ConfigError::new("--sources", format!("{}: {problem}", path.display()))
                };
                Mappings::from_toml(&super::text(path)?).map_err(|error| bad(error.to_string()))?
            }
        };
        Ok(Self { sources, mappings })
    }

    /// Of a sources file; without one, a source that is nothing but the preset of its name.
    pub(crate) fn read_or_preset(path: Option<&Path>, name: &str) -> Result<Self, ConfigError> {
        if path.is_some() {
            return Self::read(path);
        }
        let text = super::show::preset_file(name)?;
        let bad = |problem: String| ConfigError::new("--source", problem);
        Ok(Self {
            sources: Sources::described(&text).map_err(|error| bad(error.to_string()))?,
            mappings: Mappings::from_toml(&text).map_err(|error| bad(error.to_string()))?,
        })
    }

    /// The source of this name.
    pub(crate) fn source(&self, name: &str) -> Result<&Source, ConfigError> {
        super::named(&self.sources, name)
    }
}

/// The raw records of a request; `None` when it is a handshake, which is no event.
pub(crate) fn records(
    source: &Source,
    request: &HeaderMap,
    body: &[u8],
) -> anyhow::Result<Option<Records>> {
    let plain = source.body.plain(body);
    let asked = Asked {
        method: &Method::POST,
        query: None,
        headers: request,
        body: plain.as_deref().unwrap_or_default(),
        secret_id: source.verifier.secret_ids().next(),
    };
    if source.handshakes.answer(&asked).is_some() {
        return Ok(None);
    }
    let kept = source.kept_headers.of(request);
    let mut of_record: RecordHeaders = vec![
        ours(headers::SOURCE, &source.name),
        ours(
            headers::RECEIVED_AT,
            &runtime::clock::now_micros().to_string(),
        ),
    ];
    let (count, left_out) = (kept.headers.len(), kept.left_out);
    of_record.extend(kept.headers.into_iter().map(|(name, value)| {
        let value = value.as_bytes().to_vec();
        (name.as_str().to_owned(), Some(value))
    }));
    let parts = match plain.as_deref() {
        Some(plain) => source.body.parts(plain, MOST_EVENTS),
        None => Parts::None,
    };
    let events = match parts {
        Parts::Events(events) => Some(events.into_iter().map(<[u8]>::to_vec).collect()),
        Parts::None => None,
        Parts::TooMany => anyhow::bail!("the edge refuses it: more than {MOST_EVENTS} events"),
    };
    if events.is_some() {
        of_record.push(ours(headers::BATCH, "sha256:"));
    }
    Ok(Some(Records {
        headers: of_record,
        several: events.is_some(),
        values: events.unwrap_or_else(|| vec![body.to_vec()]),
        kept: count,
        left_out,
    }))
}

fn ours(name: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

/// The headers in a file, one a line; none without a file. A request's or an answer's first line, and the marks of `curl -v`, are left out.
pub(crate) fn read_headers(path: Option<&Path>) -> Result<HeaderMap, ConfigError> {
    let Some(path) = path else {
        return Ok(HeaderMap::new());
    };
    let bad =
        |problem: String| ConfigError::new("--headers", format!("{}: {problem}", path.display()));
    let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    request::headers(&text).map_err(bad)
}
