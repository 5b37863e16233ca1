//! The listener: what is no request, what is too slow, and the end.

use crate::world::{EVENT, PATH, SECRET, now, sign, world};
use runtime::http::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_ambiguous_lengths_and_slow_headers_and_drains() {
    let world = world(&[], 1000).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        connections: 100,
        drain: Duration::from_secs(10),
    };
    let shutdown = world.shutdown.clone();
    let serving = runtime::http::serve(listener, world.app.clone(), limits, None, shutdown);
    let server = tokio::spawn(serving);
    let talk = async |bytes: Vec<u8>| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let signed: String = sign(EVENT.as_bytes(), SECRET, now())
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let smuggled = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\n{signed}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let answer = talk(smuggled.into_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400")
            && answer.contains("ambiguous_length")
            && answer.contains("connection: close"),
        "{answer}"
    );
    assert!(
        !talk(b"POST /api/webh".to_vec()).await.contains(" 200 "),
        "half a head is cut off"
    );
    for garbage in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST  HTTP/1.1\r\n\r\n",
    ] {
        let answer = talk(garbage.to_vec()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    world.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), server)
        .await
        .unwrap()
        .unwrap();
}
