//! What the API answers when it refuses: `application/problem+json` (RFC 9457) with a stable `code`.

use super::role::TokenRole;
use crate::error::RecoveryError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request was refused. Every variant is one answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiProblem {
    /// What the work itself refuses
    #[error(transparent)]
    Refused(#[from] RecoveryError),
    /// 503
    #[error(
        "no API token is configured: start the role with --api-token NAME:ROLE=env:VARIABLE, or give the command --database-url"
    )]
    NoTokensConfigured,
    /// 401
    #[error(
        "the bearer token is missing or wrong: send Authorization: Bearer TOKEN (eventflow: EVENTFLOW_RECOVERY_TOKEN or --token-file)"
    )]
    BadToken,
    /// 403
    #[error(
        "{who} has the role {has}, and this needs {needs}: ask somebody with that role, or whoever configures --api-token"
    )]
    RoleTooLow {
        /// Name of the token
        who: String,
        /// The role of its token
        has: TokenRole,
        /// What is needed
        needs: TokenRole,
    },
    /// 400
    #[error("this query has no parameter {word:?}; it has: {known}")]
    UnknownWord {
        /// As sent
        word: String,
        /// What could be sent
        known: String,
    },
    /// 400
    #[error("{word}: {problem}")]
    BadValue {
        /// Which word or field
        word: String,
        /// What it must be
        problem: String,
    },
    /// 400
    #[error("the body is not what this route takes: {0}; see /openapi.json")]
    BadBody(String),
    /// 400
    #[error(
        "send the header Idempotency-Key, 1 to 200 visible characters of your choice: the same key again gets the same answer"
    )]
    KeyRequired,
    /// 404
    #[error("there is no such path; see /openapi.json")]
    NoSuchRoute,
    /// 405
    #[error("this method is not allowed here; see /openapi.json")]
    MethodNotAllowed,
    /// 413
    #[error("the body is larger than {0} bytes; send it in parts")]
    BodyTooLarge(usize),
    /// 503
    #[error("too many requests in flight; try again")]
    Overloaded,
    /// 503
    #[error(
        "not done within {0} s; part of it may be done: check, then narrow the selection and try again"
    )]
    TooSlow(u64),
}

impl ApiProblem {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::NoTokensConfigured => "no_tokens_configured",
            Self::BadToken => "bad_token",
            Self::RoleTooLow { .. } => "role_too_low",
            Self::UnknownWord { .. } => "unknown_word",
            Self::BadValue { .. } => "bad_value",
            Self::BadBody(_) => "bad_body",
            Self::KeyRequired => "idempotency_key_required",
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::Overloaded => "overloaded",
            Self::TooSlow(_) => "too_slow",
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => {
                StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::RoleTooLow { .. } => StatusCode::FORBIDDEN,
            Self::UnknownWord { .. }
            | Self::BadValue { .. }
            | Self::BadBody(_)
            | Self::KeyRequired => StatusCode::BAD_REQUEST,
            Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoTokensConfigured | Self::Overloaded | Self::TooSlow(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The problem document. A value that is still broken also says which rule it breaks and where.
    #[must_use]
    pub fn problem(&self) -> serde_json::Value {
        let status = self.status();
        let mut problem = serde_json::json!({
            "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "code": self.code(),
            "detail": self.to_string(),
        });
        if let Self::Refused(RecoveryError::StillBroken(rejection)) = self {
            problem["rejection"] = serde_json::json!({
                "code": rejection.code.code(), "meaning": rejection.code.meaning(), "pointer": rejection.pointer, "detail": rejection.detail,
            });
        }
        problem
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if matches!(self, Self::BadToken) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(
            self,
            Self::Overloaded | Self::TooSlow(_) | Self::Refused(RecoveryError::Unavailable(_))
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
