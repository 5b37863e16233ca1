//! Who posts webhooks in a run: a payment provider, four vendors by their presets, and one that is up to no good. Each is a process with a
//! journal of what it sent and what was answered.

use crate::process::Process;
use crate::schedule::Setting;
use anyhow::Context;
use simulator::vendor::Folder;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The sources of a run; their secrets are made.
pub(crate) const SOURCES: &str = r#"
[[source]]
name = "payments"
scheme = "eventflow"
secrets = [{ id = "first", from = "made" }]
quota_per_second = 200
event = { entity = "/payload/payment_id" }

[[source]]
name = "stripe"
preset = "stripe"
secrets = [{ id = "first", from = "made" }]
quota_per_second = 200

[[source]]
name = "github"
preset = "github"
secrets = [{ id = "first", from = "made" }]
quota_per_second = 200

[[source]]
name = "shopify"
preset = "shopify"
secrets = [{ id = "first", from = "made" }]
quota_per_second = 200

[[source]]
name = "slack"
preset = "slack"
secrets = [{ id = "first", from = "made" }]
quota_per_second = 200

[[source]]
name = "mallory"
scheme = "eventflow"
secrets = [{ id = "first", from = "made" }]
quota_per_second = 200
"#;

/// Of each source, as [`SOURCES`] says, and each edge. The malicious one is over it, and the four vendors together with it would be.
pub(crate) const QUOTA: usize = 200;
/// Payments a second.
const PAYMENTS: u32 = 120;
/// Webhooks a second of the four vendors together.
const VENDORS: u32 = 60;
/// Webhooks a second of the malicious one: three times what the payment provider sends.
const MALLORY: u32 = 360;
/// Of each payment: more digits than a float has.
const AMOUNT: &str = "9007199254740993.17";
/// What the payment provider does wrong. Its dead letters are what on-call works on.
const MISTAKES: &str = "conflicting=0.02,not_json=0.01,truncated_body=0.01,bad_signature=0.01,stale_timestamp=0.01,delayed=0.05,reordered=0.05,burst=0.002";
/// All that the malicious one sends is garbage under a true signature, or forged.
const CRIMES: &str = "not_json=0.3,truncated_body=0.3,bad_signature=0.3,stale_timestamp=0.1";
/// How long a vendor may take to end: what it sent is answered, or sent again, until then.
const END: Duration = Duration::from_secs(90);

/// Names of the sources.
pub(crate) fn source_names() -> impl Iterator<Item = &'static str> {
    let of_line = |line: &'static str| line.strip_prefix("name = \"")?.strip_suffix('"');
    SOURCES.lines().filter_map(of_line)
}

/// The processes that post.
#[derive(Debug)]
pub(crate) struct Traffic {
    senders: Vec<Process>,
    journals: Vec<PathBuf>,
}

impl Traffic {
    pub(crate) fn new(
        setting: &Setting,
        sources: &Folder,
        edges: &[String; 2],
        folder: &Path,
    ) -> Self {
        let journal = |name: &str| folder.join(format!("{name}.ndjson"));
        let provider =
            |source: &str, rate: u32, edge: &str, mistakes: &str, of_mistakes: [&str; 2]| {
                let secret = sources
                    .secret(source)
                    .map(|secret| secret.expose().to_vec());
                let secret = String::from_utf8(secret.unwrap_or_default()).unwrap_or_default();
                let flags = [
                    "simulator".to_owned(),
                    "--listen=127.0.0.1:0".to_owned(),
                    "--auto-stream-enabled".to_owned(),
                    format!("--webhook-url=http://{edge}/api/webhooks/{source}"),
                    format!("--auto-stream-rps={rate}"),
                    format!("--auto-stream-payment-prefix=pay_{source}"),
                    format!("--auto-stream-amount={AMOUNT}"),
                    format!("--duplicate-rate={}", of_mistakes[0]),
                    format!("--corruption-rate={}", of_mistakes[1]),
                    format!("--fault={mistakes}"),
                    "--max-attempts=60".to_owned(),
                    "--backoff-base-seconds=0.2".to_owned(),
                    "--backoff-max-seconds=1".to_owned(),
                    "--webhook-timeout-seconds=6".to_owned(),
                    format!("--seed={}", setting.seed),
                    format!("--journal={}", journal(source).display()),
                ];
                let environment = vec![("EVENTFLOW_WEBHOOK_SIGNING_SECRET".to_owned(), secret)];
                Process::new(
                    &format!("sender-{source}"),
                    flags.into(),
                    environment,
                    folder,
                )
            };
        let vendors = [
            "simulator".to_owned(),
            "stream".to_owned(),
            "--as=stripe,github,shopify,slack".to_owned(),
            format!("--sources={}", sources.file().display()),
            format!("--url=http://{}", edges[1]),
            format!("--rate={VENDORS}"),
            "--retry-factor=3600".to_owned(),
            "--fault=duplicate=0.05,bad_signature=0.01,stale_timestamp=0.01".to_owned(),
            format!("--seed={}", setting.seed),
            format!("--journal={}", journal("vendors").display()),
        ];
        Self {
            senders: vec![
                provider("payments", PAYMENTS, &edges[0], MISTAKES, ["0.05", "0.08"]),
                Process::new("sender-vendors", vendors.into(), Vec::new(), folder),
                provider("mallory", MALLORY, &edges[1], CRIMES, ["0", "0"]),
            ],
            journals: ["payments", "vendors", "mallory"].map(journal).into(),
        }
    }

    /// Begins to post.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        for sender in &mut self.senders {
            sender.start(&[])?;
        }
        Ok(())
    }

    /// What each has sent.
    pub(crate) fn journals(&self) -> &[PathBuf] {
        &self.journals
    }

    /// Stops posting; what is under way is answered first, so that the journals are whole.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        for sender in &mut self.senders {
            if let Some(status) = sender.ended() {
                anyhow::bail!(
                    "{} ended with {status} before it was told to: {}",
                    sender.name,
                    sender.log().lines().last().unwrap_or_default()
                );
            }
            sender.signal("TERM")?;
        }
        for sender in &mut self.senders {
            // Not a second SIGTERM: it ends a role at once.
            sender
                .until_ended(END)
                .await
                .context("its journal is not whole")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_the_quota_that_is_judged_by() {
        let names: Vec<_> = source_names().collect();
        let all = [
            "payments", "stripe", "github", "shopify", "slack", "mallory",
        ];
        assert_eq!(names, all);
        let quota = format!("quota_per_second = {QUOTA}\n");
        assert_eq!(SOURCES.matches(&quota).count(), names.len());
    }
}
