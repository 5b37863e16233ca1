//! Bare payloads of trusted callers: the envelope that they get, by what the sources file says.

use crate::sources::vendors;
use crate::world::{World, request, world};
use contracts::event::{Catalog, Mappings};
use contracts::kafka::headers;
use runtime::admin::{OwnedRecord, read_all};
use serde_json::{Value, json};

const PAYLOAD: &[u8] = br#"{"payment_id":"p-1","order_id":"o","amount":12.340,"currency":"EUR","provider_auth_id":"a"}"#;

/// The record of one accepted payload.
async fn ingest(world: &World, path: &str, payload: &[u8]) -> OwnedRecord {
    let asked = request(path, payload, &[], &[("x-api-key", "the-key")]);
    let (status, answer, _) = world.ask(asked).await;
    assert_eq!(status, 200, "{answer}");
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    let is_it = |record: &&OwnedRecord| {
        record.header(headers::EVENT_ID).as_deref() == answer["event_id"].as_str()
    };
    records.iter().find(is_it).unwrap().clone()
}

fn key(record: &OwnedRecord) -> &str {
    std::str::from_utf8(record.key.as_deref().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_gets_an_envelope_that_its_contract_accepts() {
    let world = world(&[], 1000).await;
    let record = ingest(&world, "/api/ingest", PAYLOAD).await;
    let value = record.value.as_deref().unwrap();
    assert_eq!(key(&record), "p-1", "payments of one id keep their order");
    assert!(
        value.windows(PAYLOAD.len()).any(|window| window == PAYLOAD),
        "digit for digit"
    );
    let mappings = Mappings::builtin();
    let envelope = mappings.get("ingest").unwrap();
    let envelope = envelope.find((), None, value).unwrap();
    let contracts = Catalog::builtin();
    let validated = contracts.validate(envelope).unwrap();
    assert_eq!(validated.contract().label, "payment.authorized.v1");

    // Any other type is the caller's word; what would end its JSON string does not.
    let record = ingest(&world, "/api/ingest/booking.%22made%22", br#"{"seat":1}"#).await;
    let value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    assert_eq!(value["event_type"], "booking.\"made\"");
    assert_eq!(value["payload"], json!({"seat": 1}));
    assert_eq!(
        key(&record),
        value["event_id"],
        "without an entity its id is the key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sources_file_says_what_a_payload_is() {
    let vendors = vendors(&[(
        "acme",
        "[ingest]\nevent_type = \"booking.made\"\nentity = \"/payload/guest\"",
    )])
    .await;
    let record = ingest(&vendors.world, "/api/ingest", br#"{"guest":"g-7"}"#).await;
    let value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    assert_eq!(
        (key(&record), &value["event_type"]),
        ("g-7", &json!("booking.made"))
    );
}
