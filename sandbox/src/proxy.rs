//! A TCP proxy between a client and a server of a test: a slow network, or an address that moves to another server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Forwards every connection. Ends with the runtime it was started in.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<String>>,
}

impl Proxy {
    /// To `server` (`host:port`); whatever is sent arrives this much later, in either direction.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(server: &str, delay: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Self {
            address: listener.local_addr()?,
            server: Arc::new(Mutex::new(server.to_owned())),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = accepting.server();
                tokio::spawn(forward(client, server, delay));
            }
        });
        Ok(proxy)
    }

    /// `host:port` of the proxy.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on new connections go to this server; those that are open stay where they are, as after a change in DNS.
    pub fn point_to(&self, server: &str) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server.to_owned();
    }

    fn server(&self) -> String {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Either end closes both, as one connection would.
async fn forward(client: TcpStream, server: String, delay: Duration) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    // What is small and alone would wait for an acknowledgement.
    for stream in [&client, &server] {
        if stream.set_nodelay(true).is_err() {
            return;
        }
    }
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, delay) => {}
        () = pass(from_server, to_client, delay) => {}
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, mut late) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let due = Instant::now() + delay;
            if sender.send((due, bytes[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = late.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}
