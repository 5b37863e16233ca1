//! Signing, for what plays a vendor: tests, the simulator, `eventflow send`.

use super::{Presented, SchemeError, SignedRequest, Verifier};
use crate::webhook::credential::Credential;
use crate::webhook::draft::{Draft, Place};
use crate::webhook::scheme::{Method, TimestampFormat};
use crate::webhook::template::Part;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a vendor signs with.
#[derive(Clone, Copy)]
pub enum VendorKey<'k> {
    /// One of the verifier's own secrets, by its index: a key or token that both sides have
    Shared(usize),
    /// The private key of the public key that the verifier has: the signature of a message
    Private(&'k dyn Fn(&[u8]) -> Vec<u8>),
}

impl Verifier {
    /// Signs a request of any scheme at a time, as the vendor would: headers, or places in the body, are written as they are read. `new_id` is
    /// the delivery id where the scheme has one and the draft does not.
    ///
    /// # Errors
    /// The draft has not what is signed, or the key is of another kind.
    pub fn sign_draft(
        &self,
        draft: &mut Draft,
        timestamp_seconds: i64,
        new_id: &str,
        key: VendorKey<'_>,
    ) -> Result<(), SchemeError> {
        let places = &self.places;
        let header = |name: &HeaderName| Place::Header(name.as_str().to_owned());
        let timestamp = self.write_timestamp(timestamp_seconds);
        for name in places.signatures.iter().flatten().chain(&places.timestamp) {
            draft.remove_header(name.as_str());
        }
        let own_id = places.id.iter().find_map(|name| draft.text(&header(name)));
        if let (Some(name), None) = (places.id.first(), &own_id) {
            draft.set(&header(name), new_id);
        }
        let id = own_id.as_deref().unwrap_or(new_id).to_owned();
        if let Some(name) = places.timestamp.first() {
            draft.set(&header(name), &timestamp);
        }
        if let Some(path) = &places.timestamp_pointer {
            draft.set(&Place::Body(path.clone()), &timestamp);
        }
        for (name, value) in &places.required {
            draft.set(&header(name), value);
        }
        for base in self.signed_parts(draft) {
            let signature = self.signature_of(draft, &base, &id, timestamp_seconds, key)?;
            let at = |path: &[String]| Place::Body([base.as_slice(), path].concat());
            let place = match (
                &places.signature_pointer,
                &self.scheme.signature_field,
                places.signatures.first().and_then(|names| names.first()),
            ) {
                (Some(path), _, _) => at(path),
                (None, Some(field), _) => Place::Body(vec![field.clone()]),
                (None, None, Some(name)) => header(name),
                (None, None, None) => {
                    return Err(SchemeError(
                        "the scheme has no place for a signature".to_owned(),
                    ));
                }
            };
            draft.set(&place, &signature);
        }
        Ok(())
    }

    /// The paths of what is signed by itself: the body, or each item of it.
    fn signed_parts(&self, draft: &Draft) -> Vec<Vec<String>> {
        let Some(items) = &self.places.items else {
            return vec![Vec::new()];
        };
        let item = |index: usize| [items.as_slice(), &[index.to_string()]].concat();
        let paths = (0..super::MAX_ITEMS).map(item);
        paths.take_while(|path| draft.at(path).is_some()).collect()
    }

    /// The text of the signature of one part, with all that stands before it.
    fn signature_of(
        &self,
        draft: &Draft,
        base: &[String],
        id: &str,
        timestamp_seconds: i64,
        key: VendorKey<'_>,
    ) -> Result<String, SchemeError> {
        let bad = |problem: &str| SchemeError(problem.to_owned());
        let mut headers = HeaderMap::new();
        for (name, value) in draft.headers() {
            let name = HeaderName::try_from(name).map_err(|_| bad("a header has no valid name"))?;
            let value =
                HeaderValue::try_from(value).map_err(|_| bad("a header has no valid value"))?;
            headers.append(name, value);
        }
        let body = draft.body();
        let part = match base {
            [] => body.clone(),
            path => draft.at(path).unwrap_or_default().as_bytes().to_vec(),
        };
        let request = SignedRequest::post(&headers, &body);
        let timestamp = self.write_timestamp(timestamp_seconds);
        let presented = Presented {
            id: Some(id),
            timestamp_text: Some(Cow::Borrowed(&timestamp)),
            timestamp: Some(timestamp_seconds),
            signatures: Vec::new(),
        };
        let form = self.form(&request).map_err(|error| bad(error.code()))?;
        let signed = self.signed(&request, &part, form.as_deref(), &presented);
        let signed = signed.map_err(|error| bad(error.code()))?;
        let encoded = match key {
            VendorKey::Shared(index) => {
                let key = self.keys.get(index);
                key.and_then(|key| key.credential.sign(&signed, self.scheme.encoding))
            }
            VendorKey::Private(sign) => Some(self.scheme.encoding.encode(&sign(&signed.concat()))),
        };
        let encoded = encoded.ok_or_else(|| {
            bad("only the vendor can sign: EventFlow has its public key, not the private one")
        })?;
        Ok(self.with_marks(&encoded, &timestamp))
    }

