//! How: the text of the signature.

use super::{Found, MACS, Mistake, Trials, certain, likely};
use crate::webhook::scheme::Encoding;
use http::HeaderName;

const ENCODINGS: [(Encoding, &str); 5] = [
    (Encoding::Hex, "hexadecimal"),
    (Encoding::Base64, "base64"),
    (Encoding::Base64Unpadded, "base64 without padding"),
    (Encoding::Base64url, "base64 for URLs"),
    (
        Encoding::Base64urlUnpadded,
        "base64 for URLs without padding",
    ),
];
const PREFIXES: [&str; 8] = [
    "",
    "sha256=",
    "sha1=",
    "sha512=",
    "v1=",
    "v1,",
    "v0=",
    "hmac-sha256=",
];

impl Trials<'_> {
    pub(super) fn doubled_headers(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .source
            .verifier
            .signature_headers()
            .chain(self.source.verifier.secret_headers())
            .filter(|name| self.evidence.headers.get_all(*name).iter().count() > 1)
            .map(ToString::to_string)
            .collect();
        names.dedup();
        names
    }

    pub(super) fn doubled(&mut self) -> Option<Found> {
        let doubled = self.doubled_headers();
        let [name] = doubled.as_slice() else {
            return None;
        };
        let (body, name) = (self.evidence.body?, HeaderName::try_from(name).ok()?);
        let values: Vec<_> = self
            .evidence
            .headers
            .get_all(&name)
            .iter()
            .take(8)
            .collect();
        for (index, value) in values.iter().enumerate() {
            let mut headers = self.evidence.headers.clone();
            headers.insert(name.clone(), (*value).clone());
            let source = self.source;
            if self.fits(&source.verifier, &headers, body) {
                return certain(
                    Mistake::HeaderDoubled,
                    format!(
                        "{name} came {} times; number {} fits",
                        values.len(),
                        index + 1
                    ),
                );
            }
        }
        None
    }

    pub(super) fn signature_text(&mut self) -> Option<Found> {
        for name in self.signature_headers() {
            let value = self.value(&name)?;
            let bare = value.trim_matches([' ', '\t', '"', '\'']);
            let texts = [
                (bare.to_owned(), "quotes or spaces around it"),
                (value.replace([' ', '"'], ""), "quotes or spaces in it"),
                (value.to_ascii_lowercase(), "capitals"),
                (
                    bare.to_ascii_lowercase(),
                    "capitals, and quotes or spaces around it",
                ),
            ];
            for (text, words) in texts {
                if text == value {
                    continue;
                }
                let Some(headers) = self.with_header(&name, &text) else {
                    continue;
                };
                let source = self.source;
                let fits = match self.evidence.body {
                    Some(body) => self.fits(&source.verifier, &headers, body),
                    None => source.verifier.precheck(&headers).is_ok(),
                };
                if fits {
                    return Some(Found {
                        mistake: Mistake::SignatureCharacters,
                        detail: format!("{name} has {words}; without, it is as the scheme says"),
                        is_certain: self.evidence.body.is_some(),
                    });
                }
            }
        }
        None
    }

    pub(super) fn encoding(&mut self) -> Option<Found> {
        let own = self.scheme();
        if self.source.verifier.precheck(self.evidence.headers).is_ok() {
            return None;
        }
        let mut by_shape = None;
        for (encoding, words) in ENCODINGS {
            for prefix in PREFIXES.into_iter().chain([own.prefix.as_str()]) {
                let is_own = prefix == own.prefix;
                let mut scheme = own.clone();
                prefix.clone_into(&mut scheme.prefix);
                scheme.encoding = encoding;
                if !is_own {
                    (scheme.separator, scheme.timestamp_prefix) = match own.timestamp_prefix {
                        Some(_) => (own.separator, own.timestamp_prefix.clone()),
                        None => (None, None),
                    };
                }
                if encoding == own.encoding && is_own {
                    continue;
                }
                let Some(verifier) = self.with_scheme(scheme) else {
                    continue;
                };
                if verifier.precheck(self.evidence.headers).is_err() {
                    continue;
                }
                let (mistake, detail) = if encoding == own.encoding {
                    let detail = format!(
                        "expected is the prefix {:?}, sent is {prefix:?}",
                        own.prefix
                    );
                    (Mistake::SignaturePrefix, detail)
                } else {
                    (
                        Mistake::SignatureEncoding,
                        format!("it is written in {words}"),
                    )
                };
                if self.fits_as_sent(&verifier) {
                    return certain(mistake, detail);
                }
                by_shape = by_shape.or(Some((mistake, detail)));
            }
        }
        match (self.evidence.body, by_shape) {
            (None, Some((mistake, detail))) => likely(mistake, detail),
            (Some(_) | None, _) => None,
        }
    }

    /// Half of it must be there: from a shorter piece, whoever posts pieces could learn a signature byte by byte.
    pub(super) fn cut_off(&mut self) -> Option<Found> {
        let (body, verifier) = (self.evidence.body?, &self.source.verifier);
        let scheme = self.scheme();
        if !MACS.contains(&scheme.algorithm) || verifier.can_sign().is_err() {
            return None;
        }
        for name in self.signature_headers() {
            let value = self.value(&name)?;
            let items: Vec<&str> = match scheme.separator {
                Some(separator) => value.split(separator).map(str::trim).collect(),
                None => vec![value],
            };
            let stamp = scheme
                .timestamp_prefix
                .as_deref()
                .and_then(|prefix| items.iter().find_map(|item| item.strip_prefix(prefix)));
            let stamp = stamp.or_else(|| {
                let name = scheme.timestamp_header.0.first()?;
                self.evidence.headers.get(name.as_str())?.to_str().ok()
            });
            let at = stamp.and_then(|text| text.parse().ok()).unwrap_or_default();
            let id = scheme.id_header.0.first();
            let id = id.and_then(|name| self.evidence.headers.get(name.as_str())?.to_str().ok());
            for index in 0..self.source.keys.len() {
                self.work_left = self.work_left.saturating_sub(body.len());
                let signed = verifier.sign(id, at, body, index);
                let right = signed.iter().find(|(signed, _)| *signed == name.as_str());
                let Some((_, right)) = right else { continue };
                let right = match scheme.separator {
                    Some(separator) => right.rsplit(separator).next().unwrap_or_default(),
                    None => right,
                };
                let least = scheme.prefix.len() + (right.len() - scheme.prefix.len()) / 2;
                let cut = items.iter().find(|item| {
                    item.len() >= least && item.len() < right.len() && right.starts_with(**item)
                });
                if let Some(cut) = cut {
                    let (sent, whole) = (
                        cut.len() - scheme.prefix.len(),
                        right.len() - scheme.prefix.len(),
                    );
                    return certain(
                        Mistake::SignatureCutOff,
                        format!("the first {sent} of its {whole} characters are there"),
                    );
                }
            }
        }
        None
    }

    pub(super) fn algorithm(&mut self) -> Option<Found> {
        let own = self.scheme();
        if !MACS.contains(&own.algorithm) {
            return None;
        }
        for algorithm in MACS {
            for prefix in PREFIXES.into_iter().chain([own.prefix.as_str()]) {
                if algorithm == own.algorithm {
                    continue;
                }
                let mut scheme = own.clone();
                scheme.algorithm = algorithm;
                prefix.clone_into(&mut scheme.prefix);
                let verifier = self.with_scheme(scheme);
                if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                    return certain(
                        Mistake::OtherAlgorithm,
                        format!(
                            "it is {}, and the scheme has {}",
                            algorithm.words(),
                            own.algorithm.words()
                        ),
                    );
                }
            }
        }
        None
    }
}
