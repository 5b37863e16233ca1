//! HTTP/1.1 by hand on a kept connection: one write, as few reads as the answer needs.

use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that is reopened when it is gone.
pub(super) struct Wire {
    address: String,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Wire {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
            answer: vec![0; 16 << 10],
        }
    }

    /// Sends a request and reads the whole answer; its status, or none.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Option<u16> {
        let status = tokio::time::timeout(TIMEOUT, self.attempt(request))
            .await
            .ok()
            .flatten();
        if status.is_none() {
            self.stream = None;
        }
        status
    }

    async fn attempt(&mut self, request: &[u8]) -> Option<u16> {
        // Kept connections that the server closed meanwhile are replaced before anything is sent on them.
        let alive = |stream: &TcpStream| matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        let stream = match self.stream.take().filter(alive) {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await.ok()?;
                stream.set_nodelay(true).ok()?;
                stream
            }
        };
        let stream = self.stream.insert(stream);
        stream.write_all(request).await.ok()?;
        let mut filled = 0;
        loop {
            let read = stream.read(self.answer.get_mut(filled..)?).await.ok()?;
            if read == 0 {
                return None;
            }
            filled += read;
            if let Some(head) = parse_head(&self.answer[..filled]) {
                match head.length {
                    Some(length) if filled < length => continue,
                    Some(_) if !head.closes => {}
                    // Where the answer ends is not known, or the server announced that it closes.
                    _ => self.stream = None,
                }
                return Some(head.status);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Of head and body, when the head declares it
    length: Option<usize>,
    closes: bool,
}

/// The head, once it is complete.
fn parse_head(bytes: &[u8]) -> Option<Head> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            line.split_once(':')
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        })
    };
    let length = match header("content-length") {
        Some(length) => length
            .parse::<usize>()
            .ok()
            .and_then(|body| head_end.checked_add(body)),
        None => None,
    };
    Some(Head {
        status,
        length,
        closes: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_or_its_connection_is_given_up() {
        let head = |text: &str| parse_head(text.as_bytes());
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(
            head(ok),
            Some(Head {
                status: 200,
                length: Some(ok.len() + 2),
                closes: false
            })
        );
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), None);
        let busy = "HTTP/1.1 503 X\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(
            head(busy),
            Some(Head {
                status: 503,
                length: None,
                closes: true
            })
        );
    }
}
