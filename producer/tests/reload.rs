//! Sources and secrets that change while the edge runs: rotated without one refused webhook, and a file that cannot be used changes nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

use clap::{Args, FromArgMatches};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use producer::Config;
use runtime::admin::read_all;
use runtime::health::Health;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{until, wait_for};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

/// The edge as a process has it, its sources in a folder.
struct World {
    broker: EmbeddedBroker,
    folder: TempDir,
    health: Health,
    address: String,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

fn source(name: &str, secrets: &str, more: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nscheme = \"eventflow\"\nsecrets = [{secrets}]\n{more}\n"
    )
}

/// As the kubelet does it: a new folder, and a symbolic link to it that replaces the one before.
fn mount(folder: &Path, version: &str, secrets: &[(&str, &str)]) {
    let data = folder.join(version);
    std::fs::create_dir(&data).unwrap();
    for (name, secret) in secrets {
        std::fs::write(data.join(name), secret).unwrap();
    }
    symlink(version, folder.join("..tmp")).unwrap();
    std::fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
}

impl World {
    async fn start(sources: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sources.toml");
        std::fs::write(&file, sources(folder.path())).unwrap();
        let broker = EmbeddedBroker::start(&[("events.raw.v1", 2)]).unwrap();
        let command = Config::augment_args(clap::Command::new("producer"));
        let flags = ["producer", "--sources", file.to_str().unwrap()];
        let mut config = Config::from_arg_matches(&command.get_matches_from(flags)).unwrap();
        config.common.kafka = broker.kafka();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (health, stop) = (Health::new(), CancellationToken::new());
        let (its_health, its_stop) = (health.clone(), stop.clone());
        let running =
            tokio::spawn(
                async move { producer::serve(&config, listener, its_health, its_stop).await },
            );
        let world = Self {
            broker,
            folder,
            health,
            address,
            client: runtime::http_client::new(),
            stop,
            running,
        };
        until("the edge listens", DEADLINE, async || {
            let asked = world.client.get(format!("http://{}/health", world.address));
            asked.send().await.is_ok()
        })
        .await;
        world
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    async fn post(&self, source: &str, event_id: &str, secret: &str) -> (u16, String) {
        post(&self.client, &self.address, source, event_id, secret).await
    }

    /// Waits until a post is answered so.
    async fn until_answered(&self, source: &str, secret: &str, code: &str) {
        wait_for(DEADLINE, async || {
            let (_, found) = self.post(source, "probe", secret).await;
            if found == code { Ok(()) } else { Err(found) }
        })
        .await;
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Status, and the code or `accepted`.
async fn post(
    client: &reqwest::Client,
    address: &str,
    source: &str,
    event_id: &str,
    secret: &str,
) -> (u16, String) {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    let verifier = Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let body = format!("{{\"event_id\":\"{event_id}\"}}");
    let mut request = client.post(format!("http://{address}/api/webhooks/{source}"));
    let at = i64::try_from(now.unwrap().as_secs()).unwrap();
    for (name, value) in verifier.sign(None, at, body.as_bytes(), 0) {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let code = answer["code"].as_str().unwrap_or("accepted");
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_under_load_without_one_refused_webhook() {
    let secrets = |folder: &Path, names: &[&str]| {
        let one = |name: &&str| {
            format!(
                "{{ id = \"{name}\", from = \"file:{}/{name}\" }}",
                folder.display()
            )
        };
        names.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let world = World::start(|folder| {
        mount(folder, "..1", &[("current", "old")]);
        symlink("..data/current", folder.join("current")).unwrap();
        symlink("..data/previous", folder.join("previous")).unwrap();
        source("rotating", &secrets(folder, &["current"]), "")
    })
    .await;
    // The vendor signs with the one or the other, as its machines change over.
    let (old, new) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicBool::new(false)),
    );
    let (posted, over) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let vendor = |number: u64| {
        let (client, address) = (world.client.clone(), world.address.clone());
        let (old, new, posted, over) = (
            Arc::clone(&old),
            Arc::clone(&new),
            Arc::clone(&posted),
            over.clone(),
        );
        tokio::spawn(async move {
            let mut refused = Vec::new();
            while !over.is_cancelled() {
                let count = posted.fetch_add(1, Ordering::Relaxed);
                let secret = match (old.load(Ordering::Relaxed), new.load(Ordering::Relaxed)) {
                    (true, true) if count % 2 == 0 => "old",
                    (_, true) => "new",
                    (_, false) => "old",
                };
                let id = format!("{number}-{count}");
                let (status, code) = post(&client, &address, "rotating", &id, secret).await;
                if status != 200 {
                    refused.push(format!("{secret}: {code}"));
                }
            }
            refused
        })
    };
    let vendors: Vec<_> = (0..4).map(vendor).collect();
    let some_more = async || {
        let before = posted.load(Ordering::Relaxed);
        until("50 more requests", DEADLINE, async || {
            posted.load(Ordering::Relaxed) > before + 50
        })
        .await;
    };
    some_more().await;
    // The new one becomes the current one, and the old one stays for a while: first the files, then their names.
    let folder = world.folder.path();
    mount(folder, "..2", &[("current", "old"), ("previous", "old")]);
    world.write(
        "sources.toml",
        &source("rotating", &secrets(folder, &["current", "previous"]), ""),
    );
    until("both names are known", DEADLINE, async || {
        // The same secret twice: the first that matches is named.
        world.health.warnings().is_empty()
            && runtime::telemetry::metrics_handle()
                .render()
                .contains("secret=\"previous\"")
    })
    .await;
    mount(folder, "..3", &[("current", "new"), ("previous", "old")]);
    world.until_answered("rotating", "new", "accepted").await;
    new.store(true, Ordering::Relaxed);
    some_more().await;
    old.store(false, Ordering::Relaxed);
    // Those that are signed already arrive.
    some_more().await;
    world.write(
        "sources.toml",
        &source("rotating", &secrets(folder, &["current"]), ""),
    );
    world
        .until_answered("rotating", "old", "signature_mismatch")
        .await;
    some_more().await;
    over.cancel();
    for vendor in vendors {
        assert_eq!(vendor.await.unwrap(), Vec::<String>::new());
    }
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    let of_vendors = records.iter().filter(|record| {
        let id = record.header("ef.event_id");
        id.is_some_and(|id| id != "probe")
    });
    assert_eq!(of_vendors.count() as u64, posted.load(Ordering::Relaxed));
    // When the new one matched last is known by now, and the retired one is no longer shown.
    let metrics = runtime::telemetry::metrics_handle().render();
    let last = |secret: &str| {
        let series = format!(
            "eventflow_producer_secret_last_matched_seconds{{source=\"rotating\",secret=\"{secret}\"}} "
        );
        let (_, rest) = metrics
            .split_once(&series)
            .unwrap_or_else(|| panic!("{metrics}"));
        rest.lines().next().unwrap().parse::<f64>().unwrap()
    };
    assert!(last("current") > 1_700_000_000.0 && last("previous").abs() < 0.5);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_changes_nothing_and_says_so_and_a_good_one_brings_new_sources_and_limits()
 {
    let secret = |folder: &Path| {
        format!(
            "{{ id = \"k\", from = \"file:{}/secret\" }}",
            folder.display()
        )
    };
    let world = World::start(|folder| {
        std::fs::write(folder.join("secret"), "the secret").unwrap();
        source("first", &secret(folder), "")
    })
    .await;
    let secret = secret(world.folder.path());
    let first = source("first", &secret, "");
    let warned = async |words: &str| {
        wait_for(DEADLINE, async || match world.health.warnings().first() {
            Some(("sources", reason)) if reason.contains(words) => Ok(()),
            other => Err(format!("{words}: {other:?}")),
        })
        .await;
        assert!(world.health.is_ready());
        assert_eq!(world.post("first", "e", "the secret").await.0, 200);
    };
    world.write("sources.toml", "[[source]]\nname = ");
    warned("line 2").await;
    // Half of it is right, and none of it is taken.
    let half = format!(
        "{first}{}",
        source(
            "second",
            "{ id = \"k\", from = \"env:NOT_SET_ANYWHERE\" }",
            ""
        )
    );
    world.write("sources.toml", &half);
    warned("environment variable NOT_SET_ANYWHERE is not set; what was there before stays in use")
        .await;
    assert_eq!(world.post("second", "e", "the secret").await.0, 404);
    let larger = source(
        "first",
        &secret,
        "batches = true\nbatch_limit_bytes = 400000000",
    );
    world.write("sources.toml", &larger);
    warned("restart it to take that").await;
    std::fs::remove_file(world.folder.path().join("secret")).unwrap();
    world.write("sources.toml", &first);
    warned("cannot read secret file").await;
    // Put right: the same secret again, another source, and a quota.
    world.write("secret", "the secret");
    let good = format!(
        "{}{}",
        source("first", &secret, "quota_per_second = 1"),
        source("second", &secret, "")
    );
    world.write("sources.toml", &good);
    world
        .until_answered("second", "the secret", "accepted")
        .await;
    assert_eq!(world.health.warnings(), []);
    until("the quota counts", DEADLINE, async || {
        world.post("first", "e", "the secret").await.1 == "over_quota"
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_secret_that_is_still_used_is_counted_by_its_id() {
    let world = World::start(|folder| {
        let at = |name: &str| folder.join(name).display().to_string();
        std::fs::write(folder.join("old"), "old-secret").unwrap();
        std::fs::write(folder.join("new"), "new-secret").unwrap();
        let secrets = format!(
            "{{ id = \"2020\", from = \"file:{}\", not_after = 2021-01-01T00:00:00Z }}, {{ id = \"2026\", from = \"file:{}\" }}",
            at("old"),
            at("new")
        );
        let onboarding = "mode = \"onboarding\"\nonboarding_until = 2100-01-01T00:00:00Z";
        source("late", &secrets, "") + &source("late-new", &secrets, onboarding)
    })
    .await;
    let post = async |source: &str, secret: &str| world.post(source, "e-1", secret).await;
    assert_eq!(
        post("late", "old-secret").await,
        (401, "secret_expired".to_owned())
    );
    assert_eq!(
        post("late", "nobodys").await,
        (401, "signature_mismatch".to_owned())
    );
    assert_eq!(post("late", "new-secret").await.0, 200);
    assert_eq!(
        post("late-new", "old-secret").await.0,
        200,
        "as a dead letter"
    );
    let metrics = runtime::telemetry::metrics_handle().render();
    for (source, secret, used) in [
        ("late", "2020", 1),
        ("late", "2026", 0),
        ("late-new", "2020", 1),
    ] {
        let line = format!(
            "eventflow_producer_expired_secret_requests_total{{source=\"{source}\",secret=\"{secret}\"}} {used}\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    world.end().await;
}
