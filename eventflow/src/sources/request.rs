//! An HTTP request in a file, as a proxy's log, `curl -v` or a capture of the network has it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// A request that somebody captured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Captured {
    /// In capitals; POST where there is no request line
    pub(super) method: String,
    /// As sent, without the question mark
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    /// Byte for byte, but for the chunks that carried it
    pub(super) body: Vec<u8>,
    /// What had to be guessed, and what is missing
    pub(super) notes: Vec<String>,
}

impl Captured {
    /// Reads a request line (which may be missing), headers, an empty line and the body. The lines of the head end with LF or CRLF.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        // `curl -v` marks what it sent, what it received, and what it says itself.
        let is_curl = [&b"> "[..], b"* "]
            .iter()
            .any(|mark| file.starts_with(mark));
        let mut captured = Self {
            method: "POST".to_owned(),
            query: None,
            headers: HeaderMap::new(),
            body: Vec::new(),
            notes: Vec::new(),
        };
        let (mut rest, mut number, mut ended) = (file, 0, false);
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            rest = after;
            number += 1;
            let line = match line.strip_prefix(b">") {
                Some(sent) if is_curl => sent.trim_ascii_start(),
                None if is_curl => continue,
                Some(_) | None => line,
            };
            if line.is_empty() {
                ended = true;
                break;
            }
            captured
                .read_line(line, number == 1 || captured.headers.is_empty())
                .map_err(|problem| format!("line {number}: {problem}"))?;
        }
        if !ended {
            captured.notes.push(
                "there is no empty line after the headers, so the body is taken as empty"
                    .to_owned(),
            );
        }
        while is_curl
            && [&b"* "[..], b"< ", b"} ["]
                .iter()
                .any(|mark| rest.starts_with(mark))
        {
            rest = split_line(rest).1;
        }
        captured.take_body(rest);
        Ok(captured)
    }

    fn read_line(&mut self, line: &[u8], may_be_request: bool) -> Result<(), String> {
        if may_be_request && let Some((method, target)) = request_line(line) {
            method.clone_into(&mut self.method);
            self.query = target.split_once('?').map(|(_, query)| query.to_owned());
            return Ok(());
        }
        let (name, value) = header_of(line)?;
        self.headers.append(name, value);
        Ok(())
    }

    /// The body, without the chunks or the line end that came with it.
    fn take_body(&mut self, bytes: &[u8]) {
        let coding = self.headers.get(header::TRANSFER_ENCODING);
        if coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            match unchunked(bytes) {
                Some(body) => self.body = body,
                None => {
                    self.notes.push(
                        "transfer-encoding says chunked, and the body is not in chunks: it is taken as it is"
                            .to_owned(),
                    );
                    self.body = bytes.to_vec();
                }
            }
            return;
        }
        let length = self.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        self.body = match length {
            Some(length) if matches!(&bytes[length.min(bytes.len())..], b"\n" | b"\r\n") => {
                self.notes.push(
                    "the line end after the body is left out: content-length does not count it"
                        .to_owned(),
                );
                bytes[..length].to_vec()
            }
            Some(length) if length != bytes.len() => {
                self.notes.push(format!(
                    "the body in the file has {} bytes, and content-length says {length}: it is not the body that was sent",
                    bytes.len()
                ));
                bytes.to_vec()
            }
            Some(_) | None => bytes.to_vec(),
        };
    }
}

/// Headers alone, one a line; a request line before them and the marks of `curl -v` are left out.
///
/// # Errors
/// Names the line that cannot be read.
pub(super) fn headers(text: &[u8]) -> Result<HeaderMap, String> {
    Captured::parse(text).map(|captured| captured.headers)
}

/// One line without its end, and what comes after it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// Method and target of `POST /path?query HTTP/1.1`.
fn request_line(line: &[u8]) -> Option<(&str, &str)> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_version = words
        .next()
        .is_none_or(|version| version.starts_with("HTTP/"));
    (is_method && is_version && words.next().is_none()).then_some((method, target))
}

/// `name: value`, as bytes.
fn header_of(line: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    let shape = || "write it as \"name: value\"".to_owned();
    let at = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or_else(shape)?;
    let name = HeaderName::from_bytes(line[..at].trim_ascii()).map_err(|_| shape())?;
    let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
    Ok((name, value.map_err(|_| shape())?))
}

/// What the chunks of a body carry; `None` where it is not in whole chunks.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(bytes.len());
    loop {
        let (line, rest) = split_line(bytes);
        let size = std::str::from_utf8(line).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        let (end, rest) = split_line(&rest[size..]);
        if !end.is_empty() {
            return None;
        }
        bytes = rest;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn shown(file: &str) -> (String, Option<String>, Vec<(String, String)>, String, usize) {
        let captured = Captured::parse(file.as_bytes()).unwrap();
        let headers = captured.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (
            captured.method.clone(),
            captured.query.clone(),
            headers.collect(),
            String::from_utf8(captured.body).unwrap(),
            captured.notes.len(),
        )
    }

    #[test]
    fn one_request_is_the_same_from_a_proxy_curl_and_the_network() {
        let expected = (
            "POST".to_owned(),
            Some("a=1&b=2".to_owned()),
            vec![("x-a".to_owned(), "1:2".to_owned())],
            "{\n}".to_owned(),
            0,
        );
        for file in [
            "POST /api/webhooks/acme?a=1&b=2 HTTP/1.1\r\nX-A: 1:2\r\n\r\n{\n}",
            "POST https://example.com/hooks?a=1&b=2 HTTP/2\nx-a:1:2\n\n{\n}",
            "POST /hooks?a=1&b=2\nX-A:  1:2 \n\n{\n}",
            "* Connected to example.com\n> POST /hooks?a=1&b=2 HTTP/1.1\r\n> X-A: 1:2\r\n>\r\n* We are uploaded\n< HTTP/1.1 200 OK\n{\n}",
        ] {
            assert_eq!(shown(file), expected, "{file}");
        }
        let without = shown("x-a: 1\n\nbody");
        assert_eq!((without.0.as_str(), without.1), ("POST", None));
        assert_eq!(without.3, "body");
        assert_eq!(shown("GET /?q HTTP/1.1\nhost: h\n\n").0, "GET");
    }

    #[test]
    fn the_body_is_what_was_sent_and_not_what_carried_it() {
        for (head, bytes, body, notes) in [
            ("content-length: 3", "abc", "abc", 0),
            ("content-length: 3", "abc\n", "abc", 1),
            ("content-length: 3", "abc\r\n", "abc", 1),
            ("content-length: 3", "ab", "ab", 1),
            ("content-length: 3", "abcd", "abcd", 1),
            (
                "transfer-encoding: chunked",
                "2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
                "abc",
                0,
            ),
            ("transfer-encoding: chunked", "abc", "abc", 1),
            ("x: 1", "abc\n", "abc\n", 0),
        ] {
            let found = shown(&format!("POST / HTTP/1.1\n{head}\n\n{bytes}"));
            assert_eq!(
                (found.3.as_str(), found.4),
                (body, notes),
                "{head} {bytes:?}"
            );
        }
        assert_eq!(shown("x-a: 1").4, 1, "no empty line");
    }

    #[test]
    fn a_line_that_is_no_header_is_named() {
        for (file, line) in [
            ("POST / HTTP/1.1\nno header\n\n", "line 2: "),
            ("a: 1\n: 2\n\n", "line 2: "),
            ("{\"a\":1}", "line 1: "),
        ] {
            let problem = Captured::parse(file.as_bytes()).unwrap_err();
            assert!(problem.starts_with(line), "{file}: {problem}");
        }
    }
}
