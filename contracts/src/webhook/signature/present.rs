//! What a request presents, judged by its shape alone: no MAC is computed for what cannot match.

use super::signed::{find, json_text};
use super::{MAX_SIGNATURES, SignatureError, Verifier};
use crate::webhook::body::urlencoded::Field;
use crate::webhook::credential::Signature;
use crate::webhook::scheme::TimestampFormat;
use crate::webhook::template::Part;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 256;

/// What a request presents, checked by shape only.
#[derive(Debug, Clone)]
pub struct Presented<'h> {
    pub(super) id: Option<&'h str>,
    /// The raw text received: the signed string is built from it, never from the number.
    pub(super) timestamp_text: Option<Cow<'h, str>>,
    /// Unix seconds
    pub(super) timestamp: Option<i64>,
    pub(super) signatures: Vec<Signature>,
}

impl Presented<'_> {
    /// Unix seconds of the timestamp, where the scheme has one in the headers.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }
}

impl Verifier {
    /// Checks presence and shape of what is in the headers, before the body is read.
    ///
    /// # Errors
    /// One of the malformed [`SignatureError`]s.
    pub fn precheck<'h>(&self, headers: &'h HeaderMap) -> Result<Presented<'h>, SignatureError> {
        let places = &self.places;
        let mut presented = Presented {
            id: None,
            timestamp_text: None,
            timestamp: None,
            signatures: Vec::with_capacity(1),
        };
        for (name, value) in &places.required {
            if one(headers, std::slice::from_ref(name))? != value {
                return Err(SignatureError::MalformedHeader);
            }
        }
        if let Some(name) = &places.certificate {
            self.check_certificate_url(one(headers, std::slice::from_ref(name))?)?;
        }
        if !places.id.is_empty() {
            let id = one(headers, &places.id)?;
            if id.is_empty() || id.len() > MAX_ID_BYTES {
                return Err(SignatureError::MalformedHeader);
            }
            presented.id = Some(id);
        }
        for (part, borders) in self.template.parts() {
            let text = match part {
                Part::Id => presented.id.unwrap_or_default(),
                Part::Header(name) => one(headers, std::slice::from_ref(name))?,
                _ => continue,
            };
            if borders.iter().any(|border| text.contains(border.as_str())) {
                return Err(SignatureError::MalformedHeader);
            }
        }
        if !places.timestamp.is_empty() {
            presented.timestamp_text = Some(Cow::Borrowed(one(headers, &places.timestamp)?));
        }
        if !places.signatures.is_empty() {
            let mut missing = true;
            for names in &places.signatures {
                match one(headers, names) {
                    Ok(text) => self.read_signatures(text, &mut presented)?,
                    Err(SignatureError::MissingHeader) => continue,
                    Err(error) => return Err(error),
                }
                missing = false;
            }
            if missing {
                return Err(SignatureError::MissingHeader);
            }
            if presented.signatures.is_empty() {
                return Err(SignatureError::MalformedHeader);
            }
        }
        if self.scheme.timestamp_prefix.is_some() && presented.timestamp_text.is_none() {
            return Err(SignatureError::MissingHeader);
        }
        if let Some(text) = &presented.timestamp_text {
            let seconds = self.parse_timestamp(text);
            presented.timestamp = Some(seconds.ok_or(SignatureError::MalformedHeader)?);
        }
        Ok(presented)
    }

    /// Reads what the scheme has in the body: the signature, the timestamp.
    pub(super) fn read_body(
        &self,
        part: &[u8],
        form: Option<&[Field<'_>]>,
        presented: &mut Presented<'_>,
    ) -> Result<(), SignatureError> {
        let text_at = |path: &[String]| find(path, part).and_then(json_text);
        if let Some(path) = &self.places.timestamp_pointer {
            let text = text_at(path).ok_or(SignatureError::MissingHeader)?;
            let seconds = self.parse_timestamp(&text);
            presented.timestamp = Some(seconds.ok_or(SignatureError::MalformedHeader)?);
            presented.timestamp_text = Some(Cow::Owned(text.into_owned()));
        }
        let signature = match (&self.places.signature_pointer, &self.scheme.signature_field) {
            (Some(path), _) => text_at(path),
            (None, Some(name)) => super::signed::field(form, name)?.map(Cow::Borrowed),
            (None, None) => return Ok(()),
        };
        let signature = signature.ok_or(SignatureError::MissingHeader)?;
        presented.signatures.clear();
        self.read_signatures(&signature, presented)?;
        if presented.signatures.is_empty() {
            return Err(SignatureError::MalformedHeader);
        }
        Ok(())
    }

    /// Reads one text with one signature, or with several and perhaps the timestamp.
    fn read_signatures<'h>(
        &self,
        text: &'h str,
        presented: &mut Presented<'_>,
    ) -> Result<(), SignatureError> {
        let decode = |encoded: &'h str| {
            Signature::decode(&self.scheme, encoded).ok_or(SignatureError::MalformedHeader)
        };
        let Some(separator) = self.scheme.separator else {
            let encoded = text.strip_prefix(&self.scheme.prefix);
            let encoded = encoded.ok_or(SignatureError::MalformedHeader)?;
            presented.signatures.push(decode(encoded)?);
            return Ok(());
        };
        for item in text.split(separator).map(str::trim) {
            let prefix = self.scheme.timestamp_prefix.as_deref();
            if let Some(stamp) = prefix.and_then(|prefix| item.strip_prefix(prefix)) {
                let before = presented
                    .timestamp_text
                    .replace(Cow::Owned(stamp.to_owned()));
                if before.is_some() {
                    return Err(SignatureError::DuplicateHeader);
                }
            } else if let Some(encoded) = item.strip_prefix(&self.scheme.prefix)
                && !item.is_empty()
            {
                presented.signatures.push(decode(encoded)?);
            }
            if presented.signatures.len() > MAX_SIGNATURES {
                return Err(SignatureError::MalformedHeader);
            }
        }
        Ok(())
    }

    /// Unix seconds of a timestamp that is written exactly as the scheme says.
    fn parse_timestamp(&self, text: &str) -> Option<i64> {
        let digits = |most: usize| {
            let is_long_enough = match self.places.timestamp_length {
                Some(length) => text.len() == length,
                None => (1..=most).contains(&text.len()),
            };
            let shape = is_long_enough && text.bytes().all(|byte| byte.is_ascii_digit());
            shape.then(|| text.parse::<i64>().ok()).flatten()
        };
        match self.scheme.timestamp_format {
            TimestampFormat::UnixSeconds => digits(12),
            TimestampFormat::UnixMillis => digits(15).map(|millis| millis / 1000),
            TimestampFormat::Rfc3339 if text.len() > 40 => None,
            TimestampFormat::Rfc3339 => OffsetDateTime::parse(text, &Rfc3339)
                .ok()
                .map(OffsetDateTime::unix_timestamp),
        }
    }

    /// The address of a certificate: `https`, one of the hosts, no user and no port.
    fn check_certificate_url(&self, url: &str) -> Result<(), SignatureError> {
        let hosts = self.scheme.certificate_url.as_ref().map(|rule| &rule.hosts);
        let host = url
            .strip_prefix("https://")
            .and_then(|rest| rest.split_once('/'))
            .map(|(host, _)| host);
        let is_allowed = hosts
            .into_iter()
            .flatten()
            .any(|allowed| host == Some(allowed.as_str()));
        if is_allowed {
            Ok(())
        } else {
            Err(SignatureError::MalformedHeader)
        }
    }
}

/// The one value of a header, under one of its names, as visible ASCII.
pub(super) fn one<'h>(
    headers: &'h HeaderMap,
    names: &[HeaderName],
) -> Result<&'h str, SignatureError> {
    let mut found: Option<&'h str> = None;
    for name in names {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else {
            continue;
        };
        let value = value.to_str();
        let value = value.map_err(|_| SignatureError::MalformedHeader)?;
        if values.next().is_some() || found.is_some_and(|other| other != value) {
            return Err(SignatureError::DuplicateHeader);
        }
        found = Some(value);
    }
    found.ok_or(SignatureError::MissingHeader)
}
