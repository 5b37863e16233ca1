//! Replays: the retry topic of a consuming group, and how often a record may come back by it.

use crate::config::{ConfigError, check_topic};
use crate::record::Record;
use contracts::kafka::headers::{RAW, REPLAY_COUNT};
use contracts::{Rejection, RejectionCode};

/// Flags of replays. Only for stages that dead-letter: nothing is replayed to the others.
#[derive(Debug, Clone, clap::Args)]
pub struct RetryArgs {
    /// Retry topic of this consumer group, read in addition to the input topic [default: events.retry.<group>.v1]
    #[arg(long, env = "EVENTFLOW_TOPIC_RETRY")]
    pub topic_retry: Option<String>,
    /// How often a record may be replayed; one that is replayed more often is dead-lettered as replays_exhausted
    #[arg(long, env = "EVENTFLOW_MAX_REPLAYS", default_value_t = 5)]
    pub max_replays: u32,
}

/// The retry topic of one group.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Its name
    pub topic: String,
    /// A record replayed more often is not handled again
    pub max_replays: u32,
}

impl RetryArgs {
    /// The retry topic of `group`: the flag's, else `events.retry.<group>.v1`.
    #[must_use]
    pub fn of(&self, group: &str) -> Retry {
        let topic = self
            .topic_retry
            .clone()
            .unwrap_or_else(|| contracts::kafka::topics::retry(group));
        Retry {
            topic,
            max_replays: self.max_replays,
        }
    }

    /// Refuses a retry topic that cannot work; `others` are the topics the stage reads and writes, by setting.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self, group: &str, others: &[(&str, &str)]) -> Result<(), ConfigError> {
        const SETTING: &str = "--topic-retry";
        let topic = self.of(group).topic;
        if self.topic_retry.is_none() && check_topic(SETTING, &topic).is_err() {
            return Err(ConfigError::new(
                SETTING,
                format!("{topic}, the default for this group, is not a topic name; give another"),
            ));
        }
        check_topic(SETTING, &topic)?;
        match others.iter().find(|(_, other)| *other == topic) {
            None => Ok(()),
            Some((setting, _)) => Err(ConfigError::new(
                SETTING,
                format!("{topic} is also {setting}; replays need a topic of their own"),
            )),
        }
    }
}

impl Record<'_> {
    /// Why a record is not handled: every stage asks this before anything else. Nobody can say which raw record it was made from, so that
    /// it has no fate to give; or it is a replay that came too often.
    ///
    /// Of replays, the highest of several counts is taken, and one that is no number is as good as exhausted: whoever replays the record next could
    /// not raise it, so it would come back for ever. No count at all is a record someone put there by hand; the next replay counts from 0.
    #[must_use]
    pub fn refused(&self) -> Option<Rejection> {
        if self.raw().is_none() {
            let detail = format!(
                "its {RAW} header is missing or names no raw record: it is no event of this pipeline; find who wrote it, and discard it"
            );
            return Some(Rejection::new(RejectionCode::NoRawRecord, None, detail));
        }
        let limit = self.replay_limit()?;
        let mut count = 0;
        for (_, value) in self.headers().filter(|(name, _)| *name == REPLAY_COUNT) {
            let text = String::from_utf8_lossy(value.unwrap_or_default());
            match text.parse::<u32>() {
                Ok(number) => count = count.max(number),
                Err(_) => {
                    return Some(exhausted(format!(
                        "its {REPLAY_COUNT} is not a count ({text:.40}): discard it"
                    )));
                }
            }
        }
        (count > limit).then(|| {
            exhausted(format!("replayed {count} times, and at most {limit} are allowed: raise --max-replays and replay it, or discard it"))
        })
    }
}

impl Record<'_> {
    /// Why a raw record that its edge could not prove, or a replay of one, is not looked at. Only the stage that reads raw records asks: what it
    /// passes on has passed.
    #[must_use]
    pub fn unproven(&self) -> Option<Rejection> {
        contracts::webhook::unproven::refused(self.headers(), self.is_replay())
    }
}

fn exhausted(detail: String) -> Rejection {
    Rejection::new(RejectionCode::ReplaysExhausted, None, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_refused_when_it_came_too_often_or_nobody_can_count_it() {
        let cases: [(&[&str], Option<&str>); 10] = [
            (&[], None),
            (&["0"], None),
            (&["5"], None),
            (
                &["6"],
                Some("replayed 6 times, and at most 5 are allowed: raise --max-replays"),
            ),
            (&["1", "6"], Some("replayed 6 times")),
            (&["6", "1"], Some("replayed 6 times")),
            (&[""], Some("not a count")),
            (&["-1"], Some("not a count")),
            (&["1", "many"], Some("not a count (many)")),
            (&["4294967296"], Some("not a count")),
        ];
        for (counts, expected) in cases {
            let counts_of = counts
                .iter()
                .map(|count| (REPLAY_COUNT, Some(count.as_bytes())));
            let headers: Vec<_> = std::iter::once((RAW, Some(&b"1:2"[..])))
                .chain(counts_of)
                .collect();
            let record = Record::new("t", 0, 0, 0, None, None, &headers);
            assert_eq!(
                record.refused(),
                None,
                "not of a retry topic: counts are not checked"
            );
            let refused = record.as_replay(5).refused();
            assert_eq!(
                refused.is_some(),
                expected.is_some(),
                "{counts:?}: {refused:?}"
            );
            if let (Some(refused), Some(words)) = (refused, expected) {
                assert!(
                    refused.code == RejectionCode::ReplaysExhausted
                        && refused.detail.contains(words),
                    "{refused}"
                );
            }
        }
        assert!(
            Record::new(
                "t",
                0,
                0,
                0,
                None,
                None,
                &[(RAW, Some(b"1:2")), (REPLAY_COUNT, Some(b"1"))]
            )
            .as_replay(0)
            .refused()
            .is_some()
        );
    }

    #[test]
    fn only_a_record_of_the_raw_topic_stands_for_itself() {
        let id = "pWt5kqO-QF6tq_Yk0xyzAA";
        for headers in [
            &[][..],
            &[(RAW, Some(&b"here"[..]))],
            &[(RAW, Some(&b"3:4:"[..]))],
        ] {
            let record = Record::new("t", 3, 4, 0, None, None, headers);
            for record in [record, record.as_replay(5)] {
                let refused = record.refused().map(|refused| refused.code);
                assert_eq!(refused, Some(RejectionCode::NoRawRecord), "{headers:?}");
                assert_eq!(record.raw(), None);
            }
        }
        let raw = Record::new("t", 3, 4, 0, None, None, &[]).as_raw(Some(id));
        assert_eq!(raw.refused(), None);
        assert_eq!(raw.raw().unwrap().to_string(), format!("3:4:{id}"));
        let made = [(RAW, Some(&b"7:8"[..]))];
        let made = Record::new("t", 3, 4, 0, None, None, &made);
        assert_eq!(made.raw().unwrap().to_string(), "7:8");
    }
}
