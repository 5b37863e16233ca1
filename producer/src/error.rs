//! What the edge answers when it does not accept: `application/problem+json` (RFC 9457) with a stable `code`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contracts::webhook::signature::SignatureError;
use runtime::publisher::PublishError;
use std::time::Duration;

/// Why a request was not accepted. Every variant is one answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// 400 or 401, by the signature error
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// 400
    #[error("the body is empty; send an event")]
    EmptyBody,
    /// 400
    #[error("the body ended before it was complete; send the request again")]
    BrokenBody,
    /// 400; the connection closes, since what follows on it cannot be trusted
    #[error("send one content-length, or one transfer-encoding that is chunked, not both")]
    AmbiguousLength,
    /// 400
    #[error(
        "the batch is neither a JSON array of objects nor, as application/x-ndjson, one JSON object a line: {0}"
    )]
    MalformedBatch(String),
    /// 400
    #[error(
        "the compressed body is not one whole gzip member; send it again, or without content-encoding"
    )]
    MalformedGzip,
    /// 400
    #[error(
        "this is not the handshake that the source answers; check its query, headers and verify token"
    )]
    NoHandshake,
    /// 400
    #[error("these signed bytes were accepted as a batch; post them to the source's /batch URL")]
    SignedAsBatch,
    /// 400
    #[error("the batch has more than {0} events, the most one request may have; send it in parts")]
    TooManyEvents(usize),
    /// 400
    #[error("the payload must be a JSON object")]
    MalformedPayload,
    /// 401
    #[error("the API key is missing or wrong; send it as x-api-key")]
    BadApiKey,
    /// 403
    #[error("this endpoint is closed; start the producer with --ingest-api-key to open it")]
    IngestClosed,
    /// 403
    #[error(
        "this source sends no batches; set batches = true for it in sources.toml, or post each event to the source's own URL"
    )]
    BatchesOff,
    /// 404
    #[error("there is no source of this name; check the URL")]
    UnknownSource,
    /// 404
    #[error("no such path; see /docs")]
    NotFound,
    /// 405
    #[error("this method is not allowed here; see /docs")]
    MethodNotAllowed,
    /// 408; the connection closes
    #[error("the body did not arrive in time; send the request again")]
    BodyTimeout,
    /// 408; the connection closes
    #[error("the body arrived too slowly; send the request again, faster")]
    BodyTooSlow,
    /// 413
    #[error("the body must have at most {0} bytes")]
    BodyTooLarge(usize),
    /// 413
    #[error("an event of the batch must have at most {0} bytes")]
    EventTooLarge(usize),
    /// 415
    #[error("this source takes no such content-encoding; send the body as it was signed")]
    UnsupportedEncoding,
    /// 429
    #[error("over the source's quota; send it again after Retry-After")]
    OverQuota {
        /// Seconds to wait
        retry_after_seconds: u64,
    },
    /// 429
    #[error(
        "more requests that cannot be verified than this source takes; sign with a current secret and the present time, or send it again after Retry-After"
    )]
    OverUnprovenQuota {
        /// Seconds to wait
        retry_after_seconds: u64,
    },
    /// 429
    #[error(
        "this body was accepted so often already that it is a replay; an event that is accepted need not be sent again"
    )]
    RepeatedTooOften {
        /// Seconds to wait
        retry_after_seconds: u64,
    },
    /// 429
    #[error(
        "too many failed verifications; check how you sign, then send it again after Retry-After"
    )]
    TooManyFailures {
        /// Seconds to wait
        retry_after_seconds: u64,
    },
    /// 429; the connection closes
    #[error(
        "requests from this address hold their share of the memory for bodies; send it again after Retry-After"
    )]
    PeerOverShare,
    /// 503; the connection closes
    #[error("no memory for another body; send it again after Retry-After")]
    BodyBudgetFull,
    /// 503
    #[error("too many requests in flight; send it again after Retry-After")]
    Overloaded,
    /// 503
    #[error("this server is shutting down; send it again after Retry-After")]
    Draining,
    /// 503, or 413 when the broker finds the record too large
    #[error("not accepted by the broker after {waited:?}: {error}")]
    Publish {
        /// Why not
        error: PublishError,
        /// From hand-over to the Kafka client to the failure
        waited: Duration,
    },
}

/// Refused at once.
impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let waited = Duration::ZERO;
        Self::Publish { error, waited }
    }
}

