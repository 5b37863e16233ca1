//! Signed requests, built by patching a template: what differs between two events has a fixed width.

use super::{Items, Journal, Sent, Target};
use simulator::event::EVENT_TYPE;
use std::io::Write;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;

/// One event; the stand-ins below are overwritten. The hundreds of the amount are never 0, so that its width is fixed.
const EVENT: &str = r#"{"event_id":"IIIIIIII-IIII-IIII-IIII-IIIIIIIIIIII","event_type":"payment.authorized.v1","schema_version":1,"timestamp":"TTTT-TT-TTTTT:TT:TT.TTTT","payload":{"payment_id":"pay_PPPPPPPP-PPPP-PPPP-PPPP-PPPPPPPPPPPP","order_id":"ord_1","amount":AAA.AA,"currency":"EUR","provider_auth_id":"auth_1"}}"#;
const ID_BYTES: usize = 36;
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Builds the requests of one worker, all in the same two buffers.
pub(super) struct Payments {
    head: Vec<u8>,
    body: Vec<u8>,
    rng: fastrand::Rng,
    id_at: usize,
    payment_at: usize,
    time_at: usize,
    amount_at: usize,
    /// The request, ready to send
    pub(super) request: Vec<u8>,
    /// Ids of its events
    ids: Vec<Uuid>,
    /// The headers that sign it
    signed: Vec<(String, String)>,
}

impl Payments {
    pub(super) fn new(target: &Target) -> Self {
        let body = vec![EVENT; target.batch].join("\n").into_bytes();
        let kind = if target.batch > 1 {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n",
            target.path,
            target.host,
            body.len()
        );
        // Constant text: every stand-in is there.
        let at = |stand_in: &str| EVENT.find(stand_in).unwrap_or_default();
        Self {
            head: head.into_bytes(),
            body,
            rng: fastrand::Rng::new(),
            id_at: at("IIII"),
            payment_at: at("PPPP"),
            time_at: at("TTTT-"),
            amount_at: at("AAA."),
            request: Vec::new(),
            ids: Vec::with_capacity(target.batch),
            signed: Vec::new(),
        }
    }

    /// Signs a request of fresh events.
    pub(super) fn compose(&mut self, target: &Target) {
        let now = time::OffsetDateTime::now_utc();
        let micros = i64::try_from(now.unix_timestamp_nanos() / 1000).unwrap_or(0);
        let mut stamp = *b"1970-01-01T00:00:00.000Z";
        // Of fixed width, into an array of that width: it cannot fail.
        drop(now.format_into(&mut &mut stamp[..], TIME));
        self.ids.clear();
        for event in self.body.chunks_mut(EVENT.len() + 1) {
            let id = simulator::event::uuid(micros, &mut self.rng);
            id.hyphenated()
                .encode_lower(&mut event[self.id_at..self.id_at + ID_BYTES]);
            event.copy_within(self.id_at..self.id_at + ID_BYTES, self.payment_at);
            event[self.time_at..self.time_at + stamp.len()].copy_from_slice(&stamp);
            drop(write!(
                &mut event[self.amount_at..],
                "{}.{:02}",
                self.rng.u32(100..1000),
                self.rng.u32(0..100)
            ));
            self.ids.push(id);
        }
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        self.signed = target
            .verifier
            .sign(None, micros / 1_000_000, &self.body, 0);
        for (name, value) in &self.signed {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                self.request.extend_from_slice(part);
            }
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(&self.body);
    }

    /// Notes the last request; its number in the journal.
    pub(super) fn note(&self, journal: &Journal, target: &Target) -> u64 {
        let ids: Vec<String> = self.ids.iter().map(Uuid::to_string).collect();
        let events: Vec<_> = ids.iter().map(|id| (id.as_str(), EVENT_TYPE)).collect();
        journal.sent(&Sent {
            source: &target.source,
            url: &format!("http://{}{}", target.host, target.path),
            body: &self.body,
            headers: &self.signed,
            items: match target.batch {
                1 => Items::Body,
                _ => Items::Lines,
            },
            expect: "stored",
            events: &events,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Secret;
    use contracts::event::{Catalog, Envelope};
    use simulator::delivery::signer;

    #[test]
    fn every_event_is_sound_and_its_own() {
        let verifier = signer(Secret::new("s")).unwrap();
        let target = Target {
            address: "a:1".into(),
            host: "a:1".into(),
            path: "/w".into(),
            source: "w".into(),
            verifier,
            batch: 50,
            vendors: Vec::new().into(),
        };
        let mut composer = Payments::new(&target);
        let contracts = Catalog::builtin();
        let mut ids = std::collections::HashSet::new();
        for _ in 0..20 {
            composer.compose(&target);
            let text = String::from_utf8(composer.request.clone()).unwrap();
            let body = text.split_once("\r\n\r\n").unwrap().1;
            assert!(text.contains(&format!("content-length: {}\r\n", body.len())));
            for (line, id) in body.split('\n').zip(&composer.ids) {
                let event = contracts
                    .validate(Envelope::own(line.as_bytes()).unwrap())
                    .unwrap();
                assert_eq!(event.envelope().id, id.to_string());
                assert!(line.contains(&format!("pay_{id}")) && ids.insert(*id));
            }
        }
        assert_eq!(ids.len(), 1000);
    }
}
