//! Replays come by the group's own retry topic, and are validated once more like any record.

use crate::common::{EDGE_HEADERS, Stage, authorized};
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use contracts::kafka::headers::{self, dlq};
use contracts::kafka::topics;
use runtime::admin::committed;

fn replayed(count: &'static [u8]) -> [(&'static str, &'static [u8]); 2] {
    [
        (headers::REPLAY_ID, b"job-1"),
        (headers::REPLAY_COUNT, count),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_validated_once_more_and_forwarded_as_made_from_its_raw_record() {
    let stage = Stage::start(&[], None).await;
    let (live, fixed) = (authorized("live"), authorized("fixed"));
    stage
        .replay(
            "another-group",
            &authorized("not ours"),
            "5:78",
            &replayed(b"1"),
        )
        .await;
    stage.send(&[Some(&live)]).await;
    let edited = [
        (headers::EDITED_BY, &b"ann"[..]),
        (headers::ORIGINAL_HASH, b"sha256:00"),
        (dlq::CODE, b"not_json"),
    ];
    stage
        .replay(
            validator::GROUP,
            &fixed,
            "5:77",
            &[&replayed(b"1")[..], &edited].concat(),
        )
        .await;
    stage
        .until("both are forwarded", |stage| {
            stage.read(topics::VALIDATED).len() == 2
        })
        .await;
    let made = stage.read(topics::VALIDATED);
    let record = made
        .iter()
        .find(|record| record.header(headers::REPLAY_ID).is_some())
        .unwrap();
    for (name, value) in [
        (headers::RAW, "5:77"),
        (headers::SOURCE, "payment-authorized"),
        (headers::RECEIVED_AT, "1700000000000000"),
        (headers::REPLAY_ID, "job-1"),
        (headers::REPLAY_COUNT, "1"),
        (headers::EDITED_BY, "ann"),
        (headers::ORIGINAL_HASH, "sha256:00"),
    ] {
        let copies: Vec<_> = record
            .headers
            .iter()
            .filter(|(found, _)| found == name)
            .collect();
        assert_eq!(
            copies,
            [&(name.to_owned(), Some(value.as_bytes().to_vec()))],
            "{name}"
        );
    }
    assert_eq!(
        record.header(dlq::CODE),
        None,
        "an old verdict is not true of what passed"
    );
    let (_, datum) = framing::unframe(record.value.as_deref().unwrap()).unwrap();
    let mut expected = Vec::new();
    Catalog::builtin()
        .validate(Envelope::own(&fixed).unwrap())
        .unwrap()
        .encode(&mut expected);
    assert_eq!(datum, expected);
    assert_eq!(stage.read(topics::DLQ).len(), 0);
    let elsewhere = committed(
        &stage.broker.kafka(),
        validator::GROUP,
        &topics::retry("another-group"),
    )
    .unwrap();
    assert_eq!(
        elsewhere,
        [(0, None)],
        "another group's replays are not this one's"
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_fails_again_is_dead_lettered_with_its_count_and_one_too_many_is_not_even_read()
 {
    let stage = Stage::start(&["--max-replays", "2"], None).await;
    let sound = authorized("e");
    let first = [
        (dlq::FIRST_FAILED_AT, &b"123"[..]),
        (dlq::CODE, b"old"),
        (dlq::ERRORS_TOPIC, b"old"),
    ];
    for (value, count, raw) in [
        (&b"not json"[..], &b"1"[..], "5:0"),
        (&sound, b"2", "5:1"),
        (&sound, b"3", "5:2"),
        (&sound, b"none", "5:3"),
    ] {
        let more = [&[(headers::REPLAY_COUNT, count)][..], &first].concat();
        stage.replay(validator::GROUP, value, raw, &more).await;
    }
    stage
        .until("all settled", |stage| {
            stage.read(topics::VALIDATED).len() == 1 && stage.read(topics::DLQ).len() == 3
        })
        .await;
    assert_eq!(
        stage.read(topics::VALIDATED)[0]
            .header(headers::RAW)
            .as_deref(),
        Some("5:1"),
        "two of two are allowed"
    );
    let dead = stage.read(topics::DLQ);
    let expected = [
        ("5:0", "not_json", "1", "not JSON"),
        (
            "5:2",
            "replays_exhausted",
            "3",
            "replayed 3 times, and at most 2 are allowed: raise --max-replays",
        ),
        ("5:3", "replays_exhausted", "none", "discard it"),
    ];
    for (letter, (raw, code, count, detail)) in dead.iter().zip(expected) {
        let header = |name| letter.header(name).unwrap();
        assert_eq!(
            (
                &*header(headers::RAW),
                &*header(dlq::CODE),
                &*header(headers::REPLAY_COUNT)
            ),
            (raw, code, count)
        );
        assert!(
            header(dlq::DETAIL).contains(detail),
            "{}",
            header(dlq::DETAIL)
        );
        assert_eq!(
            (&*header(dlq::FIRST_FAILED_AT), header(dlq::ERRORS_TOPIC)),
            ("123", topics::retry(validator::GROUP))
        );
        assert_eq!(
            letter
                .headers
                .iter()
                .filter(|(name, _)| name == dlq::CODE)
                .count(),
            1,
            "one verdict"
        );
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_without_proof_is_dead_lettered_before_its_contract_and_passes_as_a_replay_by_name()
 {
    let stage = Stage::start(&[], None).await;
    let unproven = |word: &'static str| (headers::UNPROVEN, word.as_bytes());
    let why = (headers::SIGNATURE_ERROR, &b"signature_mismatch"[..]);
    let genuine = (headers::GENUINE_BY, &b"ann"[..]);
    // Not even JSON: who sent it is asked first. And a name in a raw record is nobody's word.
    stage
        .send_marked(b"not json", &[unproven("unverified"), why])
        .await;
    stage
        .send_marked(
            &authorized("forged"),
            &[unproven("unverified"), why, genuine],
        )
        .await;
    stage
        .send_marked(&authorized("late"), &[unproven("stale"), why])
        .await;
    stage
        .until("three dead letters", |stage| {
            stage.read(topics::DLQ).len() == 3
        })
        .await;
    let replay = async |id: &str, raw: &str, more: &[(&str, &[u8])]| {
        let all = [&replayed(b"1")[..], more].concat();
        stage
            .replay(validator::GROUP, &authorized(id), raw, &all)
            .await;
    };
    replay("forged", "0:1", &[unproven("unverified")]).await;
    replay("vouched", "0:2", &[unproven("unverified"), genuine]).await;
    replay("late", "0:3", &[unproven("stale")]).await;
    stage
        .until("two pass and one does not", |stage| {
            stage.read(topics::VALIDATED).len() == 2 && stage.read(topics::DLQ).len() == 4
        })
        .await;
    let mut codes: Vec<_> = stage
        .read(topics::DLQ)
        .iter()
        .map(|letter| {
            assert_eq!(letter.header(dlq::DISPOSITION).as_deref(), Some("unproven"));
            assert!(letter.header(headers::UNPROVEN).is_some(), "{letter:?}");
            letter.header(dlq::CODE).unwrap()
        })
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, ["stale", "unverified", "unverified", "unverified"]);
    // Which of them it is goes with the event.
    let mut passed: Vec<_> = stage
        .read(topics::VALIDATED)
        .iter()
        .map(|made| {
            (
                made.header(headers::UNPROVEN),
                made.header(headers::GENUINE_BY),
            )
        })
        .collect();
    passed.sort_unstable();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        passed,
        [(text("stale"), None), (text("unverified"), text("ann"))]
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_new_in_the_file_is_read_without_a_restart_and_a_bad_file_changes_nothing()
{
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sources.toml");
    let write = |names: &[&str]| {
        let entry = |name: &&str| {
            format!(
                "[[source]]\nname = \"{name}\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"k\", from = \"env:NOT_READ_HERE\" }}]\n"
            )
        };
        std::fs::write(&file, names.iter().map(entry).collect::<String>()).unwrap();
    };
    write(&["other"]);
    let stage = Stage::start(&["--sources", file.to_str().unwrap()], None).await;
    stage.send(&[Some(&authorized("too-soon"))]).await;
    stage
        .until("it is not known yet", |stage| {
            let letters = stage.read(topics::DLQ);
            letters
                .iter()
                .any(|letter| letter.header(dlq::CODE).as_deref() == Some("unknown_source"))
        })
        .await;
    std::fs::write(&file, "[[source]]\nname = ").unwrap();
    stage
        .until("it says so", |stage| {
            let warnings = stage.health.warnings();
            warnings
                .iter()
                .any(|(check, why)| *check == "sources" && why.contains("line 2"))
        })
        .await;
    let name = EDGE_HEADERS
        .iter()
        .find(|(name, _)| *name == headers::SOURCE);
    let name = std::str::from_utf8(name.unwrap().1).unwrap();
    write(&["other", name]);
    stage
        .until("the file is read", |stage| {
            stage.health.warnings().is_empty()
        })
        .await;
    stage.send(&[Some(&authorized("known"))]).await;
    stage
        .until("it is forwarded", |stage| {
            stage.read(topics::VALIDATED).len() == 1
        })
        .await;
    assert_eq!(stage.read(topics::DLQ).len(), 1);
    stage.finish().await;
}
