//! Plays a vendor of any preset: makes events of its examples, signs them as it signs, and sends again on its schedule.
//!
//! [`Folder`] is the sources file and secrets that edge and simulator share; [`Vendor`] makes requests; [`stream`](mod@stream) posts them and
//! keeps what is to be sent again in [`waiting`].

mod examples;
mod folder;
mod fresh;
mod keys;
mod played;
pub mod stream;
pub mod waiting;

pub use examples::{ContractExample, Examples, contract_examples};
pub use folder::Folder;
pub use keys::PrivateKey;
pub use played::{Played, examples, named};

use crate::event::Fault;
use anyhow::Context;
use contracts::Secret;
use contracts::webhook::body::Parts;
use contracts::webhook::draft::{Draft, Place};
use contracts::webhook::preset;
use contracts::webhook::resends::{Resends, Stamp};
use contracts::webhook::scheme::Method;
use contracts::webhook::signature::{Key, VendorKey, Verifier};
use contracts::webhook::source::Source;
use fastrand::Rng;

/// Entities that the events of a vendor are about.
const ENTITIES: u32 = 1000;
/// Most events of one request that are looked at; examples have few.
const MOST_EVENTS: usize = 100;
/// How far beyond the scheme's window a stale or future request is signed, in seconds.
const BEYOND_SECONDS: i64 = 300;

/// A vendor that can sign.
#[derive(Debug)]
pub struct Vendor {
    source: Source,
    private: Option<PrivateKey>,
    /// Signs what must be refused
    impostor: Impostor,
    examples: Vec<Draft>,
    resends: Resends,
}

#[derive(Debug)]
enum Impostor {
    Shared(Box<Verifier>),
    Private(PrivateKey),
}

/// One event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSent {
    /// As the source's mapping finds it; the request's delivery id, or nothing, where it finds none
    pub id: String,
    /// As the source's mapping finds it; `-` where it finds none
    pub event_type: String,
}

/// A signed request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The source it is posted to
    pub source: String,
    /// Its events: one or several
    pub events: Vec<EventSent>,
    /// JSON pointer to the array of its events; `None`: the body is the one event
    pub items: Option<String>,
    draft: Draft,
    new_id: String,
    /// A header has the secret itself
    has_secret: bool,
}

impl Request {
    /// Headers to send, in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        self.draft.headers()
    }

    /// The headers as a file may keep them: of a request that proves itself by the secret, the names alone.
    #[must_use]
    pub fn headers_to_show(&self) -> Vec<(String, String)> {
        let mut headers = self.draft.headers().to_vec();
        if self.has_secret {
            let others = headers
                .iter_mut()
                .filter(|(name, _)| name != "content-type");
            others.for_each(|(_, value)| *value = "(not shown)".to_owned());
        }
        headers
    }

    /// The body to send.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.draft.body()
    }

    /// Memory that it takes while it waits to be sent again, in bytes; about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.draft.headers().iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + value.len() + 64)
            .sum();
        let events: usize = self
            .events
            .iter()
            .map(|event| event.id.len() + event.event_type.len() + 64)
            .sum();
        headers + events + self.draft.body().len() + 256
    }
}

impl Vendor {
    /// The vendor of a source: `private` is the key of one that signs with a private key. Its events are made of these examples, or else of its
    /// preset's.
    ///
    /// # Errors
    /// Why nothing can be sent: no key, or no example.
    pub fn new(
        source: Source,
        private: Option<PrivateKey>,
        examples: &Examples,
    ) -> anyhow::Result<Self> {
        let scheme = source.verifier.scheme().clone();
        let impostor = match (scheme.algorithm.method(), &private) {
            (Method::PublicKey, None) => anyhow::bail!(
                "only the vendor can sign: its private key is not beside the sources file"
            ),
            (Method::PublicKey, Some(_)) => {
                Impostor::Private(PrivateKey::generate(scheme.algorithm)?)
            }
            (Method::Mac | Method::Token, _) => {
                let random = std::array::from_fn(|_| fastrand::u8(..));
                let secret = scheme
                    .new_secret(&random)
                    .context("no secret of this scheme can be made")?;
                let key = Key {
                    id: "impostor".to_owned(),
                    secret: Secret::new(secret),
                    not_after: None,
                };
                let url = source.public_url().map(str::to_owned);
                Impostor::Shared(Box::new(
                    Verifier::new(scheme, vec![key], url)
                        .map_err(|error| anyhow::anyhow!("{error}"))?,
                ))
            }
        };
        let examples = examples.of(&source);
        anyhow::ensure!(
            !examples.is_empty(),
            "it has no preset, and no contract with an example that can be its event: nothing to send"
        );
        Ok(Self {
            resends: preset::resends(&source.scheme_name),
            source,
            private,
            impostor,
            examples,
        })
    }

    /// The source's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The name of its preset, or `custom`.
    #[must_use]
    pub fn preset(&self) -> &str {
        &self.source.scheme_name
    }

    /// How it sends again.
    #[must_use]
    pub fn resends(&self) -> &Resends {
        &self.resends
    }

