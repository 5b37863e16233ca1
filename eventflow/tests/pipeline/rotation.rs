//! Secrets rotated in the middle of the traffic, by the simulator: nothing is refused, and everything is stored.

use crate::world::{DEADLINE, World, embedded, program};
use contracts::webhook::source::Sources;
use sandbox::harness::wait_for;
use serde_json::Value;
use simulator::vendor::Folder;
use std::process::{Command, Stdio};

/// A MAC in a header, one in the body of several events, a public key, a token.
const VENDORS: [&str; 4] = ["stripe", "adyen", "discord", "gitlab"];

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_in_mid_run_refuses_nothing() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let files = tempfile::tempdir().unwrap();
    let folder = Folder::of_presets(files.path(), &VENDORS.map(str::to_owned)).unwrap();
    let file = folder.file().display().to_string();
    let sources = ["--sources", file.as_str()];
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &sources);
    let _validator = world.role("validator", &sources);
    let persistence = world.role("persistence", &[]);
    producer.until_ready().await;
    persistence.until_ready().await;

    let (url, ops) = (
        format!("http://{}", world.edge),
        format!("http://{}", producer.ops),
    );
    let mut stream = Command::new(program());
    stream
        .args([
            "simulator",
            "stream",
            "--sources",
            &file,
            "--url",
            &url,
            "--edge-ops",
            &ops,
        ])
        .args([
            "--rate",
            "40",
            "--rotate-after",
            "2s",
            "--seed",
            "5",
            "--json",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = stream.spawn().unwrap();
    // Until both the first and the new secret of every vendor have signed.
    let matched = wait_for(DEADLINE, async || {
        let (_, text) = producer.ask("/sources").await.ok_or("no answer")?;
        let shown: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let secrets = |source: &Value| source["secrets"].as_array().cloned().unwrap_or_default();
        let sources: Vec<Vec<Value>> = shown["sources"]
            .as_array()
            .unwrap()
            .iter()
            .map(secrets)
            .collect();
        let all = sources.iter().all(|secrets| {
            secrets.len() == 2
                && secrets
                    .iter()
                    .all(|secret| !secret["last_matched_at"].is_null())
        });
        if all { Ok(sources.len()) } else { Err(text) }
    })
    .await;
    assert_eq!(matched, VENDORS.len());
    Command::new("kill")
        .arg(running.id().to_string())
        .status()
        .unwrap();
    let output = running.wait_with_output().unwrap();
    let (text, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{text}\n{log}");
    let totals: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(totals["refused"], serde_json::json!({}), "{totals:#}");
    let number = |name: &str| totals[name].as_u64().unwrap();
    assert_eq!(
        (number("sent"), number("unanswered"), number("resent")),
        (number("accepted"), 0, 0),
        "{totals:#}"
    );

    let (fates, _) = world.account().await;
    let stored = u64::try_from(fates["stored"]).unwrap();
    assert_eq!(
        (stored, fates.len()),
        (number("events_accepted"), 1),
        "{fates:?}"
    );
    // The old secrets have an end, the new ones have none and come first.
    let described = Sources::described(&std::fs::read_to_string(folder.file()).unwrap()).unwrap();
    for source in described.iter() {
        let ends: Vec<_> = source
            .verifier
            .secrets()
            .map(|(_, not_after)| not_after.is_some())
            .collect();
        assert_eq!(ends, [false, true], "{}", source.name);
    }
}
