//! Requests that the vendors' own libraries sign now: `contracts/tests/vectors/make/sign.mjs`, run by node where script/test has installed them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A request before it is signed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Unsigned {
    preset: String,
    /// As the vendor spells the URL, where it signs it
    url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// What its vendor sends.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Signed {
    /// The secret to configure: a text, or a public key
    pub(super) secret: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Unsigned {
    /// The preset's example.
    pub(super) fn example(preset: &str) -> Self {
        let folder = format!(
            "{}/../contracts/sources/{preset}",
            env!("CARGO_MANIFEST_DIR")
        );
        let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}"));
        let headers = read("headers.txt").unwrap();
        let headers = headers.lines().map(|line| line.split_once(": ").unwrap());
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            preset: preset.to_owned(),
            url: format!("https://hooks.example.com/api/webhooks/{preset}"),
            headers: headers.map(owned).collect(),
            body: read("body.json").or_else(|_| read("body.form")).unwrap(),
        }
    }

    /// The same with another body.
    pub(super) fn with_body(preset: &str, body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::example(preset)
        }
    }

    /// The same with another header.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Signs them, each as its vendor does. `None`, with a word on the terminal, where the libraries are not installed.
pub(super) fn sign(requests: &[Unsigned]) -> Option<Vec<Signed>> {
    let Some(installed) = std::env::var_os("EVENTFLOW_TEST_VENDORS") else {
        let why = "the vendors' libraries are not here; run script/test, which installs them";
        assert!(
            std::env::var_os("EVENTFLOW_TEST_REQUIRE_ALL").is_none(),
            "may not be skipped: {why}"
        );
        // Straight to the terminal: libtest would keep it to itself.
        std::io::stderr()
            .write_all(format!("SKIPPED: {why}\n").as_bytes())
            .unwrap();
        return None;
    };
    // Below the folder with node_modules: node looks for libraries in the folders above a script.
    let folder = tempfile::tempdir_in(installed).unwrap();
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/tests/vectors/make");
    for script in ["vendors.mjs", "sign.mjs"] {
        std::fs::copy(make.join(script), folder.path().join(script)).unwrap();
    }
    let mut node = Command::new("node")
        .arg(folder.path().join("sign.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = serde_json::to_vec(requests).unwrap();
    node.stdin.take().unwrap().write_all(&asked).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