impl ApiError {
    /// Stable code: the problem document's `code` and the metric label.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature(error) => error.code(),
            Self::EmptyBody => "empty_body",
            Self::BrokenBody => "broken_body",
            Self::AmbiguousLength => "ambiguous_length",
            Self::MalformedBatch(_) => "malformed_batch",
            Self::MalformedGzip => "malformed_gzip",
            Self::NoHandshake => "no_handshake",
            Self::SignedAsBatch => "signed_as_batch",
            Self::TooManyEvents(_) => "too_many_events",
            Self::MalformedPayload => "malformed_payload",
            Self::BadApiKey => "bad_api_key",
            Self::IngestClosed => "ingest_closed",
            Self::BatchesOff => "batches_off",
            Self::UnknownSource => "unknown_source",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::EventTooLarge(_) => "event_too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::OverQuota { .. } => "over_quota",
            Self::OverUnprovenQuota { .. } => "over_unproven_quota",
            Self::RepeatedTooOften { .. } => "repeated_too_often",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::PeerOverShare => "peer_over_share",
            Self::BodyBudgetFull => "body_budget_full",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Publish { error, .. } => error.code(),
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Signature(error) if error.is_malformed() => StatusCode::BAD_REQUEST,
            Self::Signature(_) | Self::BadApiKey => StatusCode::UNAUTHORIZED,
            Self::EmptyBody
            | Self::BrokenBody
            | Self::AmbiguousLength
            | Self::MalformedBatch(_)
            | Self::MalformedGzip
            | Self::NoHandshake
            | Self::SignedAsBatch
            | Self::TooManyEvents(_)
            | Self::MalformedPayload => StatusCode::BAD_REQUEST,
            Self::IngestClosed | Self::BatchesOff => StatusCode::FORBIDDEN,
            Self::UnknownSource | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout | Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge(_)
            | Self::EventTooLarge(_)
            | Self::Publish {
                error: PublishError::TooLarge,
                ..
            } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OverQuota { .. }
            | Self::OverUnprovenQuota { .. }
            | Self::RepeatedTooOften { .. }
            | Self::TooManyFailures { .. }
            | Self::PeerOverShare => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyBudgetFull
            | Self::Overloaded
            | Self::Draining
            | Self::Publish {
                error:
                    PublishError::QueueFull
                    | PublishError::NotAcknowledged(_)
                    | PublishError::Refused(_),
                ..
            } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// For people, also strangers: what the broker answered is for us, not for the vendor.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Signature(error) => format!("{error}; {}", advice(*error)),
            Self::Publish { error, waited } => match error {
                PublishError::TooLarge => {
                    "the event is larger than the broker accepts; send a smaller one".to_owned()
                }
                PublishError::NotAcknowledged(_) => format!(
                    "not acknowledged within {:.1} s; send it again, a duplicate is harmless",
                    waited.as_secs_f64()
                ),
                PublishError::QueueFull => {
                    "too many events wait for their acknowledgement already; send it again after Retry-After".to_owned()
                }
                PublishError::Refused(_) => {
                    "this server may not publish at the moment; send it again after Retry-After".to_owned()
                }
            },
            other => other.to_string(),
        }
    }

    /// The problem document.
    #[must_use]
    pub fn problem(&self) -> serde_json::Value {
        let status = self.status();
        serde_json::json!({
            "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "code": self.code(), "detail": self.detail(),
        })
    }

    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::OverQuota {
                retry_after_seconds,
            }
            | Self::OverUnprovenQuota {
                retry_after_seconds,
            }
            | Self::RepeatedTooOften {
                retry_after_seconds,
            }
            | Self::TooManyFailures {
                retry_after_seconds,
            } => Some(*retry_after_seconds),
            Self::PeerOverShare
            | Self::BodyBudgetFull
            | Self::Overloaded
            | Self::Publish {
                error: PublishError::QueueFull,
                ..
            } => Some(1),
            Self::Draining
            | Self::Publish {
                error: PublishError::NotAcknowledged(_) | PublishError::Refused(_),
                ..
            } => Some(2),
            Self::Signature(_)
            | Self::EmptyBody
            | Self::BrokenBody
            | Self::AmbiguousLength
            | Self::MalformedBatch(_)
            | Self::MalformedGzip
            | Self::NoHandshake
            | Self::SignedAsBatch
            | Self::TooManyEvents(_)
            | Self::MalformedPayload
            | Self::BadApiKey
            | Self::IngestClosed
            | Self::BatchesOff
            | Self::UnknownSource
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::BodyTimeout
            | Self::BodyTooSlow
            | Self::BodyTooLarge(_)
            | Self::EventTooLarge(_)
            | Self::UnsupportedEncoding
            | Self::Publish {
                error: PublishError::TooLarge,
                ..
            } => None,
        }
    }
}

/// What a vendor whose request is not authentic does next.
fn advice(error: SignatureError) -> &'static str {
    match error {
        SignatureError::MissingHeader => "send every header that your scheme signs with",
        SignatureError::DuplicateHeader => "send it once",
        SignatureError::MalformedHeader => "write it as your scheme says",
        SignatureError::Mismatch => "sign the body as you send it, with a current secret",
        SignatureError::TooOld => "sign again with the present time",
        SignatureError::InFuture => "check your clock",
        SignatureError::SecretExpired => "sign with a current secret",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(
            self,
            Self::AmbiguousLength
                | Self::BodyTimeout
                | Self::BodyTooSlow
                | Self::BodyTooLarge(_)
                | Self::PeerOverShare
                | Self::BodyBudgetFull
                | Self::Draining
        ) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Answers a path that does not exist.
pub async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Answers another method on a path that exists.
pub async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}
