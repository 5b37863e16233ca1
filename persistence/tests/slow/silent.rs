//! A database that says nothing: the stage is not kept waiting for TCP to give up.

use crate::world::{handle, stage, value};
use runtime::consumer::Outcome;
use sandbox::postgres::PrivatePostgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_is_waited_for_with_a_deadline_and_then_stores_the_batch_once() {
    let postgres = PrivatePostgres::start(false).unwrap();
    let (armed, server) = (Arc::new(AtomicBool::new(false)), postgres.address());
    let address = proxy(server.clone(), Arc::clone(&armed)).await;
    let stage = stage(&postgres.url().replace(&server, &address)).await;
    let batch = vec![value("e0", "o", "1")];
    armed.store(true, Ordering::SeqCst);
    let (stage, outcomes) = handle(stage, batch.clone()).await;
    let error = outcomes.unwrap_err();
    assert!(
        !error.must_stop() && error.code() == "database_timeout",
        "{error}"
    );
    armed.store(false, Ordering::SeqCst);
    let (_, outcomes) = handle(stage, batch).await;
    assert!(matches!(outcomes.unwrap().as_slice(), [Outcome::Done]));
}
