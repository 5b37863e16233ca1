//! A database that says nothing: the stage is not kept waiting for TCP to give up.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::avro::framing;
use contracts::event::Catalog;
use persistence::handler::Persistence;
use persistence::writer::Writer;
use runtime::consumer::{Handler, Outcome, Record};
use runtime::health::Health;
use runtime::registry::{Registry, RegistryArgs};
use sandbox::broker::EmbeddedBroker;
use sandbox::postgres::PrivatePostgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "events.validated.v1";

/// Forwards to the database; armed, it swallows an insert and everything after it on that connection, and keeps the connection open.
async fn proxy(database: String, armed: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) =
                TcpStream::connect(&database).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let armed = Arc::clone(&armed);
            tokio::spawn(async move {
                let (mut bytes, mut silent) = (vec![0; 1 << 16], false);
                while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                    silent |= armed.load(Ordering::SeqCst)
                        && bytes[..count]
                            .windows(18)
                            .any(|part| part == b"INSERT INTO events");
                    if !silent && to_server.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// A registry that knows one schema.
async fn registry(avsc: String) -> String {
    let answer = serde_json::json!({"schema": avsc}).to_string();
    let app = axum::Router::new().route(
        "/schemas/ids/1",
        axum::routing::get(move || std::future::ready(answer.clone())),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_is_waited_for_with_a_deadline_and_then_stores_the_batch_once() {
    let (broker, postgres) = (
        EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap(),
        PrivatePostgres::start(false).unwrap(),
    );
    let (armed, direct) = (Arc::new(AtomicBool::new(false)), postgres.url());
    let server = direct
        .split(['@', '/'])
        .find(|part| part.starts_with("127.0.0.1:"))
        .unwrap()
        .to_owned();
    let url = direct.replace(&server, &proxy(server.clone(), Arc::clone(&armed)).await);
    let store = Writer::open(
        &Secret::new(url),
        &broker.kafka(),
        &Health::new(),
        &CancellationToken::new(),
    )
    .await;
    let contracts = Catalog::builtin();
    let contract = contracts.get("payment.authorized.v1").unwrap();
    let known = Registry::new(&RegistryArgs::at(
        registry(contract.record_avsc.clone()).await,
    ))
    .unwrap();
    let mut stage = Persistence::new(
        store.unwrap().unwrap(),
        known,
        "g",
        tokio::runtime::Handle::current(),
    );
    let mut value = Vec::new();
    framing::frame(1, &mut value);
    contracts
        .validate(include_bytes!(
            "../../contracts/events/payment.authorized.v1/examples/valid/plain.json"
        ))
        .unwrap()
        .encode(&mut value);
    let handle = move |mut stage: Persistence| {
        let record = Record::new(TOPIC, 0, 0, 0, Some(b"k"), Some(&value), &[]);
        let outcomes = stage.handle(&[record]);
        (stage, outcomes)
    };
    tokio::task::block_in_place(|| stage.positions(&[(TOPIC.to_owned(), 0)])).unwrap();
    armed.store(true, Ordering::SeqCst);
    let (stage, outcomes) = tokio::task::spawn_blocking({
        let handle = handle.clone();
        move || handle(stage)
    })
    .await
    .unwrap();
    let error = outcomes.unwrap_err();
    assert!(
        !error.must_stop() && error.code() == "database_timeout",
        "{error}"
    );
    armed.store(false, Ordering::SeqCst);
    let (_, outcomes) = tokio::task::spawn_blocking(move || handle(stage))
        .await
        .unwrap();
    assert!(matches!(outcomes.unwrap().as_slice(), [Outcome::Done]));
}
