//! Values made from files, recreated while the role runs: when the files change, or at once on SIGHUP.
//!
//! The files are read every second and compared by digest, instead of waiting for the kernel to say that they changed: Kubernetes replaces a
//! mounted secret by swapping a symbolic link two levels up, editors replace the file under its name, and network file systems say nothing.
//! Contents are the same question everywhere. A change is taken when two looks in a row see the same, so that half a file is not; SIGHUP is
//! somebody's word that the files are whole.
//!
//! A value that cannot be made changes nothing: the old one stays whole, and `/ready` and `eventflow_reload_refused` say so.

use crate::config_error::ConfigError;
use crate::health::Health;
use crate::metrics::{RELOAD_REFUSED, RELOADS};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The present value. All clones are the same one.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// One that is not watched.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value as it is now. Who holds it keeps it: what began with one value ends with it.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// The files that one value was made from, and a digest of what was in each; none of one that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesRead(Vec<(PathBuf, Option<[u8; 32]>)>);

impl FilesRead {
    /// Reads a file, and remembers it.
    ///
    /// # Errors
    /// As [`std::fs::read`]; a file that is not there is remembered, too.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = std::fs::read(path);
        let digest = content
            .as_ref()
            .ok()
            .map(|bytes| Sha256::digest(bytes).into());
        self.0.push((path.to_owned(), digest));
        content
    }

    /// The same files as they are now.
    fn look(&self) -> Self {
        let mut now = Self::default();
        for (path, _) in &self.0 {
            now.read(path).ok();
        }
        now
    }
}

type Load<T> = Box<dyn FnMut(Option<&T>, &mut FilesRead) -> Result<T, ConfigError> + Send>;

/// Watches the files of one [`Live`] value.
pub struct Reload<T> {
    /// In `/ready`, the log and the metrics
    what: &'static str,
    live: Live<T>,
    files: FilesRead,
    /// Another state of them, seen once
    unsettled: Option<FilesRead>,
    load: Load<T>,
}

impl<T> std::fmt::Debug for Reload<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reload")
            .field("what", &self.what)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Reload<T> {
    /// Makes the first value. `load` is given the value before, if there is one, and reads every file through [`FilesRead`]; `what` is one
    /// snake_case word.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn new(
        what: &'static str,
        mut load: impl FnMut(Option<&T>, &mut FilesRead) -> Result<T, ConfigError> + Send + 'static,
    ) -> Result<Self, ConfigError> {
        let mut files = FilesRead::default();
        let live = Live::new(load(None, &mut files)?);
        Ok(Self {
            what,
            live,
            files,
            unsettled: None,
            load: Box::new(load),
        })
    }

    /// The value that is watched.
    #[must_use]
    pub fn live(&self) -> Live<T> {
        self.live.clone()
    }

    /// Watches until `shutdown`.
    pub async fn run(self, health: Health, shutdown: CancellationToken) {
        let (what, mut reload) = (self.what, self);
        let refused = metrics::gauge!(RELOAD_REFUSED, "what" => what);
        refused.set(0.0);
        for outcome in ["taken", "refused"] {
            metrics::counter!(RELOADS, "what" => what, "outcome" => outcome).increment(0);
        }
        let mut asked = Hangups::new();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => false,
                () = asked.next() => true,
            };
            // A file may be on a network, and take its time.
            let work = tokio::task::spawn_blocking(move || {
                let outcome = reload.attempt(now);
                (reload, outcome)
            });
            let outcome;
            (reload, outcome) = match work.await {
                Ok(done) => done,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The process ends.
                Err(_) => return,
            };
            let (word, problem) = match outcome {
                None => continue,
                Some(Ok(())) => {
                    tracing::info!(event = "reloaded", what);
                    ("taken", None)
                }
                Some(Err(error)) => (
                    "refused",
                    Some(format!("{error}; what was there before stays in use")),
                ),
            };
            refused.set(f64::from(u8::from(problem.is_some())));
            metrics::counter!(RELOADS, "what" => what, "outcome" => word).increment(1);
            health.warn(what, problem);
        }
    }

    /// Loads when the files have changed and settled, or `now`; none when there is nothing to do.
    fn attempt(&mut self, now: bool) -> Option<Result<(), ConfigError>> {
        let seen = self.files.look();
        if !now && (seen == self.files || self.unsettled.as_ref() != Some(&seen)) {
            self.unsettled = Some(seen).filter(|seen| *seen != self.files);
            return None;
        }
        self.unsettled = None;
        let mut files = FilesRead::default();
        let loaded = (self.load)(Some(&self.live.get()), &mut files);
        self.files = files;
        Some(loaded.map(|value| self.live.set(value)))
    }
}

