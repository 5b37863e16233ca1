//! Where in a connection's bytes a request ends and the next begins (RFC 9112, sections 2 and 6), to know which request has both lengths.
//!
//! hyper reads the same bytes and decides what a request is. Whatever hyper accepts ends here at the same byte; what it refuses may end
//! elsewhere, since then the connection closes.

use std::io;

/// Longest line. hyper's buffer for a head is no larger, nor is what it takes for a chunk's extensions or the trailers.
const LINE_BYTES: usize = super::READ_BUFFER_BYTES;

/// The place in a connection's bytes.
#[derive(Debug, Default)]
pub(super) struct Borders {
    at: At,
    /// The begin of a line whose end is not read yet
    line: Vec<u8>,
    head: Head,
    /// Requests whose head is complete
    heads: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// So many bytes of a body with Content-Length are left
    Body(u64),
    ChunkSize,
    /// So many bytes are left of a chunk and the line end after it
    Chunk(u64),
    Trailers,
    /// No further request is read on this connection
    End,
}

/// What the head so far says.
#[derive(Debug, Default)]
struct Head {
    request_line: bool,
    content_length: Option<Option<u64>>,
    transfer_encoding: bool,
}

impl Borders {
    /// True inside a request's head; a connection begins inside its first.
    pub(super) fn in_head(&self) -> bool {
        self.at == At::Head && (self.heads == 0 || self.head.request_line || !self.line.is_empty())
    }

    /// Takes the next bytes. Answers the number (from 0) of the request in them that has both lengths; nothing after it is looked at, since
    /// hyper reads no further request.
    ///
    /// # Errors
    /// A chunked body that is not as RFC 9112 has it: where it ends would be a guess.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> io::Result<Option<u64>> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::End => break,
                At::Body(left) | At::Chunk(left) => {
                    let taken =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= taken as u64;
                    bytes = &bytes[taken..];
                    self.at = match self.at {
                        At::Body(0) => At::Head,
                        At::Chunk(0) => At::ChunkSize,
                        elsewhere => elsewhere,
                    };
                }
                At::Head | At::ChunkSize | At::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        if self.line.len() + bytes.len() > LINE_BYTES {
                            self.at = At::End;
                        } else {
                            self.line.extend_from_slice(bytes);
                        }
                        break;
                    };
                    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    if self.line.is_empty() {
                        self.end_line(line)?;
                    } else {
                        let mut whole = std::mem::take(&mut self.line);
                        whole.extend_from_slice(line);
                        self.end_line(&whole)?;
                        whole.clear();
                        self.line = whole;
                    }
                    if self.at == At::End && self.head.both() {
                        return Ok(Some(self.heads - 1));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A line without its `\n`. A head's lines may end in that alone; those of a chunked body may not.
    fn end_line(&mut self, line: &[u8]) -> io::Result<()> {
        let stripped = line.strip_suffix(b"\r");
        self.at = match self.at {
            At::Head => self.head_line(stripped.unwrap_or(line)),
            At::ChunkSize => match stripped.and_then(chunk_size).ok_or_else(malformed)? {
                0 => At::Trailers,
                size => At::Chunk(size.checked_add(2).ok_or_else(malformed)?),
            },
            At::Trailers => match stripped.ok_or_else(malformed)? {
                b"" => At::Head,
                _ => At::Trailers,
            },
            elsewhere => elsewhere,
        };
        Ok(())
    }

    fn head_line(&mut self, line: &[u8]) -> At {
        if !self.head.request_line {
            // Empty lines before a request are skipped.
            self.head.request_line = !line.is_empty();
            return At::Head;
        }
        if !line.is_empty() {
            self.head.header(line);
            return At::Head;
        }
        self.heads += 1;
        if self.head.both() {
            return At::End;
        }
        let head = std::mem::take(&mut self.head);
        match (head.transfer_encoding, head.content_length) {
            (true, _) => At::ChunkSize,
            (false, None | Some(Some(0))) => At::Head,
            (false, Some(Some(length))) => At::Body(length),
            // hyper answers 400 and closes.
            (false, Some(None)) => At::End,
        }
    }
}

impl Head {
    fn both(&self) -> bool {
        self.transfer_encoding && self.content_length.is_some()
    }

    fn header(&mut self, line: &[u8]) {
        // Few names have their colon there.
        match (line.get(14), line.get(17)) {
            (Some(b':'), _) if line[..14].eq_ignore_ascii_case(b"content-length") => {
                let length = digits(line[15..].trim_ascii());
                self.content_length = match self.content_length {
                    None => Some(length),
                    Some(before) => Some(before.filter(|before| Some(*before) == length)),
                };
            }
            (_, Some(b':')) if line[..17].eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding = true;
            }
            _ => {}
        }
    }
}

