//! Requests of vendors, in turn, each signed as its vendor signs.

use super::{Items, Journal, Sent, Target};
use anyhow::Context;
use simulator::vendor::Request;
use std::sync::Arc;

/// Builds the requests of one worker.
pub(super) struct Turns {
    turn: usize,
    rng: fastrand::Rng,
    request: Vec<u8>,
    signed: Option<Request>,
}

impl Turns {
    pub(super) fn new(target: &Target) -> Self {
        let mut rng = fastrand::Rng::new();
        Self {
            turn: rng.usize(0..target.vendors.len().max(1)),
            rng,
            request: Vec::new(),
            signed: None,
        }
    }

    /// Makes the next vendor's request, and counts its events.
    pub(super) fn compose(&mut self, target: &Target) -> anyhow::Result<u64> {
        let vendors = Arc::clone(&target.vendors);
        self.turn = (self.turn + 1) % vendors.len().max(1);
        let vendor = vendors.get(self.turn).context("there is no vendor")?;
        let signed = vendor.request(None, runtime::clock::now_micros(), &mut self.rng)?;
        let body = signed.body();
        let head = format!(
            "POST /api/webhooks/{} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            signed.source,
            target.host,
            body.len()
        );
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        for (name, value) in signed.headers() {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                self.request.extend_from_slice(part);
            }
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(&body);
        Ok(self.signed.insert(signed).events.len() as u64)
    }

    /// The last request, as it is sent.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Notes the last request; its number in the journal.
    pub(super) fn note(&self, journal: &Journal, target: &Target) -> u64 {
        let Some(signed) = &self.signed else { return 0 };
        let events = signed.events.iter();
        let events: Vec<_> = events
            .map(|event| (event.id.as_str(), event.event_type.as_str()))
            .collect();
        journal.sent(&Sent {
            source: &signed.source,
            url: &format!("http://{}/api/webhooks/{}", target.host, signed.source),
            body: &signed.body(),
            headers: &signed.headers_to_show(),
            items: signed.items.as_deref().map_or(Items::Body, Items::At),
            expect: "stored",
            events: &events,
        })
    }
}
