//! When: the timestamp.

use super::{Found, Mistake, Trials, certain, likely};
use crate::webhook::scheme::TimestampFormat;
use http::HeaderName;

/// Longest time that is no clock's fault but a unit's: ten years.
const UNIT_SECONDS: i64 = 10 * 365 * 86_400;

impl Trials<'_> {
    /// The signature fits, and the time does not.
    pub(in crate::webhook::diagnose) fn skew(&mut self) -> Option<Found> {
        let presented = self.source.verifier.precheck(self.evidence.headers);
        let at = presented.ok()?.timestamp()?;
        let skew = at.saturating_sub(self.evidence.received_at);
        if skew.abs() > UNIT_SECONDS {
            return certain(
                Mistake::TimeUnit,
                format!("the timestamp reads as {at} seconds since 1970: is it another unit?"),
            );
        }
        let (amount, side) = (
            skew.unsigned_abs(),
            if skew < 0 { "behind" } else { "ahead of" },
        );
        let window = self.scheme().freshness.map_or(0, |window| {
            if skew < 0 {
                window.past_seconds
            } else {
                window.future_seconds
            }
        });
        certain(
            Mistake::ClockSkew,
            format!(
                "the signed time is {amount} s {side} the time of receipt; {window} s are allowed"
            ),
        )
    }

    pub(super) fn time_unit(&mut self) -> Option<Found> {
        let scheme = self.scheme();
        if scheme.timestamp_header.0.is_empty()
            && scheme.timestamp_prefix.is_none()
            && scheme.timestamp_pointer.is_none()
        {
            return None;
        }
        let formats = [
            (TimestampFormat::UnixSeconds, "seconds since 1970"),
            (TimestampFormat::UnixMillis, "milliseconds since 1970"),
            (TimestampFormat::Rfc3339, "RFC 3339"),
        ];
        let mut by_shape = None;
        for (format, words) in formats {
            if format == scheme.timestamp_format {
                continue;
            }
            let mut changed = scheme.clone();
            changed.timestamp_format = format;
            let Some(verifier) = self.with_scheme(changed) else {
                continue;
            };
            let own = self.source.verifier.precheck(self.evidence.headers).is_ok();
            if !own && verifier.precheck(self.evidence.headers).is_ok() {
                by_shape = Some(words);
            }
            if !own && self.fits_as_sent(&verifier) {
                return certain(
                    Mistake::TimeUnit,
                    format!("the timestamp is written as {words}"),
                );
            }
        }
        let words = by_shape?;
        if let Some(found) = self.signed_in_seconds() {
            return Some(found);
        }
        match self.evidence.body {
            Some(_) => None,
            None => likely(
                Mistake::TimeUnit,
                format!("the timestamp is written as {words}"),
            ),
        }
    }

    /// Milliseconds are sent, seconds are signed.
    fn signed_in_seconds(&mut self) -> Option<Found> {
        let name: HeaderName = self.scheme().timestamp_header.0.first()?.parse().ok()?;
        let millis: i64 = self.value(&name)?.parse().ok()?;
        let headers = self.with_header(&name, &(millis / 1000).to_string())?;
        let body = self.evidence.body?;
        let source = self.source;
        if self.fits(&source.verifier, &headers, body) {
            return certain(
                Mistake::TimeUnit,
                "seconds are signed, and milliseconds are sent",
            );
        }
        None
    }
}
