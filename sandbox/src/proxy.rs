//! A TCP proxy between a client and a server: a slow, silent or cut network, or an address that moves to another server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How the network between client and server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Whatever is sent arrives this much later, in either direction
    Open(Duration),
    /// Connections stay open, and nothing arrives until it is open again
    Silent,
    /// Connections are closed, and no new one is accepted
    Cut,
}

/// Forwards every connection. Ends with the runtime it was started in.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<String>>,
    link: Arc<watch::Sender<Link>>,
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
            link: Arc::new(watch::Sender::new(Link::Open(delay))),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let link = accepting.link.subscribe();
                tokio::spawn(forward(client, accepting.server(), link));
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

    /// Changes the network, for open connections too.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    fn server(&self) -> String {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Either end closes both, as one connection would.
async fn forward(client: TcpStream, server: String, mut link: watch::Receiver<Link>) {
    // A silent network does not even connect.
    match link.wait_for(|link| *link != Link::Silent).await {
        Ok(now) if *now != Link::Cut => {}
        _ => return,
    }
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
    let (up, down) = (link.clone(), link.clone());
    tokio::select! {
        () = pass(from_client, to_server, up) => {}
        () = pass(from_server, to_client, down) => {}
        _ = link.wait_for(|link| *link == Link::Cut) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
) {
    let (sender, mut late) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let sent = (Instant::now(), bytes[..count].to_vec());
            if sender.send(sent).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((sent, bytes)) = late.recv().await {
            arrival(sent, &mut link).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}

/// Waits until what was sent then arrives. Nothing arrives by a link that is cut: its connections end.
async fn arrival(sent: Instant, link: &mut watch::Receiver<Link>) {
    loop {
        let now = *link.borrow_and_update();
        let due = async {
            match now {
                Link::Open(delay) => tokio::time::sleep_until(sent + delay).await,
                Link::Silent | Link::Cut => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => return,
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        address
    }

    async fn answer(client: &mut TcpStream, within: Duration) -> Option<u8> {
        tokio::time::timeout(within, client.read_u8())
            .await
            .ok()?
            .ok()
    }

    const SOON: Duration = Duration::from_secs(30);
    const NOT_YET: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_silent_link_holds_back_what_a_later_open_one_delivers() {
        let proxy = Proxy::start(&echo().await, Duration::ZERO).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_u8(1).await.unwrap();
        assert_eq!(answer(&mut client, SOON).await, Some(1));
        proxy.set(Link::Silent);
        client.write_u8(2).await.unwrap();
        assert_eq!(answer(&mut client, NOT_YET).await, None);
        proxy.set(Link::Open(Duration::ZERO));
        assert_eq!(answer(&mut client, SOON).await, Some(2));
    }

    #[tokio::test]
    async fn a_cut_link_closes_connections_and_takes_no_new_one_until_it_is_open() {
        let proxy = Proxy::start(&echo().await, Duration::ZERO).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_u8(1).await.unwrap();
        assert_eq!(answer(&mut client, SOON).await, Some(1));
        proxy.set(Link::Cut);
        let ended = tokio::time::timeout(SOON, client.read_u8()).await.unwrap();
        assert!(ended.is_err(), "closed");
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        let ended = tokio::time::timeout(SOON, refused.read_u8()).await.unwrap();
        assert!(ended.is_err(), "closed at once");
        proxy.set(Link::Open(Duration::ZERO));
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_u8(2).await.unwrap();
        assert_eq!(answer(&mut client, SOON).await, Some(2));
    }
}
