//! What happened in a run and when, line by line, and how often.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Shared by all who have something to note.
#[derive(Debug, Clone)]
pub(crate) struct RunLog(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: File,
    started: Instant,
    faults: BTreeMap<String, u64>,
    /// Faults that this machine or this moment did not allow
    skipped: u64,
    /// How processes ended that nobody killed from here
    ends: BTreeMap<String, u64>,
}

impl RunLog {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(State {
            file: File::create(path)?,
            started: Instant::now(),
            faults: BTreeMap::new(),
            skipped: 0,
            ends: BTreeMap::new(),
        }))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a line with the time since the start.
    pub(crate) fn note(&self, text: &str) {
        self.with(|state| {
            let at = state.started.elapsed().as_secs_f64();
            let written = writeln!(state.file, "{at:8.3} s  {text}");
            if let Err(error) = written {
                tracing::warn!(event = "run_log_not_written", %error, text);
            }
        });
    }

    /// Counts a fault, by its kind.
    pub(crate) fn count_fault(&self, kind: &str) {
        self.with(|state| *state.faults.entry(kind.to_owned()).or_default() += 1);
    }

    /// Counts a fault that could not be made.
    pub(crate) fn count_skipped(&self) {
        self.with(|state| state.skipped += 1);
    }

    /// Counts the end of a process.
    pub(crate) fn count_end(&self, status: ExitStatus) {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        self.with(|state| *state.ends.entry(how).or_default() += 1);
    }

    /// Faults by kind.
    pub(crate) fn faults(&self) -> BTreeMap<String, u64> {
        self.with(|state| state.faults.clone())
    }

    /// Faults that could not be made.
    pub(crate) fn skipped(&self) -> u64 {
        self.with(|state| state.skipped)
    }

    /// How processes ended by themselves.
    pub(crate) fn ends(&self) -> BTreeMap<String, u64> {
        self.with(|state| state.ends.clone())
    }
}