/// A number of digits only: Rust's own parser takes a sign, too.
fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let only = text.bytes().all(|byte| byte.is_ascii_digit());
    only.then(|| text.parse().ok()).flatten()
}

/// The size of a chunk, before its extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
    let (size, rest) = line.split_at(end.unwrap_or(line.len()));
    if size.is_empty() || !matches!(rest.first(), None | Some(b';' | b' ' | b'\t')) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed chunk")
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    pub(in crate::http) const BOTH: &str =
        "POST /b HTTP/1.1\r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n";
    /// Whole requests with one length or none, among them bodies and trailers that look like a head with both.
    pub(in crate::http) const PLAIN: &[&str] = &[
        "GET / HTTP/1.1\r\n\r\n",
        "\r\n\nGET /lines HTTP/1.1\nhost: x\n\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: \t 3 \r\nx-transfer-encoding: chunked\r\n\r\nabc",
        "POST / HTTP/1.1\r\ncontent-length:3\r\nContent-Length: 3\r\n\r\n\r\n\n",
        "POST / HTTP/1.1\r\ncontent-length: 62\r\n\r\nPOST x HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n5;a=\"b\"\r\nabcde\r\n0A \r\n0123456789\r\n000\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3e\r\nPOST x HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n\r\n\r\n0\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n",
    ];

    /// What is found when the bytes arrive in these parts, and the state after them.
    fn found(parts: &[&[u8]]) -> (Option<u64>, Borders) {
        let mut borders = Borders::default();
        let found: Vec<_> = parts
            .iter()
            .filter_map(|part| borders.read(part).unwrap())
            .collect();
        assert!(found.len() <= 1, "{found:?}");
        (found.first().copied(), borders)
    }

    #[test]
    fn the_request_with_both_lengths_is_found_wherever_the_bytes_are_split() {
        for first in PLAIN {
            for second in PLAIN {
                let plain = [*first, second].concat();
                let all = [&plain, BOTH, PLAIN[0]].concat();
                for split in 0..=all.len() {
                    let (before, after) = all.as_bytes().split_at(split);
                    assert_eq!(found(&[before, after]).0, Some(2), "{split} of {all:?}");
                }
                let bytes: Vec<_> = all.as_bytes().chunks(1).collect();
                assert_eq!(found(&bytes).0, Some(2), "byte by byte: {all:?}");
                for split in 0..=plain.len() {
                    let (before, after) = plain.as_bytes().split_at(split);
                    let (both, borders) = found(&[before, after]);
                    assert_eq!((both, borders.heads), (None, 2), "{split} of {plain:?}");
                    assert!(borders.at == At::Head && !borders.in_head(), "{plain:?}");
                }
            }
        }
    }

    #[test]
    fn a_head_is_open_from_its_first_byte_to_its_empty_line() {
        let mut borders = Borders::default();
        for (bytes, open) in [
            ("", true),
            ("\r\n", true),
            ("P", true),
            ("OST / HTTP/1.1\r\n", true),
            ("content-length: 2\r\n\r", true),
            ("\n", false),
            ("a", false),
            ("b", false),
            ("\r\n", false),
            ("GET", true),
        ] {
            borders.read(bytes.as_bytes()).unwrap();
            assert_eq!(borders.in_head(), open, "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_ends_the_connection_or_the_looking() {
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        for body in [
            "x\r\n",
            "\r\n",
            "1\n",
            "-1\r\n",
            "1z\r\n",
            "fffffffffffffffff\r\n",
            "0\r\n\n",
            "0\r\na: b\n",
        ] {
            let mut borders = Borders::default();
            let read = borders.read(format!("{chunked}{body}").as_bytes());
            assert_eq!(
                read.unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{body:?}"
            );
        }
        for length in [
            "x",
            "+1",
            "1, 2",
            "99999999999999999999",
            "1\r\ncontent-length: 2",
        ] {
            let head = format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{BOTH}");
            let (both, borders) = found(&[head.as_bytes()]);
            assert_eq!((both, borders.at), (None, At::End), "{length:?}");
        }
        let (_, borders) = found(&[&[b'x'; LINE_BYTES], b"x"]);
        assert_eq!(borders.at, At::End, "a line is kept up to the longest head");
    }
}
