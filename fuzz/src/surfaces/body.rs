//! A body in our own envelope, to the verdict of its contract, and through Avro.

use crate::examples::files;
use contracts::avro::datum::Decoder;
use contracts::event::{Catalog, Mapping};
use std::collections::HashMap;
use std::sync::LazyLock;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);

/// By label.
static DECODERS: LazyLock<HashMap<String, Decoder>> = LazyLock::new(|| {
    let decoder = |contract: &contracts::event::Contract| {
        let decoder = Decoder::new(&contract.record_avsc);
        let decoder = decoder.unwrap_or_else(|error| panic!("{}: {error}", contract.label));
        (contract.label.clone(), decoder)
    };
    CATALOG.iter().map(decoder).collect()
});

pub(super) fn run(data: &[u8]) {
    let Ok(envelope) = Mapping::own().find((), None, data) else {
        return;
    };
    let (id, event_type, micros) = (
        envelope.id.to_string(),
        envelope.event_type.to_string(),
        envelope.time_micros,
    );
    match CATALOG.validate(envelope) {
        Err(rejection) => assert!(!rejection.code.code().is_empty()),
        Ok(valid) => {
            let mut datum = Vec::new();
            valid.encode(&mut datum);
            let decoder = &DECODERS[&valid.contract().label];
            let event = decoder
                .decode(&datum)
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((event.event_id, event.event_type), (&*id, &*event_type));
            assert_eq!(event.occurred_at_micros, micros);
            let payload: Result<&serde_json::value::RawValue, _> =
                serde_json::from_str(&event.payload_json);
            assert!(payload.is_ok(), "{}", event.payload_json);
        }
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let bodies = files("events", ".json").into_iter();
    let examples =
        bodies.filter(|(path, _)| path.components().any(|part| part.as_os_str() == "examples"));
    examples.map(|(_, body)| body).collect()
}
