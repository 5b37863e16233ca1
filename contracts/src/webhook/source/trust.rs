//! The fields that say what a source does with webhooks that are not proven.

use super::fields::{at_least_one, optional, unix_seconds};
use crate::webhook::unproven::{DEFAULT_UNPROVEN_PER_SECOND, Trust};
use toml::{Table, Value};

/// `stale`, `mode`, `onboarding_until` and `unproven_per_second`; `has_freshness` says whether the scheme has a time window.
pub(super) fn parse_trust(table: &mut Table, has_freshness: bool) -> Result<Trust, String> {
    let quarantines_stale = one_of(table, "stale", ["refuse", "quarantine"])?;
    if quarantines_stale && !has_freshness {
        return Err(
            "stale: this scheme has no freshness rule, so nothing is stale; remove it".to_owned(),
        );
    }
    let onboards = one_of(table, "mode", ["enforce", "onboarding"])?;
    let until = match table.remove("onboarding_until") {
        None => None,
        Some(value) => Some(onboarding_until(&value)?),
    };
    match (onboards, until) {
        (true, None) => {
            return Err(
                "onboarding_until: in onboarding anybody's request is accepted, so say when it ends, as 2030-01-01T00:00:00Z".to_owned(),
            );
        }
        (false, Some(_)) => {
            return Err(
                "onboarding_until: this source is not in onboarding; remove it, or set mode = \"onboarding\"".to_owned(),
            );
        }
        (true, Some(_)) | (false, None) => {}
    }
    let rate = at_least_one(table, "unproven_per_second")?;
    let trust = Trust {
        quarantines_stale,
        onboarding_until: until,
        unproven_per_second: rate.unwrap_or(DEFAULT_UNPROVEN_PER_SECOND),
    };
    if rate.is_some() && !trust.accepts_unproven() {
        return Err(
            "unproven_per_second: this source accepts nothing unproven; remove it, or set stale = \"quarantine\"".to_owned(),
        );
    }
    Ok(trust)
}

fn onboarding_until(value: &Value) -> Result<i64, String> {
    unix_seconds(value).ok_or_else(|| {
        "onboarding_until: write a time with its zone, as 2030-01-01T00:00:00Z".to_owned()
    })
}

/// Whether a field has the second of its two words; the first is the default.
fn one_of(table: &mut Table, field: &str, [no, yes]: [&str; 2]) -> Result<bool, String> {
    match optional::<String>(table, field)?.as_deref() {
        None => Ok(false),
        Some(word) if word == no => Ok(false),
        Some(word) if word == yes => Ok(true),
        Some(_) => Err(format!("{field}: must be {no:?} or {yes:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, has_freshness: bool) -> Result<Trust, String> {
        let mut table = toml::from_str(text).unwrap();
        let trust = parse_trust(&mut table, has_freshness)?;
        assert!(table.is_empty(), "{table:?}");
        Ok(trust)
    }

    #[test]
    fn strict_unless_it_says_so() {
        let strict = parse("", true).unwrap();
        assert!(!strict.accepts_unproven());
        assert_eq!(
            parse("stale = \"refuse\"\nmode = \"enforce\"", false),
            Ok(strict)
        );
        let onboarding = "mode = \"onboarding\"\nonboarding_until = 1970-01-01T00:01:40Z";
        let trust = parse(&format!("{onboarding}\nunproven_per_second = 3"), false).unwrap();
        assert_eq!(
            (trust.onboarding_until, trust.unproven_per_second),
            (Some(100), 3)
        );
        assert!(
            parse("stale = \"quarantine\"", true)
                .unwrap()
                .quarantines_stale
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, has_freshness, says) in [
            ("stale = \"accept\"", true, "stale: must be \"refuse\" or"),
            ("stale = \"quarantine\"", false, "stale: this scheme has no"),
            ("mode = \"test\"", true, "mode: must be \"enforce\" or"),
            (
                "mode = \"onboarding\"",
                true,
                "onboarding_until: in onboarding",
            ),
            (
                "onboarding_until = 2030-01-01T00:00:00Z",
                true,
                "onboarding_until: this source is not",
            ),
            (
                "mode = \"onboarding\"\nonboarding_until = \"soon\"",
                true,
                "onboarding_until: write a time",
            ),
            (
                "mode = \"onboarding\"\nonboarding_until = 2030-01-01T00:00:00Z\nunproven_per_second = 0",
                true,
                "unproven_per_second: must be at least 1",
            ),
            (
                "unproven_per_second = 5",
                true,
                "unproven_per_second: this source",
            ),
        ] {
            let problem = parse(text, has_freshness).unwrap_err();
            assert!(problem.starts_with(says), "{text}: {problem}");
        }
    }
}
