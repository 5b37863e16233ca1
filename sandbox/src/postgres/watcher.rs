//! The end of a cluster with its owner, however the owner ends.

use super::PostgresError;
use super::process::{Programs, wait};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

/// Waits until the owner's end of the pipe closes, then leaves nothing. An `initdb` that outlives its owner may still be writing: then the
/// folder is not empty at its removal, and is removed again. A server that a test paused does not hear that it should stop.
const SCRIPT: &str = r#"cat >/dev/null
read -r server <"$2/data/postmaster.pid" && kill -CONT "$server"
"$1/pg_ctl" stop -m immediate -w -t 30 -s -D "$2/data"
for try in 1 2 3 4 5; do rm -rf "$2" && break; sleep 1; done"#;

/// A shell that stops the server and deletes its files when this process drops it or ends.
#[derive(Debug)]
pub(super) struct Watcher(Child);

impl Watcher {
    /// A process group of its own keeps a Ctrl-C at the terminal from it.
    pub(super) fn start(programs: &Programs) -> Result<Self, PostgresError> {
        let mut command = programs.command("sh");
        command
            .args(["-c", SCRIPT, "eventflow-postgres-watch"])
            .arg(&programs.folder)
            .arg(&programs.home);
        command
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = wait(&mut self.0) {
            tracing::debug!(event = "private_postgres_stop", %error);
        }
    }
}
