//! Requests of vendors, in turn, each signed as its vendor signs.

use super::Target;
use anyhow::Context;
use simulator::vendor::EventSent;
use std::sync::Arc;

/// Builds the requests of one worker.
pub(super) struct Turns {
    turn: usize,
    rng: fastrand::Rng,
    request: Vec<u8>,
    source: String,
    events: Vec<EventSent>,
}

impl Turns {
    pub(super) fn new(target: &Target) -> Self {
        let mut rng = fastrand::Rng::new();
        Self {
            turn: rng.usize(0..target.vendors.len().max(1)),
            rng,
            request: Vec::new(),
            source: String::new(),
            events: Vec::new(),
        }
    }

    /// The next vendor's request, and how many events it has.
    pub(super) fn compose(&mut self, target: &Target) -> anyhow::Result<(&[u8], u64)> {
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
        self.source = signed.source;
        self.events = signed.events;
        Ok((&self.request, self.events.len() as u64))
    }

    pub(super) fn each_event(&self, mut call: impl FnMut(&str, &str)) {
        self.events
            .iter()
            .for_each(|event| call(&self.source, &event.id));
    }
}
