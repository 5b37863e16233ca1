//! What is known of who sent a request, and what it may take for that.

use crate::Edge;
use crate::error::ApiError;
use crate::quota::units_of_bytes;
use crate::reading::Received;
use crate::repeats::{self, PostedTo};
use crate::vendors::Vendors;
use axum::http::HeaderMap;
use contracts::kafka::headers as h;
use contracts::webhook::signature::{SignatureError, SignatureVerdict, SignedRequest};
use contracts::webhook::source::Source;
use contracts::webhook::unproven::Unproven;
use runtime::clock::now_micros;
use runtime::publisher::RecordHeaders;
use std::time::Instant;
use tokio::sync::SemaphorePermit;

/// Whether a request is its vendor's.
#[derive(Debug)]
pub(crate) enum Proof<'a> {
    /// It is, by this secret
    Verified(SignatureVerdict<'a>),
    /// That is not shown, for this reason, and its source accepts it all the same
    Unproven(Unproven, SignatureError),
}

/// What a request that may be published holds until it is answered.
pub(crate) struct Admitted<'a> {
    /// A place among those that are being published
    _permit: SemaphorePermit<'a>,
    /// To be remembered once it is acknowledged
    pub(crate) body: Option<repeats::Body<'a>>,
}

impl<'a> Proof<'a> {
    /// The verdict on a whole request.
    ///
    /// # Errors
    /// The failure, or 429 when there were too many, where the source accepts nothing that is not proven.
    pub(crate) fn of(
        vendors: &Vendors,
        source: &'a Source,
        request: &SignedRequest<'_>,
    ) -> Result<Self, ApiError> {
        let now = now_micros() / 1_000_000;
        match source.verifier.verify(request, now) {
            Ok(verdict) => {
                vendors.meter(source).matched(verdict.secret_id, now);
                Ok(Self::Verified(verdict))
            }
            Err(error) => {
                if error == SignatureError::SecretExpired
                    && let Some(secret) = source.verifier.expired_secret(request, now)
                {
                    vendors.meter(source).matched_expired(secret, now);
                }
                match source.trust.accepts(error, now) {
                    Some(unproven) => Ok(Self::Unproven(unproven, error)),
                    None => Err(vendors.quotas.failed(&source.name, error.into())),
                }
            }
        }
    }

    /// The check before the body is read.
    ///
    /// # Errors
    /// As [`Proof::of`].
    pub(crate) fn precheck(
        vendors: &Vendors,
        source: &Source,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let Err(error) = source.verifier.precheck(headers) else {
            return Ok(());
        };
        match source.trust.accepts(error, now_micros() / 1_000_000) {
            Some(_) => Ok(()),
            None => Err(vendors.quotas.failed(&source.name, error.into())),
        }
    }

    /// Takes what a request may have. Who is not proven takes it from a small quota of its source's, first, and stays a stranger to the memory
    /// for bodies. Its body is not remembered: nobody else can use up the repeats of a body of the vendor's.
    ///
    /// # Errors
    /// 429, 503, or 400 for a batch's body at the URL of single events.
    pub(crate) fn admit(
        &self,
        edge: &'a Edge,
        vendors: &'a Vendors,
        source: &Source,
        received: &mut Received<'_>,
        posted_to: PostedTo,
    ) -> Result<Admitted<'a>, ApiError> {
        let body = &received.body;
        match self {
            Self::Verified(_) => {
                received.charge.verified();
                let permit = edge.admit()?;
                let body = vendors
                    .repeats
                    .admit(&source.name, body, posted_to, Instant::now())?;
                Ok(Admitted {
                    _permit: permit,
                    body,
                })
            }
            Self::Unproven(..) => {
                let units = units_of_bytes(body.len());
                vendors.quotas.admit_unproven(&source.name, units)?;
                Ok(Admitted {
                    _permit: edge.admit()?,
                    body: None,
                })
            }
        }
    }

    /// Takes so many events of the source's quota.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn admit_events(
        &self,
        vendors: &Vendors,
        source: &Source,
        events: usize,
    ) -> Result<(), ApiError> {
        match self {
            Self::Verified(_) => vendors.quotas.admit(&source.name, events),
            // The first is paid for by its bytes.
            Self::Unproven(..) if events <= 1 => Ok(()),
            Self::Unproven(..) => vendors.quotas.admit_unproven(&source.name, events),
        }
    }

    /// What its records say of it.
    pub(crate) fn headers(&self, headers: RecordHeaders) -> RecordHeaders {
        match self {
            Self::Verified(verdict) => headers.with(h::SECRET_ID, Some(verdict.secret_id)),
            Self::Unproven(unproven, error) => headers
                .with(h::UNPROVEN, Some(unproven.as_str()))
                .with(h::SIGNATURE_ERROR, Some(error.code())),
        }
    }

    /// Counts what was accepted without proof.
    pub(crate) fn count(&self, source: &Source, events: usize) {
        if let Self::Unproven(_, error) = self {
            crate::metrics::unproven(&source.name, error.code()).increment(events as u64);
        }
    }
}
