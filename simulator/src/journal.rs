//! The journal of what was sent and what was answered: `eventflow verify` judges a run by it.
//!
//! A file of JSON lines, only ever appended to. A request has two lines. The first is written before the request goes out, the second when its
//! answer is there, or is known not to come; each is handed to the operating system at once, so that a killed client leaves the lines of all
//! that it sent. `docs/VERIFY.md` describes the fields for those who write journals of their own.

use crate::event::Fault;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A request, before it goes out. A request that is sent again is one of its own.
#[derive(Debug)]
pub struct Sent<'a> {
    /// Source it is posted to
    pub source: &'a str,
    /// Where it is posted
    pub url: &'a str,
    /// As it is sent
    pub body: &'a [u8],
    /// Names and values, in order. Never a secret: see [`Vendor`](crate::vendor::Vendor)
    pub headers: &'a [(String, String)],
    /// Where its events are in the body
    pub items: Items<'a>,
    /// Its fate once accepted, or the code of its refusal; see [`expected`]
    pub expect: &'a str,
    /// Its events: one or several
    pub events: &'a [(&'a str, &'a str)],
}

/// Where the events of a request are in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items<'a> {
    /// The body is one
    Body,
    /// Each line is one
    Lines,
    /// The items of the array at this JSON pointer
    At(&'a str),
}

/// What becomes of a request with this fault, or with none: `stored`, `duplicate`, `dead_lettered CODE`, or `refused CODE`.
#[must_use]
pub fn expected(fault: Option<Fault>) -> String {
    fault.map_or_else(|| "stored".to_owned(), |fault| fault.expected().to_string())
}

#[derive(Serialize)]
struct SentLine<'a> {
    at_micros: i64,
    n: u64,
    source: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    headers: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<&'a str>,
    expect: &'a str,
    events: Vec<EventLine<'a>>,
}

#[derive(Serialize)]
struct EventLine<'a> {
    event_id: &'a str,
    event_type: &'a str,
}

#[derive(Serialize)]
struct AnsweredLine<'a> {
    at_micros: i64,
    n: u64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Status {
    Code(u16),
    /// `error`: no answer came
    None(&'static str),
}

/// A file of lines. It holds no queue.
#[derive(Debug)]
pub struct Journal {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    next: u64,
    line: Vec<u8>,
    failed: Option<io::Error>,
}

impl Journal {
    /// Opens a journal, to be continued where it ends. A line that was cut off by the end of its writer stays, and ends here.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = |error: io::Error| {
            anyhow::anyhow!("cannot write the journal {}: {error}", path.display())
        };
        let file = open(path).map_err(cannot)?;
        Ok(Self {
            state: Mutex::new(State {
                file,
                // Numbers of a later run are higher: no run sends a million requests a second.
                next: u64::try_from(runtime::clock::now_micros()).unwrap_or_default(),
                line: Vec::new(),
                failed: None,
            }),
        })
    }

    /// Notes a request that is about to go out; its number, for the answer.
    pub fn sent(&self, sent: &Sent<'_>) -> u64 {
        let text = std::str::from_utf8(sent.body).ok();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let n = state.next;
        state.next += 1;
        state.write(&SentLine {
            at_micros: runtime::clock::now_micros(),
            n,
            source: sent.source,
            url: sent.url,
            body: text,
            body_base64: text.is_none().then(|| base64(sent.body)),
            headers: sent.headers,
            items: match sent.items {
                Items::Body => None,
                Items::Lines => Some("lines"),
                Items::At(pointer) => Some(pointer),
            },
            expect: sent.expect,
            events: sent
                .events
                .iter()
                .map(|&(event_id, event_type)| EventLine {
                    event_id,
                    event_type,
                })
                .collect(),
        });
        n
    }

    /// Notes what a request was answered: the status, or none, and the code of a problem document.
    pub fn answered(&self, n: u64, status: Option<u16>, code: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.write(&AnsweredLine {
            at_micros: runtime::clock::now_micros(),
            n,
            status: status.map_or(Status::None("error"), Status::Code),
            code,
        });
    }

    /// Says whether all was written.
    ///
    /// # Errors
    /// When any line could not be written: the journal is then not complete.
    pub fn finish(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed.take().map_or(Ok(()), |error| {
            Err(anyhow::anyhow!("the journal is not complete: {error}"))
        })
    }
}

impl State {
    /// Adds a line by one write, which a kill does not take back. The first failure is logged at once and ends the writing.
    fn write(&mut self, line: &impl Serialize) {
        if self.failed.is_some() {
            return;
        }
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, line)
            .map_err(io::Error::from)
            .and_then(|()| {
                self.line.push(b'\n');
                self.file.write_all(&self.line)
            });
        if let Err(error) = written {
            tracing::error!(event = "journal_write_failed", %error);
            self.failed = Some(error);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    // Devices have no length.
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn base64(body: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sent<'a>(body: &'a [u8], headers: &'a [(String, String)]) -> Sent<'a> {
        Sent {
            source: "s",
            url: "http://e/api/webhooks/s",
            body,
            headers,
            items: Items::Body,
            expect: "stored",
            events: &[("e-1", "t")],
        }
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or(Value::Null);
        text.lines().map(parse).collect()
    }

    #[test]
    fn a_request_is_in_the_file_before_its_answer_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let journal = Journal::open(file.path()).unwrap();
        let headers = [("x-signature".to_owned(), "abc".to_owned())];
        let n = journal.sent(&sent(b"{\"a\":1.50}", &headers));
        let written = lines(file.path());
        assert_eq!(written.len(), 1);
        assert_eq!(
            (&written[0]["n"], &written[0]["body"], &written[0]["events"]),
            (
                &json!(n),
                &json!("{\"a\":1.50}"),
                &json!([{"event_id": "e-1", "event_type": "t"}])
            )
        );
        assert_eq!(written[0]["headers"], json!([["x-signature", "abc"]]));
        journal.answered(n, Some(503), Some("draining"));
        journal.answered(n + 1, None, None);
        let written = lines(file.path());
        assert_eq!(
            (&written[1]["n"], &written[1]["status"], &written[1]["code"]),
            (&json!(n), &json!(503), &json!("draining"))
        );
        assert_eq!(written[2]["status"], "error");
        journal.finish().unwrap();
    }

    #[test]
    fn a_journal_is_continued_after_a_line_that_was_cut_off() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"n\":1}\n{\"at_micros\":17").unwrap();
        let journal = Journal::open(file.path()).unwrap();
        let n = journal.sent(&sent(&[0xff, 0xfe], &[]));
        let written = lines(file.path());
        assert_eq!((written.len(), &written[1]), (3, &Value::Null));
        assert_eq!(written[2]["body_base64"], "//4=");
        let again = Journal::open(file.path()).unwrap();
        assert!(again.sent(&sent(b"", &[])) > n, "numbers are of one run");
        assert_eq!(lines(file.path()).len(), 4);
    }

    #[test]
    fn a_journal_that_could_not_be_written_is_an_error() {
        // A full disk, at any size: https://man7.org/linux/man-pages/man4/full.4.html
        let journal = Journal::open(Path::new("/dev/full")).unwrap();
        journal.sent(&sent(b"{}", &[]));
        assert!(
            journal
                .finish()
                .unwrap_err()
                .to_string()
                .contains("not complete")
        );
    }
}
