//! Confluent's wire format: a zero byte, the schema id (big-endian), the datum.
//! Source: <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>

use crate::{Rejection, RejectionCode};

/// Appends the frame of a datum that follows.
pub fn frame(schema_id: i32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// The schema id and the datum.
///
/// # Errors
/// [`RejectionCode::BadFrame`]
pub fn unframe(value: &[u8]) -> Result<(i32, &[u8]), Rejection> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((i32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => Err(Rejection::new(
            RejectionCode::BadFrame,
            None,
            format!(
                "{} bytes that do not begin with a zero byte and a schema id",
                value.len()
            ),
        )),
    }
}
