//! Events of one run: recognisable by their ids, of one cent, and of no real vendor.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Most events of the batch that share a payment: as many events as one trace shows, so that one query is enough for them.
const SIBLINGS: usize = 20;
/// Payments of a small batch, so that it goes to several partitions.
const PAYMENTS: usize = 4;

/// An event about to be sent.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) payment: String,
    pub(super) body: String,
}

/// One run of smoke.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
    began: OffsetDateTime,
}

impl Run {
    /// `smoke-20261121T144309-a1b2c3`: ids of a run are found together, sorted by time, and no two runs share one.
    pub(super) fn new() -> Self {
        let began = OffsetDateTime::now_utc();
        let (date, hour, minute, second) =
            (began.date(), began.hour(), began.minute(), began.second());
        let day = format!(
            "{:04}{:02}{:02}",
            date.year(),
            u8::from(date.month()),
            date.day()
        );
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            name: format!(
                "smoke-{day}T{hour:02}{minute:02}{second:02}-{}",
                &random[..6]
            ),
            began,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn began(&self) -> OffsetDateTime {
        self.began
    }

    pub(super) fn id(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// A sound one, of a payment of its own.
    pub(super) fn event(&self, what: &str) -> Event {
        self.make(self.id(what), self.id(what), true)
    }

    /// Authentic, and without a field its contract requires.
    pub(super) fn broken(&self, what: &str) -> Event {
        self.make(self.id(what), self.id(what), false)
    }

    /// A batch, the events of one payment behind each other.
    pub(super) fn batch(&self, events: usize) -> Vec<Event> {
        let siblings = events.div_ceil(PAYMENTS).clamp(1, SIBLINGS);
        let payment = |number: usize| self.id(&format!("batch-payment-{}", number / siblings + 1));
        (0..events)
            .map(|number| {
                self.make(
                    self.id(&format!("batch-{}", number + 1)),
                    payment(number),
                    true,
                )
            })
            .collect()
    }

    fn make(&self, id: String, payment: String, whole: bool) -> Event {
        let mut event = serde_json::json!({
            "event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1,
            "timestamp": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            "payload": {"payment_id": payment, "order_id": self.name, "amount": "0.01", "currency": "EUR"},
        });
        if whole {
            event["payload"]["provider_auth_id"] = self.name.as_str().into();
        }
        Event {
            id,
            payment,
            body: event.to_string(),
        }
    }
}

impl Event {
    /// The body with one byte changed: a hundred times the money.
    pub(super) fn tampered(&self) -> String {
        self.body.replacen("\"0.01\"", "\"1.01\"", 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::event::{Catalog, Envelope};

    #[test]
    fn events_are_sound_but_for_the_one_that_is_broken_on_purpose() {
        let (run, contracts) = (Run::new(), Catalog::builtin());
        for event in run.batch(3).into_iter().chain([run.event("accepted-1")]) {
            assert!(
                contracts
                    .validate(Envelope::own(event.body.as_bytes()).unwrap())
                    .is_ok(),
                "{event:?}"
            );
            assert!(
                contracts
                    .validate(Envelope::own(event.tampered().as_bytes()).unwrap())
                    .is_ok(),
                "only its signature is wrong"
            );
            let changed = event
                .body
                .bytes()
                .zip(event.tampered().bytes())
                .filter(|(was, is)| was != is)
                .count();
            assert_eq!((changed, event.body.len()), (1, event.tampered().len()));
        }
        let broken = run.broken("corrupted");
        let rejection = Envelope::own(broken.body.as_bytes())
            .and_then(|envelope| contracts.validate(envelope))
            .err();
        assert_eq!(
            rejection.map(|rejection| rejection.code.code()),
            Some("missing_field")
        );
        assert!(
            run.id("batch-1000").len() <= 40,
            "an id is shown whole in on-call's lists"
        );
        assert_ne!(Run::new().name(), run.name());
    }

    #[test]
    fn a_batch_goes_to_several_partitions_and_is_looked_up_by_few_payments() {
        let payments = |events: usize| {
            let batch = Run::new().batch(events);
            assert_eq!(batch.len(), events);
            batch
                .chunk_by(|one, next| one.payment == next.payment)
                .map(<[Event]>::len)
                .collect::<Vec<_>>()
        };
        assert_eq!(payments(20), [5, 5, 5, 5]);
        assert_eq!(
            (payments(1), payments(3), payments(7)),
            (vec![1], vec![1, 1, 1], vec![2, 2, 2, 1])
        );
        assert_eq!(
            (payments(1000).len(), payments(1000).iter().max()),
            (50, Some(&20))
        );
    }
}
