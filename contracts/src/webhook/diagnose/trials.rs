//! The known mistakes, tried one by one: each is the request, the scheme, the secrets or the URL, changed in one way.

mod by_shape;
mod secrets;
mod signature;
mod signed;
mod time;

use super::mistake::Mistake;
use super::{Evidence, Found};
use crate::webhook::scheme::{Algorithm, Scheme};
use crate::webhook::signature::{SignatureError, Verifier};
use crate::webhook::source::{Source, Sources};
use http::{HeaderMap, HeaderName, HeaderValue};

const MACS: [Algorithm; 3] = [
    Algorithm::HmacSha256,
    Algorithm::HmacSha512,
    Algorithm::HmacSha1,
];

/// The trials of one request.
pub(super) struct Trials<'a> {
    source: &'a Source,
    all: &'a Sources,
    evidence: &'a Evidence<'a>,
    work_left: usize,
    pub(super) tried: Vec<&'static str>,
    pub(super) is_cut_short: bool,
}

type Trial<'a> = fn(&mut Trials<'a>) -> Option<Found>;

fn certain(mistake: Mistake, detail: impl Into<String>) -> Option<Found> {
    Some(Found {
        mistake,
        detail: detail.into(),
        is_certain: true,
    })
}

fn likely(mistake: Mistake, detail: impl Into<String>) -> Option<Found> {
    Some(Found {
        mistake,
        detail: detail.into(),
        is_certain: false,
    })
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        source: &'a Source,
        all: &'a Sources,
        evidence: &'a Evidence<'a>,
        work_left: usize,
    ) -> Self {
        Self {
            source,
            all,
            evidence,
            work_left,
            tried: Vec::new(),
            is_cut_short: false,
        }
    }

    /// The first mistake that fits; without one, what the headers look like.
    pub(super) fn mistake(&mut self) -> Option<Found> {
        let trials: [(&'static str, Trial<'a>); 12] = [
            ("each value of a header that came twice", Self::doubled),
            (
                "quotes, spaces and capitals in the signature",
                Self::signature_text,
            ),
            (
                "other encodings and prefixes of the signature",
                Self::encoding,
            ),
            ("a signature that is cut off", Self::cut_off),
            ("other units of the timestamp", Self::time_unit),
            ("secrets of other sources", Self::other_secret),
            ("other readings of the secret's text", Self::secret_text),
            ("other algorithms", Self::algorithm),
            ("other URLs", Self::url),
            ("other parts of the request, in other orders", Self::parts),
            ("the schemes of other vendors", Self::other_scheme),
            ("the same signature in another header", Self::other_header),
        ];
        for (words, trial) in trials {
            let found = trial(self);
            if found.is_some() {
                return found;
            }
            if self.evidence.body.is_some() {
                self.tried.push(words);
            }
        }
        let found = self.body();
        if found.is_some() {
            return found;
        }
        if self.evidence.body.is_some() {
            self.tried.push(
                "other bodies: JSON written in other ways, line ends, encodings, gzip, form fields",
            );
        }
        self.mistake_by_shape()
    }

    /// What the headers look like, where no signature could be computed, or none fits.
    pub(super) fn mistake_by_shape(&mut self) -> Option<Found> {
        match self.source.verifier.precheck(self.evidence.headers) {
            Err(SignatureError::MissingHeader) => self.missing(),
            Err(SignatureError::DuplicateHeader) => likely(
                Mistake::HeaderDoubled,
                format!("doubled: {}", self.doubled_headers().join(", ")),
            ),
            Err(SignatureError::MalformedHeader) => self.shape(),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether one of the verifier's secrets made a signature of this request. The time is another question.
    fn fits(&mut self, verifier: &Verifier, headers: &HeaderMap, body: &[u8]) -> bool {
        let Ok(presented) = verifier.precheck(headers) else {
            return false;
        };
        let work = body.len() + 1024;
        if self.work_left < work {
            self.is_cut_short = true;
            return false;
        }
        self.work_left -= work;
        let now = presented.timestamp().unwrap_or(self.evidence.received_at);
        let request = self.evidence.with(headers, body);
        match verifier.verify(&request, now) {
            Ok(_)
            | Err(
                SignatureError::TooOld | SignatureError::InFuture | SignatureError::SecretExpired,
            ) => true,
            Err(
                SignatureError::MissingHeader
                | SignatureError::DuplicateHeader
                | SignatureError::MalformedHeader
                | SignatureError::Mismatch,
            ) => false,
        }
    }

    fn fits_as_sent(&mut self, verifier: &Verifier) -> bool {
        let Some(body) = self.evidence.body else {
            return false;
        };
        self.fits(verifier, self.evidence.headers, body)
    }

    /// The source's own verifier, with its scheme changed.
    fn with_scheme(&self, scheme: Scheme) -> Option<Verifier> {
        self.source.verifier_of(scheme, self.source.keys.clone())
    }

    fn scheme(&self) -> &'a Scheme {
        self.source.verifier.scheme()
    }

    fn has(&self, name: &str) -> bool {
        self.evidence.headers.contains_key(name)
    }

    /// The header or headers that the signature may be in, which the request has.
    fn signature_headers(&self) -> Vec<HeaderName> {
        let scheme = self.scheme();
        let names = scheme.signature_header.0.iter();
        names
            .chain(&scheme.more_signature_headers)
            .filter_map(|name| name.to_ascii_lowercase().parse().ok())
            .filter(|name| self.evidence.headers.contains_key(name))
            .collect()
    }

    /// The request's headers with one value changed.
    fn with_header(&self, name: &HeaderName, value: &str) -> Option<HeaderMap> {
        let mut headers = self.evidence.headers.clone();
        headers.insert(name.clone(), HeaderValue::from_str(value).ok()?);
        Some(headers)
    }

    fn value(&self, name: &HeaderName) -> Option<&'a str> {
        self.evidence.headers.get(name)?.to_str().ok()
    }
}
