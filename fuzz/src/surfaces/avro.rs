//! Framed Avro, as a stage behind the validator reads it.

use contracts::avro::datum::Decoder;
use contracts::avro::framing;
use contracts::event::{Catalog, Mapping};
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// Every type there is, beside our contracts.
const ALL_TYPES: &str = include_str!("avro/all_types.avsc");

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);

static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(|| {
    let schemas = CATALOG.iter().map(|contract| contract.record_avsc.as_str());
    let decoder = |schema| Decoder::new(schema).unwrap_or_else(|error| panic!("{error}"));
    schemas.chain([ALL_TYPES]).map(decoder).collect()
});

pub(super) fn run(data: &[u8]) {
    let Ok((id, datum)) = framing::unframe(data) else {
        return;
    };
    let which = usize::try_from(id.unsigned_abs()).unwrap_or_default() % DECODERS.len();
    if let Ok(event) = DECODERS[which].decode(datum) {
        let payload: Result<&RawValue, _> = serde_json::from_str(&event.payload_json);
        assert!(
            event.payload_json.is_empty() || payload.is_ok(),
            "{}",
            event.payload_json
        );
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for body in super::body::examples() {
        if let Ok(envelope) = Mapping::own().find((), None, &body)
            && let Ok(valid) = CATALOG.validate(envelope)
        {
            let mut framed = Vec::new();
            framing::frame(
                i32::try_from(valid.contract().index).unwrap_or_default(),
                &mut framed,
            );
            valid.encode(&mut framed);
            found.push(framed);
        }
    }
    let mut zeros = Vec::new();
    framing::frame(
        i32::try_from(DECODERS.len() - 1).unwrap_or_default(),
        &mut zeros,
    );
    zeros.resize(200, 0);
    found.push(zeros);
    found
}
