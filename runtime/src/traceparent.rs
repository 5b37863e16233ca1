//! W3C trace context, version 00: taken from the request or created, and carried in every record's headers.
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>

/// The `traceparent` to carry: the given one if it is well formed, else a new sampled one.
#[must_use]
pub fn carry_or_make(given: Option<&[u8]>) -> String {
    match given
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .filter(|text| is_valid(text))
    {
        Some(text) => text.to_owned(),
        None => {
            // Unique, not secret; never all zeros.
            format!(
                "00-{:032x}-{:016x}-01",
                fastrand::u128(1..),
                fastrand::u64(1..)
            )
        }
    }
}

/// The 32 hex digits that name the trace, when `traceparent` is well formed.
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<&str> {
    is_valid(traceparent).then(|| &traceparent[3..35])
}

fn is_valid(text: &str) -> bool {
    let mut parts = text.split('-');
    let hex = |part: Option<&str>, length: usize| {
        part.is_some_and(|p| {
            p.len() == length
                && p.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let (version, trace, span, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
    hex(version, 2)
        && version != Some("ff")
        && hex(trace, 32)
        && trace.is_some_and(|t| t.bytes().any(|b| b != b'0'))
        && hex(span, 16)
        && span.is_some_and(|s| s.bytes().any(|b| b != b'0'))
        && hex(flags, 2)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_one_is_carried_and_a_bad_one_replaced() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(carry_or_make(Some(good.as_bytes())), good);
        assert_eq!(trace_id(good), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &good[..54],
            &good.to_uppercase(),
        ] {
            let made = carry_or_make(Some(bad.as_bytes()));
            assert_ne!(made, bad);
            assert!(is_valid(&made), "{made}");
        }
    }
}
