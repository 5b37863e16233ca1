//! The simulator as every vendor: what it signs is accepted, what it forges is refused, and what it sends again is the same event.

use crate::world::{World, now, request, world};
use contracts::event::Mappings;
use contracts::kafka::headers;
use contracts::webhook::preset;
use runtime::admin::read_all;
use simulator::event::Fault;
use simulator::vendor::{Examples, Folder, Request, Vendor};
use std::collections::{BTreeMap, HashSet};

async fn post(world: &World, posted: &Request) -> (u16, String) {
    let path = format!("/api/webhooks/{}", posted.source);
    let mut asked = request(&path, &posted.body(), &[], &[]);
    asked.headers_mut().remove("content-type");
    for (name, value) in posted.headers() {
        let name: http::HeaderName = name.parse().unwrap();
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let (status, answer, _) = world.ask(asked).await;
    (
        status,
        answer["code"].as_str().unwrap_or_default().to_owned(),
    )
}

fn vendors(folder: &Folder) -> Vec<Vendor> {
    let (vendors, others) = Folder::vendors(&folder.file(), &[], &Examples::default()).unwrap();
    assert_eq!(others, Vec::<String>::new());
    vendors
}

#[tokio::test(flavor = "multi_thread")]
async fn every_preset_is_signed_as_its_vendor_signs() {
    let files = tempfile::tempdir().unwrap();
    let names: Vec<_> = preset::names().into_iter().map(str::to_owned).collect();
    let folder = Folder::of_presets(files.path(), &names).unwrap();
    let vendors = vendors(&folder);
    assert_eq!(vendors.len(), names.len());
    let world = world(&["--sources", folder.file().to_str().unwrap()], 10_000).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut sent: BTreeMap<(String, String), u32> = BTreeMap::new();
    for vendor in &vendors {
        let name = vendor.name();
        for _ in 0..4 {
            let signed = vendor.request(None, now() * 1_000_000, &mut rng).unwrap();
            assert_eq!(post(&world, &signed).await, (200, String::new()), "{name}");
            for event in signed.events {
                *sent.entry((name.to_owned(), event.id)).or_default() += 1;
            }
        }
        let forged = vendor
            .request(Some(Fault::BadSignature), now() * 1_000_000, &mut rng)
            .unwrap();
        assert_eq!(
            post(&world, &forged).await,
            (401, "signature_mismatch".to_owned()),
            "{name}"
        );
        for (fault, code) in [
            (Fault::StaleTimestamp, "timestamp_too_old"),
            (Fault::FutureTimestamp, "timestamp_in_future"),
        ] {
            if vendor.can(fault) {
                let unfresh = vendor
                    .request(Some(fault), now() * 1_000_000, &mut rng)
                    .unwrap();
                assert_eq!(
                    post(&world, &unfresh).await,
                    (401, code.to_owned()),
                    "{name}"
                );
            }
        }
    }
    // What the mapping finds of each record is what the simulator says that it sent; no two events are one.
    let mappings = Mappings::from_toml(&std::fs::read_to_string(folder.file()).unwrap()).unwrap();
    let mut stored: BTreeMap<(String, String), u32> = BTreeMap::new();
    for record in read_all(&world.broker.kafka(), "events.raw.v1").unwrap() {
        let source = record.header(headers::SOURCE).unwrap();
        let opened = mappings.open(&&record.headers[..], record.value.as_deref().unwrap());
        let opened = opened.unwrap_or_default();
        let found = mappings.find(&record.headers[..], &opened);
        let id = found
            .map(|envelope| envelope.id.into_owned())
            .unwrap_or_default();
        *stored.entry((source, id)).or_default() += 1;
    }
    assert_eq!(stored, sent);
    let repeated: Vec<_> = sent.iter().filter(|(_, times)| **times > 1).collect();
    let braintree = ("braintree".to_owned(), String::new());
    assert_eq!(
        repeated,
        [(&braintree, &4)],
        "its events are XML, without an id that a mapping finds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_is_the_same_event_signed_at_the_vendors_time() {
    let files = tempfile::tempdir().unwrap();
    let names = ["stripe", "adyen", "linear", "paypal", "discord", "slack"].map(str::to_owned);
    let folder = Folder::of_presets(files.path(), &names).unwrap();
    let world = world(&["--sources", folder.file().to_str().unwrap()], 1000).await;
    let mut rng = fastrand::Rng::with_seed(7);
    for vendor in vendors(&folder) {
        // First signed when it would be too old by now, for most.
        let first = vendor
            .request(None, (now() - 900) * 1_000_000, &mut rng)
            .unwrap();
        let mut again = first.clone();
        vendor
            .sign_again(&mut again, None, now() * 1_000_000)
            .unwrap();
        assert_eq!(again.events, first.events);
        let is_in_body = ["adyen", "linear"].contains(&vendor.name());
        assert!(
            again.body() == first.body() || is_in_body,
            "{}",
            vendor.name()
        );
        let keeps_time = vendor.name() == "paypal";
        assert_eq!(
            again.headers() == first.headers(),
            keeps_time || vendor.name() == "adyen",
            "{}",
            vendor.name()
        );
        assert_eq!(
            post(&world, &again).await,
            (200, String::new()),
            "{}",
            vendor.name()
        );
    }
}

#[test]
fn where_ids_are_not_signed_no_two_bodies_are_the_same() {
    let files = tempfile::tempdir().unwrap();
    let names = ["github", "shopify", "bitbucket", "razorpay"].map(str::to_owned);
    let folder = Folder::of_presets(files.path(), &names).unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    for vendor in vendors(&folder) {
        // At one time, and of more events than there are entities.
        let bodies: HashSet<Vec<u8>> = (0..3000)
            .map(|_| vendor.request(None, 1_000_000, &mut rng).unwrap().body())
            .collect();
        assert_eq!(bodies.len(), 3000, "{}", vendor.name());
    }
}
