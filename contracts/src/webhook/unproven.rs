//! Webhooks that are accepted although their signature does not prove them, where their source says so. Only a person can let one through.
//!
//! The edge says so in the header `ef.unproven`, the validator dead-letters by it before it looks at the body, and recovery replays only what
//! the header's rule lets pass. That rule is here, once.

use super::signature::SignatureError;
use crate::kafka::headers as h;
use crate::{Rejection, RejectionCode};

/// What is not proven of a webhook that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unproven {
    /// Its signature matches, and its time is too long ago: a late retry, or a copy of what was sent before
    Stale,
    /// Nothing: its source is in onboarding, and anybody may have sent it
    Unverified,
}

impl Unproven {
    /// As in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Unverified => "unverified",
        }
    }

    fn parse(value: Option<&[u8]>) -> Self {
        match value {
            Some(b"stale") => Self::Stale,
            // Also what is not ours: it proves nothing.
            Some(_) | None => Self::Unverified,
        }
    }

    /// What the headers of a record say, `None` without that header. Of several the worst counts.
    pub fn of<'a>(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Option<Self> {
        let said = headers.into_iter().filter(|(name, _)| *name == h::UNPROVEN);
        said.map(|(_, value)| Self::parse(value)).max()
    }
}

/// Why a raw record, or a replay of one, may not go on to its contract. A replay of a stale one may: that a person started it says that it may
/// pass, since no policy does. A replay of an unverified one may when it names who says that it is genuine.
pub fn refused<'a>(
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    is_replay: bool,
) -> Option<Rejection> {
    let mut unproven: Option<Unproven> = None;
    let (mut error, mut genuine_by) = (None, None);
    for (name, value) in headers {
        match name {
            h::UNPROVEN => unproven = unproven.max(Some(Unproven::parse(value))),
            h::SIGNATURE_ERROR => error = value,
            h::GENUINE_BY => genuine_by = value,
            _ => {}
        }
    }
    let unproven = unproven?;
    let named = genuine_by.is_some_and(|who| !who.trim_ascii().is_empty());
    let why = error.map_or("no reason is given".into(), String::from_utf8_lossy);
    match unproven {
        Unproven::Stale if is_replay => None,
        Unproven::Unverified if is_replay && named => None,
        Unproven::Stale => Some(Rejection::new(
            RejectionCode::Stale,
            None,
            format!(
                "its signature matches, but it came outside its time window ({why:.40}): a late retry, or a copy of an older request; replay it to let it pass, or discard it"
            ),
        )),
        Unproven::Unverified => Some(Rejection::new(
            RejectionCode::Unverified,
            None,
            format!(
                "its source is in onboarding, and its signature was not verified ({why:.40}): anybody may have sent it; if the vendor did, say so with eventflow dlq genuine, then replay it"
            ),
        )),
    }
}

/// What a source does with webhooks that are not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// `stale = "quarantine"`: those that match and are too old are accepted
    pub quarantines_stale: bool,
    /// `mode = "onboarding"`: those that are not verified are accepted until this time, in Unix seconds
    pub onboarding_until: Option<i64>,
    /// How many of them a second, by each edge process, all senders together. One of more than 4 KiB counts as several
    pub unproven_per_second: u32,
}

/// Unproven webhooks accepted a second, unless the source sets another number: a vendor being switched on sends a few, and what strangers
/// could add in a day stays below 1.8 GB.
pub(crate) const DEFAULT_UNPROVEN_PER_SECOND: u32 = 5;

impl Trust {
    /// Whether the source is in onboarding at this time, in Unix seconds.
    #[must_use]
    pub fn is_onboarding(&self, now: i64) -> bool {
        self.onboarding_until.is_some_and(|until| now < until)
    }

    /// Whether it ever accepts what is not proven.
    #[must_use]
    pub fn accepts_unproven(&self) -> bool {
        self.quarantines_stale || self.onboarding_until.is_some()
    }

    /// As what a request that failed verification is accepted; `None` when it is refused.
    ///
    /// One from the future is refused where only stale ones are quarantined: no retry is early, and once its time has come it is accepted. In
    /// onboarding a wrong time may be a wrong unit, so it is taken as not verified.
    #[must_use]
    pub fn accepts(&self, error: SignatureError, now: i64) -> Option<Unproven> {
        let onboarding = self.is_onboarding(now);
        match error {
            SignatureError::TooOld => {
                (self.quarantines_stale || onboarding).then_some(Unproven::Stale)
            }
            SignatureError::MissingHeader
            | SignatureError::DuplicateHeader
            | SignatureError::MalformedHeader
            | SignatureError::Mismatch
            | SignatureError::InFuture
            | SignatureError::SecretExpired => onboarding.then_some(Unproven::Unverified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SignatureError as E;

    const STRICT: Trust = Trust {
        quarantines_stale: false,
        onboarding_until: None,
        unproven_per_second: 10,
    };

    #[test]
    fn only_what_its_source_says_is_accepted_and_onboarding_ends_by_itself() {
        let quarantine = Trust {
            quarantines_stale: true,
            ..STRICT
        };
        let onboarding = Trust {
            onboarding_until: Some(100),
            ..STRICT
        };
        let both = Trust {
            onboarding_until: Some(100),
            ..quarantine
        };
        let (stale, unverified) = (Some(Unproven::Stale), Some(Unproven::Unverified));
        for (trust, now, too_old, others) in [
            (STRICT, 99, None, None),
            (quarantine, 99, stale, None),
            (onboarding, 99, stale, unverified),
            (onboarding, 100, None, None),
            (both, 99, stale, unverified),
            (both, 100, stale, None),
        ] {
            assert_eq!(trust.accepts(E::TooOld, now), too_old, "{trust:?} at {now}");
            for error in [
                E::MissingHeader,
                E::DuplicateHeader,
                E::MalformedHeader,
                E::Mismatch,
                E::InFuture,
                E::SecretExpired,
            ] {
                assert_eq!(
                    trust.accepts(error, now),
                    others,
                    "{trust:?} at {now}: {error}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_proven_passes_only_as_a_replay_and_unverified_only_by_name() {
        type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];
        let said = |value: &'static [u8]| (h::UNPROVEN, Some(value));
        let genuine = |who: &'static [u8]| (h::GENUINE_BY, Some(who));
        let refused = |headers: Headers<'_>, is_replay: bool| {
            super::refused(headers.iter().copied(), is_replay).map(|refused| refused.code.code())
        };
        let (stale, unverified) = (Some("stale"), Some("unverified"));
        let cases: [(Headers<'_>, _, _); 9] = [
            (&[], None, None),
            (&[genuine(b"ann")], None, None),
            (&[said(b"stale")], stale, None),
            (&[said(b"unverified")], unverified, unverified),
            (&[said(b"unverified"), genuine(b"ann")], unverified, None),
            (
                &[said(b"unverified"), genuine(b" ")],
                unverified,
                unverified,
            ),
            // Not ours, or not one: nothing is proven.
            (&[said(b"Stale")], unverified, unverified),
            (&[(h::UNPROVEN, None)], unverified, unverified),
            (
                &[said(b"stale"), said(b"unverified")],
                unverified,
                unverified,
            ),
        ];
        for (headers, first, replayed) in cases {
            assert_eq!(refused(headers, false), first, "{headers:?}");
            assert_eq!(refused(headers, true), replayed, "{headers:?}");
        }
    }
}
