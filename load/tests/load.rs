//! The load generator against a receiver: nothing is uncounted.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../simulator/tests/common/mod.rs"]
mod common;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use common::{Receiver, SECRET, problem};
use contracts::Secret;
use contracts::webhook::signature::SignedRequest;
use contracts::webhook::source::Sources;
use load::{LoadArgs, run};
use runtime::config::parse_duration;
use simulator::vendor::{Folder, Played};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn args(url: &str) -> LoadArgs {
    LoadArgs {
        url: url.to_owned(),
        secret: Secret::new(SECRET),
        played: Played::default(),
        rate: 1000.0,
        max: false,
        batch: 1,
        duration: Duration::from_secs(30),
        requests: None,
        connections: 4,
        journal: None,
        json: false,
    }
}

#[tokio::test]
async fn every_request_is_signed_every_id_unique_every_answer_counted() {
    let receiver = Receiver::start(|before, _, _| match before % 4 {
        3 => problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let journal = tempfile::NamedTempFile::new().unwrap();
    let wanted = LoadArgs {
        max: true,
        batch: 5,
        requests: Some(40),
        journal: Some(journal.path().to_owned()),
        ..args(&receiver.url)
    };
    let report = run(&wanted, CancellationToken::new()).await.unwrap();
    assert_eq!(
        (report.requests, report.unsent, report.events_accepted),
        (40, 0, 150)
    );
    assert_eq!(
        report.answers,
        BTreeMap::from([("200".to_owned(), 30), ("503".to_owned(), 10)])
    );

    let sources = Sources::builtin(&Secret::new(SECRET));
    let now = i64::try_from(
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs(),
    )
    .unwrap();
    let mut ids = HashSet::new();
    for (headers, body) in receiver.got() {
        sources
            .get("payment-authorized")
            .unwrap()
            .verifier
            .verify(&SignedRequest::post(&headers, &body), now)
            .unwrap();
        for line in body.split(|byte| *byte == b'\n') {
            let event: serde_json::Value = serde_json::from_slice(line).unwrap();
            ids.insert(event["event_id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids.len(), 200);
    let text = std::fs::read_to_string(journal.path()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (sent, answered): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line["body"].is_string());
    let journalled: HashSet<_> = sent
        .iter()
        .flat_map(|line| line["events"].as_array().unwrap())
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((sent.len(), &journalled), (40, &ids));
    assert!(sent.iter().all(|line| line["items"] == "lines"));
    let statuses = |status: u16| {
        answered
            .iter()
            .filter(|line| line["status"] == status)
            .count()
    };
    assert_eq!((statuses(200), statuses(503)), (30, 10));
}

#[tokio::test]
async fn what_a_stalled_server_kept_from_being_sent_is_counted() {
    // Answers only after the run has ended.
    let stalled = || async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        StatusCode::OK
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/w", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(stalled)).await });
    let wanted = LoadArgs {
        rate: 100.0,
        duration: Duration::from_millis(300),
        connections: 1,
        ..args(&url)
    };
    let report = run(&wanted, CancellationToken::new()).await.unwrap();
    // 100 a second for 0.3 s are 30, whether or not they could be sent.
    assert_eq!(report.requests + report.unsent, 30);
    assert!(report.requests <= 1, "{report}");
    assert!(report.to_string().contains("unsent"));
}

#[tokio::test]
async fn a_closed_connection_is_replaced_and_costs_no_answer() {
    let receiver =
        Receiver::start(|_, _, _| (StatusCode::OK, [("connection", "close")]).into_response())
            .await;
    let wanted = LoadArgs {
        requests: Some(20),
        connections: 2,
        ..args(&receiver.url)
    };
    let report = run(&wanted, CancellationToken::new()).await.unwrap();
    assert_eq!(report.answers, BTreeMap::from([("200".to_owned(), 20)]));
}

#[tokio::test]
async fn a_load_that_cannot_work_says_why() {
    let receiver = Receiver::verifying().await;
    let good = args(&receiver.url);
    for (bad, named) in [
        (
            LoadArgs {
                rate: f64::NAN,
                ..good.clone()
            },
            "--rate",
        ),
        (
            LoadArgs {
                batch: 0,
                ..good.clone()
            },
            "--batch",
        ),
        (
            LoadArgs {
                url: "https://x/w".to_owned(),
                ..good.clone()
            },
            "--url",
        ),
    ] {
        assert!(
            run(&bad, CancellationToken::new())
                .await
                .unwrap_err()
                .to_string()
                .contains(named)
        );
    }
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let lonely = LoadArgs {
        requests: Some(3),
        ..args(&format!("http://{nobody}/w"))
    };
    assert!(
        run(&lonely, CancellationToken::new())
            .await
            .unwrap_err()
            .to_string()
            .contains("is the producer running")
    );
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert_eq!(run(&good, cancelled).await.unwrap().requests, 0);
    assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
    assert!(parse_duration("soon").is_err());
}

#[tokio::test]
async fn vendors_are_sent_in_turn_each_signed_as_it_signs() {
    let files = tempfile::tempdir().unwrap();
    let names = ["stripe", "github", "adyen", "discord"].map(str::to_owned);
    let folder = Folder::of_presets(files.path(), &names).unwrap();
    let resolve = |reference: &str| runtime::files::resolve_secret(reference);
    let text = std::fs::read_to_string(folder.file()).unwrap();
    let sources = std::sync::Arc::new(Sources::from_toml(&text, &resolve).unwrap());
    let verify = axum::routing::post({
        move |axum::extract::Path(source): axum::extract::Path<String>,
              headers: axum::http::HeaderMap,
              body: axum::body::Bytes| async move {
            let now = runtime::clock::now_micros() / 1_000_000;
            let verifier = &sources.get(&source).unwrap().verifier;
            match verifier.verify(&SignedRequest::post(&headers, &body), now) {
                Ok(_) => StatusCode::OK,
                Err(_) => StatusCode::UNAUTHORIZED,
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/api/webhooks/{source}", verify);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let journal = tempfile::NamedTempFile::new().unwrap();
    let wanted = LoadArgs {
        max: true,
        requests: Some(40),
        connections: 1,
        journal: Some(journal.path().to_owned()),
        played: Played::of(&folder.file(), &["stripe", "adyen", "discord"]),
        ..args(&url)
    };
    let report = run(&wanted, CancellationToken::new()).await.unwrap();
    assert_eq!(report.answers, BTreeMap::from([("200".to_owned(), 40)]));
    let lines = std::fs::read_to_string(journal.path()).unwrap();
    let mut by_source: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(source) = line["source"].as_str() else {
            assert_eq!(line["status"], 200, "{line}");
            continue;
        };
        for event in line["events"].as_array().unwrap() {
            let of_source = by_source.entry(source.to_owned()).or_default();
            let id = event["event_id"].as_str().unwrap().to_owned();
            assert!(of_source.insert(id), "{line}");
        }
    }
    let sent: BTreeMap<&str, usize> = by_source
        .iter()
        .map(|(source, ids)| (source.as_str(), ids.len()))
        .collect();
    // Of 40 requests in turns of three, 13 or 14 are each one's; Adyen's have two events.
    assert!(
        sent["stripe"] >= 13 && sent["discord"] >= 13 && sent["adyen"] >= 26,
        "{sent:?}"
    );
    assert_eq!(
        report.events_accepted as usize,
        sent.values().sum::<usize>()
    );
    assert_eq!(sent.len(), 3, "GitHub was not asked for");
}
