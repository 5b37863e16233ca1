//! Where the envelope of one event is written, for what makes events of an example: the same places that reading finds it at.

use super::{HeaderValues, Mapping, Time, TimeUnit};
use crate::webhook::draft::Place;
use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// The places of one event's envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Of its id: several, where it is joined
    pub id: Vec<Place>,
    /// Of its type
    pub event_type: Vec<Place>,
    /// Of what its events keep their order by
    pub entity: Vec<Place>,
    /// Of its time; `None` where it is the time of receipt
    pub time: Option<TimeWritten>,
}

/// The place of a time, and how it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeWritten {
    /// Where
    pub place: Place,
    /// Numbers since the epoch, so many a second; `None` is RFC 3339
    pub per_second: Option<u32>,
}

impl TimeWritten {
    /// The text of a time, in microseconds since the epoch.
    #[must_use]
    pub fn text(&self, micros: i64) -> String {
        match self.per_second {
            Some(per_second) => {
                let ticks = i128::from(micros) * i128::from(per_second) / 1_000_000;
                ticks.to_string()
            }
            None => {
                let millis = i128::from(micros.div_euclid(1000)) * 1_000_000;
                let time = OffsetDateTime::from_unix_timestamp_nanos(millis).ok();
                let text = time.and_then(|time| time.format(&Rfc3339).ok());
                text.unwrap_or_default()
            }
        }
    }
}

impl Mapping {
    /// Where the envelope of an event is written: the places that [`find`](Self::find) reads it from. What is not there has none.
    #[must_use]
    pub fn written<'a>(&self, headers: impl HeaderValues<'a> + Copy, body: &'a [u8]) -> Written {
        let time = self.time.iter().find_map(|one| match one {
            Time::Received => Some(None),
            Time::At { place, unit } => {
                let place = place.written_at(headers, body).into_iter().next()?;
                let per_second = match unit {
                    TimeUnit::Rfc3339 => None,
                    TimeUnit::Unix { per_second } => Some(*per_second),
                };
                Some(Some(TimeWritten { place, per_second }))
            }
        });
        Written {
            id: self.id.written_at(headers, body),
            event_type: self.event_type.written_at(headers, body),
            entity: self.entity.written_at(headers, body),
            time: time.flatten(),
        }
    }

    /// Reference tokens of the payload; none is the whole body.
    #[must_use]
    pub fn payload_path(&self) -> &[String] {
        self.payload.as_ref().map_or(&[], |payload| &payload.path)
    }

    /// The event type of a contract, as the vendor writes it; `None` where no event of this mapping has the contract.
    #[must_use]
    pub fn type_of_contract(&self, contract: &str) -> Option<String> {
        let [before, after] = self.contract.0.as_slice() else {
            return None;
        };
        let event_type = contract.strip_prefix(before.as_str())?;
        let event_type = event_type.strip_suffix(after.as_str())?;
        (!event_type.is_empty()).then(|| self.event_type.as_written(event_type))
    }
}