/// The signals by which a person asks for a reload at once.
struct Hangups(Option<tokio::signal::unix::Signal>);

impl Hangups {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::hangup()) {
            Ok(hangups) => Self(Some(hangups)),
            Err(error) => {
                tracing::warn!(event = "no_sighup", %error, "files are still looked at every second");
                Self(None)
            }
        }
    }

    /// Pends where there are none.
    async fn next(&mut self) {
        match &mut self.0 {
            Some(hangups) => {
                hangups.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    /// The text of a file; `bad` cannot be used.
    fn text_of(path: PathBuf) -> Reload<String> {
        Reload::new("test", move |_, files: &mut FilesRead| {
            let read = files.read(&path).map_err(|error| error.to_string());
            let text = read.map(|bytes| String::from_utf8(bytes).unwrap());
            match text {
                Ok(text) if text != "bad" => Ok(text),
                other => Err(ConfigError::new("--file", format!("{other:?}"))),
            }
        })
        .unwrap()
    }

    #[test]
    fn a_change_is_taken_when_two_looks_see_the_same_and_at_once_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let mut reload = text_of(path.clone());
        let live = reload.live();
        assert!(reload.attempt(false).is_none());
        std::fs::write(&path, "tw").unwrap();
        assert!(reload.attempt(false).is_none(), "seen once");
        std::fs::write(&path, "two").unwrap();
        assert!(reload.attempt(false).is_none(), "it was being written");
        let before = live.get();
        assert!(reload.attempt(false).unwrap().is_ok());
        assert_eq!((&**before, &**live.get()), ("one", "two"));
        std::fs::write(&path, "three").unwrap();
        assert!(reload.attempt(true).unwrap().is_ok());
        assert_eq!(*live.get(), "three");
        assert!(reload.attempt(false).is_none(), "nothing has changed since");
    }

    #[test]
    fn what_cannot_be_used_leaves_the_old_value_and_is_tried_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let mut reload = text_of(path.clone());
        let settle = |reload: &mut Reload<String>| {
            assert!(reload.attempt(false).is_none());
            reload.attempt(false)
        };
        std::fs::write(&path, "bad").unwrap();
        assert!(settle(&mut reload).unwrap().is_err());
        assert!(settle(&mut reload).is_none(), "not again and again");
        std::fs::remove_file(&path).unwrap();
        assert!(settle(&mut reload).unwrap().is_err());
        assert_eq!(*reload.live().get(), "one");
        std::fs::write(&path, "two").unwrap();
        assert!(settle(&mut reload).unwrap().is_ok());
        assert_eq!(*reload.live().get(), "two");
    }

    /// `secret -> ..data/secret`, `..data -> <version>`: the kubelet renames a new `..data` over the old one.
    #[test]
    fn a_secret_that_kubernetes_swaps_is_seen() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("secret"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/secret", at("secret")).unwrap();
        let mut reload = text_of(at("secret"));
        symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(reload.attempt(false).is_none());
        assert!(reload.attempt(false).unwrap().is_ok());
        assert_eq!(*reload.live().get(), "new");
    }

    #[tokio::test]
    async fn sighup_loads_again_though_nothing_has_changed() {
        use std::sync::atomic::{AtomicU32, Ordering};
        // It must not end the test before it is listened to.
        let _first = Hangups::new();
        let loads = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&loads);
        let reload = Reload::new("test", move |_, _: &mut FilesRead| {
            Ok(counted.fetch_add(1, Ordering::Relaxed))
        });
        let stop = CancellationToken::new();
        let watching = tokio::spawn(reload.unwrap().run(Health::new(), stop.clone()));
        sandbox::harness::until("a load", Duration::from_secs(60), async || {
            let pid = std::process::id().to_string();
            let sent = std::process::Command::new("kill")
                .args(["-HUP", &pid])
                .status();
            assert!(sent.unwrap().success());
            loads.load(Ordering::Relaxed) > 1
        })
        .await;
        stop.cancel();
        watching.await.unwrap();
    }
}