    /// A signature as it is presented: with its prefix, and the timestamp where it stands beside it.
    fn with_marks(&self, encoded: &str, timestamp: &str) -> String {
        let signature = format!("{}{encoded}", self.scheme.prefix);
        match (&self.scheme.timestamp_prefix, self.scheme.separator) {
            (Some(prefix), Some(separator)) => format!("{prefix}{timestamp}{separator}{signature}"),
            (_, _) => signature,
        }
    }

    /// Whether [`sign`](Self::sign) can make requests of this scheme.
    ///
    /// # Errors
    /// Says what is in the way: only the vendor has its private key, or the signature is inside the body.
    pub fn can_sign(&self) -> Result<(), SchemeError> {
        let bad = |problem: &str| Err(SchemeError(problem.to_owned()));
        if self.scheme.algorithm.method() == Method::PublicKey {
            return bad(
                "only the vendor can sign: EventFlow has its public key, not the private one",
            );
        }
        if self
            .keys
            .iter()
            .any(|key| matches!(key.credential, Credential::Unread))
        {
            return bad("the secrets were not read");
        }
        if self.places.signatures.is_empty() {
            return bad(
                "the signature is inside the body: sign the body with the vendor's library",
            );
        }
        let unknown = |part: &Part| matches!(part, Part::Header(_));
        if self.places.certificate.is_some() || self.template.parts().any(|(part, _)| unknown(part))
        {
            return bad("the vendor signs headers that only it can fill");
        }
        Ok(())
    }

    /// Signs a POST of a body with one of the keys and returns the headers to send.
    ///
    /// # Panics
    /// When there is no key of that index, or [`can_sign`](Self::can_sign) says no.
    #[must_use]
    pub fn sign(
        &self,
        id: Option<&str>,
        timestamp_seconds: i64,
        body: &[u8],
        key_index: usize,
    ) -> Vec<(String, String)> {
        let timestamp = self.write_timestamp(timestamp_seconds);
        let empty = HeaderMap::new();
        let request = SignedRequest::post(&empty, body);
        let presented = Presented {
            id,
            timestamp_text: Some(Cow::Borrowed(&timestamp)),
            timestamp: Some(timestamp_seconds),
            signatures: Vec::new(),
        };
        let form = self.form(&request).unwrap_or_default();
        let signed = self.signed(&request, body, form.as_deref(), &presented);
        let encoded = signed.ok().and_then(|signed| {
            let credential = &self.keys[key_index].credential;
            credential.sign(&signed, self.scheme.encoding)
        });
        let encoded = encoded.unwrap_or_else(|| panic!("signed without asking can_sign"));
        let signature = self.with_marks(&encoded, &timestamp);
        let mut headers = Vec::with_capacity(3);
        if let (Some(name), Some(id)) = (self.places.id.first(), id) {
            headers.push((name.to_string(), id.to_owned()));
        }
        if let Some(name) = self.places.timestamp.first() {
            headers.push((name.to_string(), timestamp));
        }
        for (name, value) in &self.places.required {
            headers.push((name.to_string(), value.clone()));
        }
        if let Some(name) = self
            .places
            .signatures
            .first()
            .and_then(|names| names.first())
        {
            headers.push((name.to_string(), signature));
        }
        headers
    }

    fn write_timestamp(&self, seconds: i64) -> String {
        match self.scheme.timestamp_format {
            TimestampFormat::UnixSeconds => seconds.to_string(),
            TimestampFormat::UnixMillis => seconds.saturating_mul(1000).to_string(),
            TimestampFormat::Rfc3339 => OffsetDateTime::from_unix_timestamp(seconds)
                .ok()
                .and_then(|time| time.format(&Rfc3339).ok())
                .unwrap_or_default(),
        }
    }
}
