//! The journal: one JSON line per delivery, what was sent and what was answered. Later checks read it, so it is complete or an error.

use crate::event::Fault;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One delivery.
#[derive(Debug, serde::Serialize)]
pub struct Line<'a> {
    /// Event id
    pub event_id: &'a str,
    /// Source it was posted to: the last part of the webhook's path
    pub source: &'a str,
    /// The fault it carried on purpose
    pub fault: Option<&'static str>,
    /// Its fate once accepted or refused: `stored`, `duplicate`, `dead_lettered <code>`, `refused <code>`
    pub expected: String,
    /// A 2xx came back at last
    pub ok: bool,
    /// Attempts made
    pub attempts: u32,
    /// Status of each attempt; null where no answer came
    pub statuses: &'a [Option<u16>],
    /// Code of the last answer, when it was a problem document
    pub code: Option<&'a str>,
}

impl Line<'_> {
    /// The `expected` of a fault, or of none.
    #[must_use]
    pub fn expected(fault: Option<Fault>) -> String {
        fault.map_or_else(|| "stored".to_owned(), |fault| fault.expected().to_string())
    }
}

/// A file of lines. It holds one buffer, never a queue.
#[derive(Debug)]
pub struct Journal {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl Journal {
    /// Starts an empty journal; a file of that name is replaced.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).map_err(|error| {
            anyhow::anyhow!("cannot write the journal {}: {error}", path.display())
        })?;
        Ok(Self {
            state: Mutex::new(State {
                file: BufWriter::new(file),
                failed: None,
            }),
        })
    }

    /// Adds a line. The first failure is logged at once, ends the writing and is returned by [`Self::finish`].
    pub fn write(&self, line: &Line<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut state.file, line)
            .map_err(io::Error::from)
            .and_then(|()| state.file.write_all(b"\n"));
        if let Err(error) = written {
            tracing::error!(event = "journal_write_failed", %error);
            state.failed = Some(error);
        }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When any line could not be written: the journal is then not complete.
    pub fn finish(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = state.file.flush();
        state
            .failed
            .take()
            .map_or(flushed, Err)
            .map_err(|error| anyhow::anyhow!("the journal is not complete: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_could_not_be_written_is_an_error() {
        // A full disk, at any size: https://man7.org/linux/man-pages/man4/full.4.html
        let journal = Journal::create(Path::new("/dev/full")).unwrap();
        let line = Line {
            event_id: "e",
            source: "s",
            fault: None,
            expected: Line::expected(None),
            ok: true,
            attempts: 1,
            statuses: &[Some(200)],
            code: None,
        };
        journal.write(&line);
        assert!(
            journal
                .finish()
                .unwrap_err()
                .to_string()
                .contains("not complete")
        );
    }
}
