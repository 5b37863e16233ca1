//! A request up to its verified body: the cheap checks, the body within its limits, the signature; then what the body holds.

use crate::Edge;
use crate::body::{check_length, read_body};
use crate::budget::Charge;
use crate::error::ApiError;
use crate::proof::Proof;
use crate::vendors::Vendors;
use axum::body::Body;
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use contracts::webhook::body::gzip::{Gzip, GzipError};
use contracts::webhook::signature::SignedRequest;
use contracts::webhook::source::Source;
use std::borrow::Cow;

/// A request whose body was read.
pub(crate) struct Received<'a> {
    pub(crate) head: &'a Head,
    /// What the vendor signs: unpacked, where it signs the plain bytes
    pub(crate) body: Bytes,
    /// What it holds of the budget
    pub(crate) charge: Charge<'a>,
}

impl Received<'_> {
    /// All that a vendor may have signed.
    pub(crate) fn signed(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: self.head.method.as_str(),
            query: self.head.uri.query(),
            headers: &self.head.headers,
            body: &self.body,
        }
    }
}

/// The cheap checks, then the body within its limits.
pub(crate) async fn read<'a>(
    edge: &'a Edge,
    vendors: &Vendors,
    source: &Source,
    (head, body): (&'a Head, Body),
    limit: usize,
) -> Result<Received<'a>, ApiError> {
    check_length(&head.extensions, &head.headers)?;
    if edge.shutdown.is_cancelled() {
        return Err(ApiError::Draining);
    }
    let is_packed = is_packed(&head.headers, source.body.gzip())?;
    Proof::precheck(vendors, source, &head.headers)?;
    let declared = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::BodyTooLarge(limit));
    }
    let mut charge = edge.open(&head.extensions, &head.headers)?;
    let mut body = read_body(&mut charge, edge.pace, body, limit).await?;
    if is_packed && source.body.gzip() == Some(Gzip::Plain) {
        body = unpack(&body, limit, &mut charge)?;
    }
    Ok(Received { head, body, charge })
}

/// Whether the body is compressed, which only sources that say so may send.
fn is_packed(headers: &HeaderMap, gzip: Option<Gzip>) -> Result<bool, ApiError> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(false),
        (Some(one), None) if gzip.is_some() && one.as_bytes().eq_ignore_ascii_case(b"gzip") => {
            Ok(true)
        }
        (Some(_), _) => Err(ApiError::UnsupportedEncoding),
    }
}

/// Unpacks before the signature is verified: what strangers send, too. So it is bounded more tightly, and charged before it is done.
fn unpack(body: &[u8], limit: usize, charge: &mut Charge<'_>) -> Result<Bytes, ApiError> {
    let refused = |error| match error {
        GzipError::Malformed => ApiError::MalformedGzip,
        GzipError::TooLarge => ApiError::BodyTooLarge(limit),
    };
    let bytes = Gzip::Plain.unpacked_bytes(body, limit).map_err(refused)?;
    charge.grow(bytes)?;
    let plain = Gzip::Plain.unpack(body, limit).map_err(refused)?;
    if plain.is_empty() {
        return Err(ApiError::EmptyBody);
    }
    Ok(plain.into())
}

/// The JSON of a verified body; `None` where it is in no form of its source: then it is published as it is, and the validator says why.
pub(crate) fn open<'b>(
    source: &Source,
    body: &'b [u8],
    charge: &mut Charge<'_>,
) -> Result<Option<Cow<'b, [u8]>>, ApiError> {
    let more = source.body.open_bytes(body);
    if more > 0 {
        charge.grow(more)?;
    }
    Ok(source.body.plain(body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use crate::budget::Budget;
    use contracts::Secret;
    use contracts::webhook::source::Sources;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    /// A body that repeats itself 16 times over.
    fn packed(plain_bytes: usize) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let noise: Vec<u8> = (0..plain_bytes / 16)
            .map(|n| (n * n / 7) as u8 ^ (n >> 3) as u8)
            .collect();
        encoder.write_all(&noise.repeat(16)).unwrap();
        encoder.finish().unwrap()
    }

    fn source(more: &str) -> Sources {
        let text = format!(
            "[[source]]\nname = \"acme\"\nscheme = \"github\"\nsecrets = [{{ id = \"k\", from = \"env:S\" }}]\n{more}"
        );
        Sources::from_toml(&text, &|_| Ok(Secret::new("s"))).unwrap()
    }

    /// The worst that strangers do: each body is held unpacked, and none of them is authentic.
    #[test]
    fn what_a_stranger_has_unpacked_is_of_its_share_and_bounded_for_all() {
        let body = packed(64 << 10);
        let budget = Budget::new(Budget::least_for(64 << 10));
        let mut charges = Vec::new();
        let refused = loop {
            let peer = [10, 0, 0, u8::try_from(charges.len() / 8).unwrap()];
            let unpacked = budget.open(peer.into()).and_then(|mut charge| {
                unpack(&body, 1 << 20, &mut charge)?;
                Ok(charge)
            });
            match unpacked {
                Ok(charge) => charges.push(charge),
                Err(error) => break error.code(),
            }
        };
        assert_eq!(refused, "peer_over_share");
        let held: usize = charges.iter().map(Charge::bytes).sum();
        assert_eq!(
            held,
            charges.len() * ((64 << 10) + crate::budget::OPEN_BYTES)
        );
        drop(charges);
        let mut charge = budget.open([10, 0, 0, 1].into()).unwrap();
        let more = unpack(&body, (64 << 10) - 1, &mut charge).unwrap_err();
        assert_eq!(more.code(), "body_too_large", "the source's limit");
        assert_eq!(
            charge.bytes(),
            crate::budget::OPEN_BYTES,
            "nothing is taken for it"
        );
    }

    #[test]
    fn what_a_vendor_has_opened_is_charged_before_it_is_copied() {
        let form = format!("payload={}", "%22".repeat(1000));
        let body = packed(16 << 10);
        for (more, body, is_open) in [
            ("body = \"form:payload\"", form.as_bytes(), true),
            ("body = \"form\"", form.as_bytes(), true),
            ("gzip = \"signed\"", &body, true),
            ("", &body, true),
            ("body = \"form\"", b"=", false),
        ] {
            let sources = source(more);
            let acme = sources.get("acme").unwrap();
            let budget = Budget::new(Budget::least_for(256 << 10));
            let mut charge = budget.open([10, 0, 0, 1].into()).unwrap();
            charge.verified();
            let before = charge.bytes();
            let opened = open(acme, body, &mut charge).unwrap();
            assert_eq!(opened.is_some(), is_open, "{more}");
            let owned = match &opened {
                Some(Cow::Owned(json)) => json.len(),
                Some(Cow::Borrowed(_)) | None => 0,
            };
            assert!(charge.bytes() - before >= owned, "{more}");
            let budget = Budget::new(crate::budget::OPEN_BYTES * 4);
            let mut charge = budget.open([10, 0, 0, 1].into()).unwrap();
            charge.verified();
            let full = charge.grow(crate::budget::OPEN_BYTES * 3);
            assert!(full.is_ok());
            let refused = open(acme, body, &mut charge).map_err(|error| error.code());
            let expected = acme.body.open_bytes(body) > 0;
            assert_eq!(refused.is_err(), expected, "{more}");
        }
    }
}