    /// Whether it can send this fault: a time that is wrong needs a scheme that signs one, what is no JSON a signature beside the body.
    #[must_use]
    pub fn can(&self, fault: Fault) -> bool {
        let scheme = self.source.verifier.scheme();
        match fault {
            Fault::Duplicate | Fault::BadSignature => true,
            Fault::StaleTimestamp | Fault::FutureTimestamp => scheme.freshness.is_some(),
            Fault::NotJson => {
                scheme.signature_pointer.is_none()
                    && scheme.signature_field.is_none()
                    && scheme.timestamp_pointer.is_none()
            }
            Fault::MissingProviderAuthId
            | Fault::NegativeAmount
            | Fault::BlankOrderId
            | Fault::CurrencyLowercase
            | Fault::TruncatedBody
            | Fault::Conflicting
            | Fault::Delayed
            | Fault::Reordered
            | Fault::SlowBody
            | Fault::Burst => false,
        }
    }

    /// A new event, or several in one request, signed at `now_micros`.
    ///
    /// # Errors
    /// The example has not what the scheme signs.
    pub fn request(
        &self,
        fault: Option<Fault>,
        now_micros: i64,
        rng: &mut Rng,
    ) -> anyhow::Result<Request> {
        let mut draft = rng.choice(&self.examples).cloned().context("no example")?;
        for base in self.parts(&draft) {
            let entity = rng.u32(0..ENTITIES);
            fresh::renew(&self.source, &mut draft, &base, entity, now_micros, rng);
        }
        // Vendors' bodies have times and counters that no two have in common; an example is one body.
        if self.source.may_be_copied() {
            draft.add("simulated", &fresh::letters(16, rng));
        }
        if fault == Some(Fault::NotJson) {
            draft.break_body(&format!("no JSON {:016x}", rng.u64(..)));
        }
        let mut request = Request {
            source: self.source.name.clone(),
            events: Vec::new(),
            items: None,
            has_secret: self.source.verifier.scheme().algorithm.method() == Method::Token,
            draft,
            new_id: format!("msg_{}", fresh::letters(26, rng)),
        };
        self.sign(&mut request, fault, now_micros / 1_000_000)?;
        (request.items, request.events) = self.events(&request.draft, now_micros);
        Ok(request)
    }

    /// Signs a request that is sent again, with the time that the vendor would.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn sign_again(
        &self,
        request: &mut Request,
        fault: Option<Fault>,
        now_micros: i64,
    ) -> anyhow::Result<()> {
        match self.resends.timestamp {
            Stamp::First => Ok(()),
            Stamp::Fresh => self.sign(request, fault, now_micros / 1_000_000),
        }
    }

    fn sign(&self, request: &mut Request, fault: Option<Fault>, now: i64) -> anyhow::Result<()> {
        let freshness = self.source.verifier.scheme().freshness;
        let past = freshness.map_or(0, |freshness| i64::from(freshness.past_seconds));
        let future = freshness.map_or(0, |freshness| i64::from(freshness.future_seconds));
        let at = match fault {
            Some(Fault::StaleTimestamp) => now - past - BEYOND_SECONDS,
            Some(Fault::FutureTimestamp) => now + future + BEYOND_SECONDS,
            _ => now,
        };
        let is_forged = fault == Some(Fault::BadSignature);
        let (verifier, private) = match (&self.impostor, is_forged) {
            (Impostor::Shared(impostor), true) => (impostor.as_ref(), None),
            (Impostor::Private(impostor), true) => (&self.source.verifier, Some(impostor)),
            (_, false) => (&self.source.verifier, self.private.as_ref()),
        };
        let draft = &mut request.draft;
        let signed = match private {
            None => verifier.sign_draft(draft, at, &request.new_id, VendorKey::Shared(0)),
            Some(key) => {
                let sign = |message: &[u8]| key.sign(message);
                verifier.sign_draft(draft, at, &request.new_id, VendorKey::Private(&sign))
            }
        };
        signed.map_err(|error| anyhow::anyhow!("{}: {error}", self.source.name))
    }

    /// Paths of the events in a body: the body itself, or each item.
    fn parts(&self, draft: &Draft) -> Vec<Vec<String>> {
        let Some(items) = self.source.body.items_path() else {
            return vec![Vec::new()];
        };
        let item = |index: usize| [items, &[index.to_string()]].concat();
        let paths = (0..MOST_EVENTS).map(item);
        paths.take_while(|path| draft.at(path).is_some()).collect()
    }

    /// What the mapping finds in a signed request, and where its events are.
    fn events(&self, draft: &Draft, now_micros: i64) -> (Option<String>, Vec<EventSent>) {
        let body = draft.json();
        let (items, parts) = match self.source.body.parts(&body, MOST_EVENTS) {
            Parts::Events(parts) => (self.source.body.items_path().map(pointer), parts),
            Parts::TooMany | Parts::None => (None, vec![body.as_slice()]),
        };
        let event = |part: &[u8]| match self.source.event.find(draft, Some(now_micros), part) {
            Ok(envelope) => EventSent {
                id: envelope.id.into_owned(),
                event_type: envelope.event_type.into_owned(),
            },
            Err(_) => EventSent {
                id: draft
                    .text(&Place::Header("webhook-id".to_owned()))
                    .unwrap_or_default(),
                event_type: "-".to_owned(),
            },
        };
        (items, parts.into_iter().map(event).collect())
    }
}

/// Reference tokens as a JSON pointer.
fn pointer(path: &[String]) -> String {
    let token = |token: &String| format!("/{}", token.replace('~', "~0").replace('/', "~1"));
    path.iter().map(token).collect()
}
