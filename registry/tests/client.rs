//! The client every role uses, over real HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

use contracts::event::Catalog;
use contracts::kafka::topics;
use runtime::config::ProcessArgs;
use runtime::health::Health;
use runtime::registry::{Registry, RegistryArgs, RegistryError};
use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_subject, get_schema_by_subject_and_version,
};
use schema_registry_converter::schema_registry_common::SubjectNameStrategy;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Served {
    url: String,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

async fn serve() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let config = registry::Config {
        listen: listener.local_addr().unwrap(),
        contracts: None,
        topic_validated: topics::VALIDATED.to_owned(),
        process: ProcessArgs::default(),
    };
    let end = stop.clone();
    let server = tokio::spawn(async move {
        runtime::role::serve(&config, listener, Health::starting(), end).await
    });
    Served { url, stop, server }
}

#[tokio::test]
async fn schema_registry_converter_finds_every_contract_both_ways() {
    let served = serve().await;
    let settings = SrSettings::new_builder(served.url.clone())
        .build_with(runtime::http_client::builder())
        .unwrap();
    let encoder = AvroEncoder::new(settings.clone());
    let decoder = AvroDecoder::new(settings.clone());
    for contract in Catalog::builtin().iter() {
        let strategy = SubjectNameStrategy::TopicRecordNameStrategy(
            topics::VALIDATED.to_owned(),
            contract.record_name.clone(),
        );
        let subject = strategy.get_subject().unwrap();
        let known = encoder
            .get_schema_and_id(&subject, strategy.clone())
            .await
            .unwrap();
        assert_eq!(i32::try_from(known.id).ok(), contract.schema_id);
        assert_eq!(known.raw, contract.record_avsc);
        let read = decoder.get_schema(known.id).await.unwrap();
        assert_eq!((read.id, &read.raw), (known.id, &contract.record_avsc));
        let latest = get_schema_by_subject(&settings, &strategy).await.unwrap();
        let first = get_schema_by_subject_and_version(&settings, &subject, Some(1))
            .await
            .unwrap();
        assert_eq!(
            (latest.id, latest.version, first.id),
            (known.id, Some(1), known.id)
        );
    }
    let error = decoder.get_schema(99).await.unwrap_err();
    assert!(
        !error.retriable && error.to_string().contains("40403"),
        "{error}"
    );
    served.stop.cancel();
    served.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_roles_client_registers_and_decodes() {
    let served = serve().await;
    let mut client = Registry::new(&RegistryArgs::at(served.url.clone())).unwrap();
    for contract in Catalog::builtin().iter() {
        for _ in 0..2 {
            let id = client
                .register(
                    topics::VALIDATED,
                    &contract.record_name,
                    &contract.record_avsc,
                )
                .await
                .unwrap();
            assert_eq!(
                Some(id),
                contract.schema_id,
                "registering again answers the same id"
            );
            assert!(client.decoder(id).await.is_ok());
        }
    }
    assert!(matches!(
        client.decoder(99).await,
        Err(RegistryError::UnknownId(99))
    ));
    let refused = client
        .register(
            "other",
            "a.B",
            r#"{"type":"record","name":"a.B","fields":[]}"#,
        )
        .await;
    assert!(
        matches!(&refused, Err(RegistryError::Unavailable(why)) if why.contains("contracts are data")),
        "{refused:?}"
    );
    served.stop.cancel();
    served.server.await.unwrap().unwrap();
}
