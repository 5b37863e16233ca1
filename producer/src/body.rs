//! A request's body, within its limits.

use crate::Edge;
use crate::error::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The whole body, or why not.
pub(crate) async fn read_body(edge: &Edge, body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let collected =
        tokio::time::timeout(edge.body_timeout, Limited::new(body, limit).collect()).await;
    let body = match collected {
        Err(_) => return Err(ApiError::BodyTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(ApiError::BodyTooLarge(limit));
        }
        Ok(Err(_)) => return Err(ApiError::BrokenBody),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    if body.is_empty() {
        Err(ApiError::EmptyBody)
    } else {
        Ok(body)
    }
}
