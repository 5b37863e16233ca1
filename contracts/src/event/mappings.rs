//! The mappings of all sources, and what becomes of an event by them: read from the raw record alone.

use super::mapping::{Envelope, HeaderValues, Mapping};
use super::order::GENERIC;
use super::{Catalog, Contract, Validated};
use crate::kafka::headers;
use crate::webhook::body::BodyForm;
use crate::webhook::source::{self, Ingest, SourceError};
use crate::{Rejection, RejectionCode};
use std::borrow::Cow;
use std::collections::HashMap;
use toml::Table;

/// How to read raw records, by source.
#[derive(Debug)]
pub struct Mappings(HashMap<String, OfSource>);

#[derive(Debug)]
struct OfSource {
    mapping: Mapping,
    body: BodyForm,
}

impl Mappings {
    /// Of the built-in source, and of what came through `/api/ingest`.
    ///
    /// # Panics
    /// Never: a test reads it.
    #[must_use]
    pub fn builtin() -> Self {
        Self::from_toml(source::BUILTIN)
            .unwrap_or_else(|problem| panic!("the built-in source: {problem}"))
    }

    /// Of each `[[source]]` of a sources file, and of what came through `/api/ingest`. Secrets are not looked at, nor is anything else of a
    /// source.
    ///
    /// # Errors
    /// [`SourceError`] naming the source, the key and what is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, SourceError> {
        let ingest = OfSource {
            mapping: Ingest::of_file(text)?.event,
            body: source::parse_body_form(Table::new()).map_err(SourceError)?,
        };
        let mut by_source = HashMap::from([(source::INGEST.to_owned(), ingest)]);
        for (name, mut table) in source::entries(text)? {
            let bad = |problem| SourceError(format!("source {name:?}: {problem}"));
            let mapping = source::parse_event(&mut table).map_err(bad)?;
            let body = source::parse_body_form(table).map_err(bad)?;
            by_source.insert(name, OfSource { mapping, body });
        }
        Ok(Self(by_source))
    }

    /// The mapping of a source; `None` when it is not configured here.
    #[must_use]
    pub fn get(&self, source: &str) -> Option<&Mapping> {
        self.0.get(source).map(|source| &source.mapping)
    }

    /// How the bodies of a source hold events; `None` when it is not configured here.
    #[must_use]
    pub fn body(&self, source: &str) -> Option<&BodyForm> {
        self.0.get(source).map(|source| &source.body)
    }

    /// The JSON in a raw record's value, which is the signed bytes: of a form, a compressed body. An event that was cut out of a larger body,
    /// and one that a person edited, is JSON already. The value itself where the source is not known, which [`find`](Self::find) says.
    ///
    /// # Errors
    /// As [`BodyForm::open`].
    pub fn open<'a>(
        &self,
        headers: &impl HeaderValues<'a>,
        value: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, Rejection> {
        let source = headers.one(headers::SOURCE);
        let Some(source) = source.and_then(|source| self.0.get(source)) else {
            return Ok(Cow::Borrowed(value));
        };
        if source.body.is_plain_json() {
            return Ok(Cow::Borrowed(value));
        }
        let is_json =
            headers.one(headers::BATCH).is_some() || headers.one(headers::EDITED_BY).is_some();
        source.body.open(value, is_json)
    }

    /// Finds the envelope of a raw record, in its [opened](Self::open) value.
    ///
    /// # Errors
    /// `unknown_source`, or as [`Mapping::find`].
    pub fn find<'a>(
        &'a self,
        headers: impl HeaderValues<'a>,
        body: &'a [u8],
    ) -> Result<Envelope<'a>, Rejection> {
        let Some(source) = headers.one(headers::SOURCE) else {
            let detail = "the record has no ef.source header, so nobody knows how to read it";
            return Err(Rejection::new(RejectionCode::UnknownSource, None, detail));
        };
        let Some(mapping) = self.get(source) else {
            let detail = format!(
                "source {source:?} is not in the sources file of this stage: give it the one that the producer has (--sources), then replay"
            );
            return Err(Rejection::new(RejectionCode::UnknownSource, None, detail));
        };
        let received_at = headers.one(headers::RECEIVED_AT);
        let received_at = received_at.and_then(|micros| micros.parse().ok());
        mapping.find(headers, received_at, body)
    }
}

impl Catalog {
    /// The contract of an event. What has none is of the generic contract, where its source stores such events.
    ///
    /// # Errors
    /// `unknown_event_type`.
    pub fn contract_of(&self, envelope: &Envelope<'_>) -> Result<&Contract, Rejection> {
        let generic = || match envelope.unknown {
            super::Unknown::Store => self.contract(GENERIC),
            super::Unknown::DeadLetter => None,
        };
        self.contract(&envelope.contract)
            .or_else(generic)
            .ok_or_else(|| {
                let shown: String = envelope.contract.chars().take(100).collect();
                Rejection::new(
                    RejectionCode::UnknownEventType,
                    envelope.type_at.pointers().next(),
                    format!("no contract for {shown:?}"),
                )
            })
    }

    /// Checks an event against its contract.
    ///
    /// # Errors
    /// `unknown_event_type`, or as [`Contract::validate`].
    pub fn validate<'a>(&'a self, envelope: Envelope<'a>) -> Result<Validated<'a>, Rejection> {
        self.contract_of(&envelope)?.validate(envelope)
    }
}
