//! Vendors against a receiver that refuses: what is sent again, when it ends, and that nothing is uncounted.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use common::Receiver;
use contracts::webhook::signature::SignedRequest;
use contracts::webhook::source::Sources;
use sandbox::harness::until;
use simulator::event::{Fault, Rate};
use simulator::stream::{SharedTotals, StreamTotals};
use simulator::vendor::stream::{VendorSettings, stream};
use simulator::vendor::{Examples, Folder};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Streams as these presets to a receiver until `enough` of the totals so far.
async fn streamed(
    presets: &[&str],
    faults: Vec<Rate>,
    receiver: &Receiver,
    enough: fn(&StreamTotals) -> bool,
) -> (StreamTotals, Sources) {
    let files = tempfile::tempdir().unwrap();
    let names: Vec<_> = presets.iter().map(|&name| name.to_owned()).collect();
    let folder = Folder::of_presets(files.path(), &names).unwrap();
    let (vendors, _) = Folder::vendors(&folder.file(), &[], &Examples::default()).unwrap();
    let base = receiver.url.split("/api/").next().unwrap().to_owned();
    let settings = VendorSettings {
        url: base,
        rate: 200.0,
        seed: 3,
        faults,
        concurrency: 16,
        timeout: Duration::from_secs(10),
        // A minute is 10 ms.
        retry_factor: 6000.0,
        journal: None,
    };
    let (_, vendors) = watch::channel(Arc::new(vendors));
    let (shared, stop) = (SharedTotals::default(), CancellationToken::new());
    let (watched, stopping) = (shared.clone(), stop.clone());
    let streaming = tokio::spawn(async move { stream(&settings, vendors, shared, stopping).await });
    until("enough is sent", Duration::from_secs(60), async || {
        enough(&watched.lock().unwrap())
    })
    .await;
    stop.cancel();
    let totals = streaming.await.unwrap().unwrap();
    let refused: u64 = totals.refused.values().sum();
    assert_eq!(
        totals.sent,
        totals.accepted + refused + totals.unanswered,
        "{totals:?}"
    );
    let text = std::fs::read_to_string(folder.file()).unwrap();
    let resolve = |reference: &str| runtime::files::resolve_secret(reference);
    (totals, Sources::from_toml(&text, &resolve).unwrap())
}

/// The event id of a Slack or GitHub request.
fn id_of(headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(id) = headers.get("x-github-delivery") {
        return id.to_str().unwrap().to_owned();
    }
    let event: serde_json::Value = serde_json::from_slice(body).unwrap();
    event["event_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_sent_again_as_often_as_the_vendor_does_with_the_same_id_and_body() {
    let receiver = Receiver::start(|_, _, _| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    let enough = |totals: &StreamTotals| {
        let ended = |name: &str| totals.by_source.get(name).map_or(0, |one| one.refused);
        ended("slack") > 5 && ended("github") > 5
    };
    let (totals, sources) = streamed(&["slack", "github"], Vec::new(), &receiver, enough).await;
    assert_eq!((totals.accepted, totals.given_up), (0, 0));
    let mut attempts: HashMap<String, Vec<(HeaderMap, axum::body::Bytes)>> = HashMap::new();
    for (headers, body) in receiver.got() {
        let of_event = attempts.entry(id_of(&headers, &body)).or_default();
        of_event.push((headers, body));
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for attempts in attempts.values() {
        let name = if attempts[0].0.contains_key("x-github-delivery") {
            "github"
        } else {
            "slack"
        };
        let most = times.entry(name).or_default();
        *most = attempts.len().max(*most);
        let verifier = &sources.get(name).unwrap().verifier;
        for (headers, body) in attempts {
            assert_eq!(body, &attempts[0].1);
            let now = runtime::clock::now_micros() / 1_000_000;
            verifier
                .verify(&SignedRequest::post(headers, body), now)
                .unwrap();
        }
    }
    // Slack sends three times more, GitHub never.
    assert_eq!(times, BTreeMap::from([("github", 1), ("slack", 4)]));
    assert_eq!(totals.resent + totals.sent, receiver.got().len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_at_last_is_accepted_once_and_a_forgery_is_not_sent_again() {
    // Every second request is refused; what is forged always.
    let receiver = Receiver::start(|before, _, _| match before % 2 {
        0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let enough = |totals: &StreamTotals| totals.accepted > 40 && totals.resent > 5;
    let (totals, _) = streamed(&["slack", "stripe", "adyen"], Vec::new(), &receiver, enough).await;
    assert_eq!(totals.answers_2xx, totals.accepted);
    let adyen = totals.by_source["adyen"];
    assert_eq!(adyen.events_accepted, 2 * adyen.accepted);
    let by_source: u64 = totals
        .by_source
        .values()
        .map(|one| one.events_accepted)
        .sum();
    assert_eq!(by_source, totals.events_accepted);

    let receiver = Receiver::start(|_, _, _| StatusCode::UNAUTHORIZED.into_response()).await;
    let forged = vec![Rate {
        fault: Fault::BadSignature,
        share: 1.0,
    }];
    let enough = |totals: &StreamTotals| totals.refused.values().sum::<u64>() > 10;
    let (totals, sources) = streamed(&["slack"], forged, &receiver, enough).await;
    assert_eq!(totals.resent, 0, "it would be refused again");
    let verifier = &sources.get("slack").unwrap().verifier;
    for (headers, body) in receiver.got() {
        let now = runtime::clock::now_micros() / 1_000_000;
        assert!(
            verifier
                .verify(&SignedRequest::post(&headers, &body), now)
                .is_err()
        );
    }
}
