//! The signed string of a request, put together from what was received.

use super::present::one;
use super::{Presented, SignatureError, SignedRequest, Verifier};
use crate::json;
use crate::webhook::body::urlencoded::{self, Field};
use crate::webhook::template::Part;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

impl Verifier {
    /// The fields of the body, where the scheme needs them: none where the query has the digest of a body that is no form.
    pub(super) fn form<'r>(
        &self,
        request: &SignedRequest<'r>,
    ) -> Result<Option<Vec<Field<'r>>>, SignatureError> {
        let needs_form = self.scheme.signature_field.is_some()
            || self
                .template
                .parts()
                .any(|(part, _)| matches!(part, Part::Form | Part::Field(_)));
        if !needs_form {
            return Ok(None);
        }
        if let Some(name) = &self.scheme.body_digest_query
            && let Some(digest) = query_value(request.query, name)?
        {
            if digest.len() != 64 {
                return Err(SignatureError::MalformedHeader);
            }
            return match digest == hex::encode(Sha256::digest(request.body)) {
                true => Ok(Some(Vec::new())),
                false => Err(SignatureError::Mismatch),
            };
        }
        let fields = urlencoded::fields(request.body);
        fields.map(Some).ok_or(SignatureError::MalformedHeader)
    }

    /// The pieces of the signed string, in order; the body is borrowed.
    pub(super) fn signed<'a>(
        &'a self,
        request: &SignedRequest<'a>,
        part: &'a [u8],
        form: Option<&'a [Field<'a>]>,
        presented: &'a Presented<'a>,
    ) -> Result<Vec<Cow<'a, [u8]>>, SignatureError> {
        let mut pieces = Vec::with_capacity(4);
        for (piece, borders) in self.template.parts() {
            let bytes = match piece {
                Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
                Part::Id => text(presented.id.unwrap_or_default()),
                Part::Timestamp => text(presented.timestamp_text.as_deref().unwrap_or_default()),
                Part::Method => text(request.method),
                Part::Url => self.url(request.query),
                Part::Body => Cow::Borrowed(part),
                Part::BodySha256 => owned(hex::encode(Sha256::digest(part))),
                Part::BodyCrc32 => owned(crc32fast::hash(part).to_string()),
                Part::Form => owned(sorted(form.unwrap_or_default())),
                Part::WebhookId => text(&self.scheme.webhook_id),
                Part::Header(name) => text(one(request.headers, std::slice::from_ref(name))?),
                Part::Field(name) => text(field(form, name)?.ok_or(SignatureError::MissingHeader)?),
                Part::Json { path, .. } => match find(path, part).and_then(json_text) {
                    Some(Cow::Borrowed(value)) => text(value),
                    Some(Cow::Owned(value)) => owned(value),
                    None => text(""),
                },
            };
            if borders.iter().any(|border| contains(&bytes, border)) {
                return Err(SignatureError::MalformedHeader);
            }
            pieces.push(bytes);
        }
        Ok(pieces)
    }

    /// The configured URL with the query as received: nothing else of a request says how the vendor spelled its URL.
    fn url(&self, query: Option<&str>) -> Cow<'_, [u8]> {
        match query {
            Some(query) if !query.is_empty() && self.signs_query() => {
                owned(format!("{}?{query}", self.public_url))
            }
            Some(_) | None => text(&self.public_url),
        }
    }
}

fn text(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

fn owned(text: String) -> Cow<'static, [u8]> {
    Cow::Owned(text.into_bytes())
}

fn contains(bytes: &[u8], border: &str) -> bool {
    memchr::memmem::find(bytes, border.as_bytes()).is_some()
}

/// The value at a path of the body. Of equal field names the first counts, as everywhere.
pub(super) fn find<'b>(path: &[String], body: &'b [u8]) -> Option<&'b RawValue> {
    json::find(path, serde_json::Deserializer::from_slice(body))
}

/// A string, or the text of a number or boolean as it is written.
pub(super) fn json_text(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes().first()? {
        b'-' | b'0'..=b'9' | b't' | b'f' => Some(Cow::Borrowed(value.get())),
        _ => json::text(value.get()),
    }
}

/// The one value of a field.
pub(super) fn field<'b>(
    form: Option<&'b [Field<'b>]>,
    name: &str,
) -> Result<Option<&'b str>, SignatureError> {
    let mut values = form.into_iter().flatten().filter(|(own, _)| own == name);
    let value = values.next().map(|(_, value)| value.as_ref());
    match values.next() {
        Some(_) => Err(SignatureError::DuplicateHeader),
        None => Ok(value),
    }
}

/// Names and values in the order of both, without anything between them; of equal pairs one, as Twilio's library has it.
fn sorted(form: &[Field<'_>]) -> String {
    let mut fields: Vec<_> = form.iter().collect();
    fields.sort_unstable();
    fields.dedup();
    let texts = fields
        .iter()
        .flat_map(|(name, value)| [name.as_ref(), value.as_ref()]);
    texts.collect()
}

/// The one value of a query parameter, as it is written.
fn query_value<'q>(query: Option<&'q str>, name: &str) -> Result<Option<&'q str>, SignatureError> {
    let pairs = query.unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let value = values.next();
    match values.next() {
        Some(_) => Err(SignatureError::DuplicateHeader),
        None => Ok(value),
    }
}
