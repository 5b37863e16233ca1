//! The stage's handler, without its consumer, and records of the validated topic.

use contracts::Secret;
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use persistence::handler::Persistence;
use persistence::writer::Writer;
use runtime::consumer::{Handler, Header, Outcome, Record, StageError};
use runtime::health::Health;
use runtime::registry::{Registry, RegistryArgs};
use sandbox::broker::EmbeddedBroker;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const TOPIC: &str = "events.validated.v1";
/// In an id or an order, stands for U+0000: the validator lets none pass, an older one did, and PostgreSQL refuses it.
pub(crate) const NUL: char = '\u{7f}';

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

/// A stage on this database, which has partition 0.
pub(crate) async fn stage(url: &str) -> Persistence {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let store = Writer::open(
        &Secret::new(url),
        &broker.kafka(),
        &Health::new(),
        &CancellationToken::new(),
    )
    .await;
    let avsc = Catalog::builtin()
        .contract("payment.authorized.v1")
        .unwrap()
        .record_avsc
        .clone();
    let known = Registry::new(&RegistryArgs::at(registry(avsc).await)).unwrap();
    let mut stage = Persistence::new(
        store.unwrap().unwrap(),
        known,
        "g",
        tokio::runtime::Handle::current(),
    );
    tokio::task::block_in_place(|| stage.positions(&[(TOPIC.to_owned(), 0)])).unwrap();
    stage
}

/// The value of a validated record.
pub(crate) fn value(id: &str, order: &str, amount: &str) -> Vec<u8> {
    let body = serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1,
        "timestamp": "2026-01-02T03:04:05.000006Z", "payload": {"payment_id": "p", "order_id": order, "amount": amount, "currency": "CLF", "provider_auth_id": "a"}});
    let mut value = Vec::new();
    framing::frame(1, &mut value);
    let frame = value.len();
    Catalog::builtin()
        .validate(Envelope::own(body.to_string().as_bytes()).unwrap())
        .unwrap()
        .encode(&mut value);
    for byte in &mut value[frame..] {
        if char::from(*byte) == NUL {
            *byte = 0;
        }
    }
    value
}

/// Hands the stage a batch of partition 0 from its first offset, as the consumer loop does: on a thread that may block.
pub(crate) async fn handle(
    mut stage: Persistence,
    values: Vec<Vec<u8>>,
) -> (Persistence, Result<Vec<Outcome>, StageError>) {
    let work = move || {
        let raws: Vec<String> = (0..values.len())
            .map(|offset| format!("3:{offset}"))
            .collect();
        let headers: Vec<[Header<'_>; 2]> = raws
            .iter()
            .map(|raw| {
                [
                    ("ef.source", Some(&b"s"[..])),
                    ("ef.raw", Some(raw.as_bytes())),
                ]
            })
            .collect();
        let records: Vec<Record<'_>> = values
            .iter()
            .zip(&headers)
            .zip(0..)
            .map(|((value, headers), offset)| {
                Record::new(TOPIC, 0, offset, 0, Some(b"k"), Some(value), headers)
            })
            .collect();
        let outcomes = stage.handle(&records);
        (stage, outcomes)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}
