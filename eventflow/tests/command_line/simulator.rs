//! `eventflow simulator vendors` and `stream`, as a person types them: files that an edge takes, no secret on the screen, a sentence for each mistake.

use crate::eventflow;
use std::os::unix::fs::PermissionsExt;

#[test]
fn vendors_are_written_once_as_an_edge_takes_them_and_no_secret_is_shown() {
    let files = tempfile::tempdir().unwrap();
    let folder = files.path().join("vendors");
    let folder = folder.to_str().unwrap();
    let every = contracts::webhook::preset::names().join(",");
    let (code, output) = eventflow(&["simulator", "vendors", folder, "--as", &every], &[]);
    assert_eq!(code, Some(0), "{output}");
    let sources = format!("{folder}/sources.toml");
    assert!(output.contains(&format!("--sources {sources}")), "{output}");
    let (code, checked) = eventflow(&["sources", "check", &sources], &[]);
    assert_eq!(code, Some(0), "{checked}");
    assert!(checked.contains("41 sources are fine"), "{checked}");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let is_secret = path
            .extension()
            .is_some_and(|kind| kind == "secret" || kind == "key");
        if is_secret {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
            let secret = std::fs::read_to_string(&path).unwrap();
            assert!(!output.contains(secret.trim()), "{}", path.display());
        }
    }
    let (code, again) = eventflow(&["simulator", "vendors", folder, "--as", "stripe"], &[]);
    assert_eq!(code, Some(2), "{again}");
    assert!(again.contains("has a sources.toml"), "{again}");
}

#[test]
fn a_stream_that_cannot_be_says_why() {
    let files = tempfile::tempdir().unwrap();
    let folder = files.path().join("vendors");
    let folder = folder.to_str().unwrap();
    eventflow(
        &["simulator", "vendors", folder, "--as", "stripe,discord"],
        &[],
    );
    let sources = format!("{folder}/sources.toml");
    let foreign = files.path().join("foreign.toml");
    let text = "[[source]]\nname = \"a\"\npreset = \"stripe\"\nsecrets = [{ id = \"k\", from = \"env:KEY\" }]\n";
    std::fs::write(&foreign, text).unwrap();
    let foreign = foreign.to_str().unwrap();
    for (flags, words) in [
        (
            &["--as", "stripe"][..],
            &["--sources", "simulator vendors"][..],
        ),
        (
            &["--sources", &sources, "--as", "github"],
            &["--as", "it has stripe, discord"],
        ),
        (
            &["--sources", &sources, "--pack", "nobody"],
            &["--pack", "film"],
        ),
        (
            &["--sources", &sources, "--retry-factor", "0.5"],
            &["--retry-factor"],
        ),
        (
            &["--sources", &sources, "--fault", "conflicting=0.1"],
            &["--fault", "payments only"],
        ),
        (&["--sources", &sources, "--url", "ftp://edge"], &["--url"]),
        (
            &["--sources", foreign, "--rotate-after", "1s"],
            &["--rotate-after", "simulator vendors"],
        ),
    ] {
        let all = [&["simulator", "stream"], flags].concat();
        let (code, output) = eventflow(&all, &[("KEY", "whsec_x")]);
        assert_eq!(code, Some(2), "{flags:?}: {output}");
        assert!(
            words.iter().all(|word| output.contains(word)),
            "{flags:?}: {output}"
        );
    }
    // Nobody is there: the totals say so.
    let flags = [
        "--sources",
        &sources,
        "--url",
        "http://127.0.0.1:1",
        "--duration",
        "1s",
        "--json",
    ];
    let (code, output) = eventflow(&[&["simulator", "stream"], &flags[..]].concat(), &[]);
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains("\"unanswered\"") && output.contains("is the producer running?"),
        "{output}"
    );
}
