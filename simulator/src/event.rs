//! Events as the provider sends them, and the faults it sends them with.

use fastrand::Rng;
use std::fmt;
use std::str::FromStr;

/// Type of the events that are built.
pub const EVENT_TYPE: &str = "payment.authorized.v1";

/// A payment to announce.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Payment id
    pub payment_id: String,
    /// Order id
    pub order_id: String,
    /// Decimal text, taken digit for digit
    pub amount: String,
    /// ISO 4217
    pub currency: String,
}

/// A body about to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Event id
    pub id: String,
    /// Bytes that are signed and posted
    pub body: Vec<u8>,
}

/// What the provider gets wrong. The first four are the original's corruptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// No provider_auth_id: dead-lettered
    MissingProviderAuthId,
    /// Amount -1: dead-lettered
    NegativeAmount,
    /// Empty order id: dead-lettered
    BlankOrderId,
    /// Currency in lower case: dead-lettered
    CurrencyLowercase,
    /// The same event delivered twice: stored once, a duplicate
    Duplicate,
    /// Signed with the wrong secret: refused
    BadSignature,
    /// Signed ten minutes ago: refused
    StaleTimestamp,
    /// Signed ten minutes ahead: refused
    FutureTimestamp,
    /// Authentic, but not JSON: dead-lettered
    NotJson,
    /// Authentic, but cut off: dead-lettered
    TruncatedBody,
    /// A stored event's id with another amount: a conflict, dead-lettered
    Conflicting,
    /// Delivered after a pause, so after later events: stored
    Delayed,
    /// Two events delivered in the wrong order: stored
    Reordered,
    /// The body trickles in: stored
    SlowBody,
    /// Twenty events at once: stored
    Burst,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::MissingProviderAuthId,
        Self::NegativeAmount,
        Self::BlankOrderId,
        Self::CurrencyLowercase,
        Self::Duplicate,
        Self::BadSignature,
        Self::StaleTimestamp,
        Self::FutureTimestamp,
        Self::NotJson,
        Self::TruncatedBody,
        Self::Conflicting,
        Self::Delayed,
        Self::Reordered,
        Self::SlowBody,
        Self::Burst,
    ];
    /// The original's.
    pub const CORRUPTIONS: [Self; 4] = [
        Self::MissingProviderAuthId,
        Self::NegativeAmount,
        Self::BlankOrderId,
        Self::CurrencyLowercase,
    ];

    /// Stable name: metric label, journal, flag.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingProviderAuthId => "missing_provider_auth_id",
            Self::NegativeAmount => "negative_amount",
            Self::BlankOrderId => "blank_order_id",
            Self::CurrencyLowercase => "currency_lowercase",
            Self::Duplicate => "duplicate",
            Self::BadSignature => "bad_signature",
            Self::StaleTimestamp => "stale_timestamp",
            Self::FutureTimestamp => "future_timestamp",
            Self::NotJson => "not_json",
            Self::TruncatedBody => "truncated_body",
            Self::Conflicting => "conflicting",
            Self::Delayed => "delayed",
            Self::Reordered => "reordered",
            Self::SlowBody => "slow_body",
            Self::Burst => "burst",
        }
    }

    /// The fate it must have. Of the two deliveries of `duplicate` and `conflicting` it is the second one's.
    #[must_use]
    pub fn expected(self) -> Expected {
        match self {
            Self::MissingProviderAuthId => Expected::DeadLettered("missing_field"),
            Self::NegativeAmount => Expected::DeadLettered("amount_not_positive"),
            Self::BlankOrderId => Expected::DeadLettered("blank_field"),
            Self::CurrencyLowercase => Expected::DeadLettered("unknown_currency"),
            Self::NotJson | Self::TruncatedBody => Expected::DeadLettered("not_json"),
            Self::Conflicting => Expected::DeadLettered("conflict"),
            Self::Duplicate => Expected::Duplicate,
            Self::BadSignature => Expected::Refused("signature_mismatch"),
            Self::StaleTimestamp => Expected::Refused("timestamp_too_old"),
            Self::FutureTimestamp => Expected::Refused("timestamp_in_future"),
            Self::Delayed | Self::Reordered | Self::SlowBody | Self::Burst => Expected::Stored,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fate a delivery must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Accepted, and a row
    Stored,
    /// Accepted, and found to be stored already
    Duplicate,
    /// Accepted, and dead-lettered with this code
    DeadLettered(&'static str),
    /// Refused by the edge with this code: it has no fate
    Refused(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("stored"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::DeadLettered(code) => write!(f, "dead_lettered {code}"),
            Self::Refused(code) => write!(f, "refused {code}"),
        }
    }
}

/// A fault and how often: `stale_timestamp=0.02`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The fault
    pub fault: Fault,
    /// Share of events, 0 to 1
    pub share: f64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, share) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not fault=share"))?;
        let known = || Fault::ALL.map(Fault::name).join(", ");
        let fault = Fault::ALL
            .into_iter()
            .find(|fault| fault.name() == name)
            .ok_or_else(|| format!("unknown fault {name:?}; known are {}", known()))?;
        let share: f64 = share
            .parse()
            .map_err(|_| format!("{share:?} is not a number"))?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self { fault, share })
        } else {
            Err(format!("{share} is not between 0 and 1"))
        }
    }
}

