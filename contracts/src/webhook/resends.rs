//! How a vendor sends again what was not answered 2xx: data of its preset, for what plays a vendor.

use serde::Deserialize;
use std::time::Duration;

/// The waits of a vendor that states none: the example of the Standard Webhooks specification.
const DEFAULT: [&str; 9] = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"];

/// When and how a vendor sends again. A resend has the id and the body of the first attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resends {
    /// The wait before each further attempt, from the failure of the one before; none for a vendor that never sends again
    pub after: Vec<Duration>,
    /// The time that a resend is signed with
    pub timestamp: Stamp,
    /// The vendor's page; `None` where it states nothing and the default stands
    pub rule: Option<String>,
}

/// The time that a resend is signed with.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Stamp {
    /// Signed again, with the present time
    #[default]
    Fresh,
    /// As it was signed first
    First,
}

/// `[resends]` of a preset.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    after: Option<Vec<String>>,
    #[serde(default)]
    timestamp: Stamp,
    rule: Option<String>,
}

impl Default for Resends {
    fn default() -> Self {
        Self {
            after: DEFAULT.iter().filter_map(|text| duration(text)).collect(),
            timestamp: Stamp::Fresh,
            rule: None,
        }
    }
}

impl Resends {
    /// Reads `[resends]`.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub(crate) fn parse(table: toml::Table) -> Result<Self, String> {
        let written: Written = table
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        let parse = |text: &String| {
            duration(text).ok_or_else(|| format!("after: {text:?} is not as 30s, 5m or 2h"))
        };
        let after = match &written.after {
            None => Self::default().after,
            Some(after) => after.iter().map(parse).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            after,
            timestamp: written.timestamp,
            rule: written.rule,
        })
    }

    /// In words, for people.
    #[must_use]
    pub fn words(&self) -> String {
        if self.after.is_empty() {
            return "never".to_owned();
        }
        let waits: Vec<_> = self.after.iter().map(|wait| written(*wait)).collect();
        waits.join(", ")
    }
}

/// `30s`, `5m`, `2h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

fn written(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => {
            format!("{} h", seconds / 3600)
        }
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Resends, String> {
        Resends::parse(toml::from_str(text).unwrap())
    }

    #[test]
    fn a_schedule_is_read_as_it_is_written() {
        let slack =
            parse("after = [\"0s\", \"1m\", \"5m\"]\nrule = \"https://example.com\"").unwrap();
        assert_eq!(slack.after, [0, 60, 300].map(Duration::from_secs));
        assert_eq!(slack.words(), "0 s, 1 min, 5 min");
        assert_eq!(slack.timestamp, Stamp::Fresh);
        let never = parse("after = []").unwrap();
        assert_eq!((never.after.len(), never.words().as_str()), (0, "never"));
        let first = parse("timestamp = \"first\"").unwrap();
        assert_eq!(first.timestamp, Stamp::First);
        assert_eq!(first.after, Resends::default().after);
        assert_eq!(Resends::default().after.len(), DEFAULT.len());
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "after = [\"5\"]",
            "after = [\"5d\"]",
            "after = [\"s\"]",
            "after = [\"\"]",
            "times = 3",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
