//! Contracts of a test, and events for them.

use contracts::avro::datum::{Decoder, Event};
use contracts::event::{Catalog, Contract, ContractFiles, Envelope};
use contracts::{Rejection, RejectionCode};
use serde_json::{Value, json};

pub(crate) fn files(version: u32, schema: &str, record: Option<&Value>) -> ContractFiles {
    ContractFiles {
        name: "shop.order".to_owned(),
        version,
        schema_json: schema.to_owned(),
        record_avsc: record.map(Value::to_string),
        schema_id: None,
    }
}

/// A contract with its record derived, or what stops the boot.
pub(crate) fn compile(schema: &str) -> Result<Catalog, String> {
    Catalog::compile([files(1, schema, None)]).map_err(|error| error.0)
}

/// A payload of one field `x`, which is not required.
pub(crate) fn of_x(schema: &Value) -> Catalog {
    compile(&json!({"type": "object", "properties": {"x": schema}}).to_string()).unwrap()
}

/// A payload in EventFlow's own envelope.
pub(crate) fn body(payload: &str) -> String {
    format!(
        r#"{{"event_id":"e","event_type":"order","timestamp":"2026-01-02T03:04:05Z","payload":{payload}}}"#
    )
}

pub(crate) fn contract(catalog: &Catalog) -> &Contract {
    catalog.contract("shop.order").unwrap()
}

pub(crate) fn validate(catalog: &Catalog, payload: &str) -> Result<Vec<u8>, Rejection> {
    let mut datum = Vec::new();
    let body = body(payload);
    contract(catalog)
        .validate(Envelope::own(body.as_bytes())?)
        .map(|event| event.encode(&mut datum))?;
    Ok(datum)
}

/// The code and the pointer of what is wrong; `None` when it passes.
pub(crate) fn fault(catalog: &Catalog, payload: &str) -> Option<(RejectionCode, String)> {
    let rejection = validate(catalog, payload).err()?;
    Some((rejection.code, rejection.pointer.unwrap_or_default()))
}

/// What a consumer reads of a payload that passes.
pub(crate) fn read(catalog: &Catalog, payload: &str, check: impl FnOnce(&Event<'_>)) {
    let datum = validate(catalog, payload).unwrap();
    let decoder = Decoder::new(&contract(catalog).record_avsc).unwrap();
    check(&decoder.decode(&datum).unwrap());
}

pub(crate) fn payload_read(catalog: &Catalog, payload: &str) -> String {
    let mut read_payload = String::new();
    read(catalog, payload, |event| {
        read_payload.clone_from(&event.payload_json);
    });
    read_payload
}