/// A version 7 UUID of that time, its random part from a seeded generator. The time keeps a run that is repeated against the same
/// database from sending the ids of the last one with other content.
#[must_use]
pub fn uuid(now_micros: i64, rng: &mut Rng) -> uuid::Uuid {
    let mut random = [0; 10];
    rng.fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(
        u64::try_from(now_micros / 1000).unwrap_or(0),
        &random,
    )
    .into_uuid()
}

/// Builds the event of a payment, with a corruption if one is given. `now_micros` is its time.
pub fn build(payment: &Payment, fault: Option<Fault>, now_micros: i64, rng: &mut Rng) -> Event {
    let id = uuid(now_micros, rng).to_string();
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_micros) * 1000)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let timestamp = time
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default();
    let auth = format!("auth_{:012x}", rng.u64(..) & 0xffff_ffff_ffff);
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let amount = if fault == Some(Fault::NegativeAmount) {
        "-1"
    } else {
        &payment.amount
    };
    let order = if fault == Some(Fault::BlankOrderId) {
        ""
    } else {
        &payment.order_id
    };
    let lower = payment.currency.to_lowercase();
    let currency = if fault == Some(Fault::CurrencyLowercase) {
        &lower
    } else {
        &payment.currency
    };
    let auth_field = if fault == Some(Fault::MissingProviderAuthId) {
        String::new()
    } else {
        format!(r#","provider_auth_id":"{auth}""#)
    };
    // The amount is written as given: a float would not survive its own digits. What is no JSON number (007) goes as a string.
    let amount = if serde_json::from_str::<serde_json::Number>(amount).is_ok() {
        amount.to_owned()
    } else {
        text(amount)
    };
    let mut body = format!(
        r#"{{"event_id":"{id}","event_type":"{EVENT_TYPE}","schema_version":1,"timestamp":"{timestamp}","payload":{{"payment_id":{},"order_id":{},"amount":{amount},"currency":{}{auth_field}}}}}"#,
        text(&payment.payment_id),
        text(order),
        text(currency),
    )
    .into_bytes();
    match fault {
        Some(Fault::NotJson) => body = format!("event {id} payment authorized").into_bytes(),
        Some(Fault::TruncatedBody) => body.truncate(body.len() * 2 / 3),
        _ => {}
    }
    Event { id, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::event::{Catalog, Envelope};

    fn payment() -> Payment {
        Payment {
            payment_id: "p".to_owned(),
            order_id: "o".to_owned(),
            amount: "12345678901.23".to_owned(),
            currency: "EUR".to_owned(),
        }
    }

    #[test]
    fn each_corruption_breaks_the_rule_it_names_and_nothing_else_does() {
        let contracts = Catalog::builtin();
        for fault in Fault::ALL {
            let event = build(
                &payment(),
                Some(fault),
                1_700_000_000_000_000,
                &mut Rng::with_seed(1),
            );
            let code = Envelope::own(&event.body)
                .and_then(|envelope| contracts.validate(envelope))
                .err()
                .map(|rejection| rejection.code.code());
            match fault.expected() {
                // A conflict is one of two events, each of them valid.
                Expected::DeadLettered(expected) if fault != Fault::Conflicting => {
                    assert_eq!(code, Some(expected), "{fault}");
                }
                _ => assert_eq!(code, None, "{fault}"),
            }
        }
        for amount in ["49.90", "007", "1e2"] {
            let payment = Payment {
                amount: amount.to_owned(),
                ..payment()
            };
            let event = build(
                &payment,
                None,
                1_700_000_000_000_000,
                &mut Rng::with_seed(1),
            );
            assert!(
                contracts
                    .validate(Envelope::own(&event.body).unwrap())
                    .is_ok(),
                "{amount}"
            );
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_events() {
        let make = |seed| build(&payment(), None, 1, &mut Rng::with_seed(seed)).body;
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
        let id = |now| uuid(now, &mut Rng::with_seed(7));
        assert_eq!(id(1_700_000_000_000_000).get_version_num(), 7);
        assert_ne!(
            id(1_700_000_000_000_000),
            id(1_700_000_001_000_000),
            "a later run has ids of its own"
        );
        assert_eq!(
            "burst=0.5".parse(),
            Ok(Rate {
                fault: Fault::Burst,
                share: 0.5
            })
        );
        assert!(
            "burst=2".parse::<Rate>().is_err()
                && "burts=0".parse::<Rate>().unwrap_err().contains("burst")
        );
    }
}
