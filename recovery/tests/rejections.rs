//! Refused requests from the topic to the API: written once, found, kept so long and so many, and in the way of nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(missing_docs, unreachable_pub, reason = "a test")]
mod index_world;

use contracts::webhook::refused::{Captured, RefusedRequest, SignaturePart};
use index_world::{World, world};
use recovery::model::RejectionFilter;
use recovery::rejections::{Index, RejectionLimits, groups, list, show, trim};
use runtime::consumer::{Handler as _, Outcome, Record};
use time::{Duration, OffsetDateTime};

const TOPIC: &str = "events.rejections.v1";
const LIMITS: RejectionLimits = RejectionLimits {
    rejections_days: 7,
    rejections_per_group: 2000,
};

fn refused(source: &str, code: &str, age: Duration) -> RefusedRequest {
    RefusedRequest {
        time: OffsetDateTime::now_utc() - age,
        source: source.to_owned(),
        code: code.to_owned(),
        status: 401,
        detail: "the signature does not match".to_owned(),
        scheme: Some("github".to_owned()),
        peer: "192.0.2.1".to_owned(),
        user_agent: Some("Acme/1.0".to_owned()),
        skew_seconds: Some(-301),
        parts: vec![SignaturePart {
            header: "x-hub-signature-256".to_owned(),
            times: 1,
        }],
        body_bytes: Some(2),
        body_sha256: Some("ab".repeat(32)),
        trace_id: None,
        left_out: 0,
        captured: None,
    }
}

fn captured(left: Duration, body: &[u8]) -> Captured {
    Captured {
        until: OffsetDateTime::now_utc() + left,
        method: "POST".to_owned(),
        query: None,
        headers: vec![("x-github-event".to_owned(), "push".to_owned())],
        body: Some(body.to_vec()),
    }
}

/// Hands records to the stage as the consumer loop does, from this offset on.
fn take(world: &World, first: i64, values: &[Vec<u8>]) {
    let mut index = Index::new(&world.recovery, tokio::runtime::Handle::current()).unwrap();
    let records: Vec<Record<'_>> = (first..)
        .zip(values)
        .map(|(offset, value)| Record::new(TOPIC, 0, offset, 0, None, Some(value), &[]))
        .collect();
    let outcomes = tokio::task::block_in_place(|| index.handle(&records)).unwrap();
    assert_eq!(outcomes.len(), values.len());
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Done))
    );
}

fn json(all: &[RefusedRequest]) -> Vec<Vec<u8>> {
    all.iter()
        .map(|refused| serde_json::to_vec(refused).unwrap())
        .collect()
}

const COUNT: &str = "SELECT count(*) FROM recovery.rejections";

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_read_again_changes_nothing_and_one_that_is_none_is_skipped() {
    let world = world().await;
    let mut values = json(&[refused("acme", "signature_mismatch", Duration::ZERO)]);
    values.extend([b"{}".to_vec(), b"\xff".to_vec(), b"[]".to_vec()]);
    take(&world, 5, &values);
    take(&world, 5, &values);
    assert_eq!(world.number(COUNT).await, 1);
    // A topic that is recreated counts its offsets from 0 again.
    take(
        &world,
        5,
        &json(&[refused("acme", "empty_body", Duration::ZERO)]),
    );
    assert_eq!(world.number(COUNT).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_text_holds_it_is_stored() {
    let world = world().await;
    let hostile = "a\0b\u{1b}[2J'; DROP TABLE rejections; --\u{202e}";
    let long = "x".repeat(100_000);
    let mut one = refused(hostile, hostile, Duration::ZERO);
    one.peer = hostile.to_owned();
    one.user_agent = Some(long.clone());
    one.detail = long;
    one.parts[0].header = hostile.to_owned();
    one.left_out = u64::MAX;
    one.body_bytes = Some(u64::MAX);
    one.captured = Some(captured(Duration::HOUR, b"\0\xff"));
    let headers = &mut one.captured.as_mut().unwrap().headers;
    headers.push((hostile.to_owned(), hostile.to_owned()));
    take(&world, 0, &json(&[one]));
    let id = world
        .number("SELECT max(id) FROM recovery.rejections")
        .await;
    let shown = show(&world.recovery, id).await.unwrap();
    assert_eq!(shown.rejection.source, hostile.replace('\0', ""));
    assert_eq!(shown.rejection.user_agent.unwrap().len(), 1000);
    assert_eq!(shown.body_base64.as_deref(), Some("AP8="), "no text");
    assert_eq!(shown.body, None);
    assert_eq!(shown.parts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_selects_and_a_misspelled_one_is_refused() {
    let world = world().await;
    let mut all = vec![
        refused("acme", "signature_mismatch", Duration::hours(3)),
        refused("acme", "signature_mismatch", Duration::ZERO),
        refused("acme", "timestamp_too_old", Duration::ZERO),
        refused("unknown", "unknown_source", Duration::ZERO),
    ];
    all[0].peer = "198.51.100.7".to_owned();
    all[1].left_out = 41;
    all[1].captured = Some(captured(Duration::HOUR, b"{}"));
    take(&world, 0, &json(&all));
    let filter = RejectionFilter::default;
    let words = |text: &str| vec![text.to_owned()];
    for (filter, expected) in [
        (filter(), 4),
        (
            RejectionFilter {
                source: words("acme"),
                ..filter()
            },
            3,
        ),
        (
            RejectionFilter {
                code: words("signature_mismatch"),
                source: words("acme"),
                ..filter()
            },
            2,
        ),
        (
            RejectionFilter {
                peer: Some("198.51.100.7".to_owned()),
                ..filter()
            },
            1,
        ),
        (
            RejectionFilter {
                since: Some(OffsetDateTime::now_utc() - Duration::HOUR),
                ..filter()
            },
            3,
        ),
        (
            RejectionFilter {
                until: Some(OffsetDateTime::now_utc() - Duration::HOUR),
                ..filter()
            },
            1,
        ),
        (
            RejectionFilter {
                limit: Some(2),
                ..filter()
            },
            2,
        ),
    ] {
        let page = list(&world.recovery, &filter, None).await.unwrap();
        assert_eq!(page.rejections.len(), expected, "{filter:?}");
    }
    let page = list(&world.recovery, &filter(), None).await.unwrap();
    let last = page.rejections[1].id;
    let rest = list(&world.recovery, &filter(), Some(last)).await.unwrap();
    assert_eq!(rest.rejections, page.rejections[2..], "the next page");

    let groups = groups(&world.recovery, &filter()).await.unwrap();
    let first = &groups[0];
    assert_eq!(
        (&*first.source, &*first.code),
        ("acme", "signature_mismatch")
    );
    assert_eq!((first.kept, first.refused, first.peers), (2, 43, 2));
    let sample = show(&world.recovery, first.sample).await.unwrap();
    assert!(sample.rejection.captured, "one that can be explained");
    assert_eq!(sample.body.as_deref(), Some("{}"));
    assert_eq!(groups.len(), 3);

    let misspelled = RejectionFilter {
        code: words("signature_mismatsh"),
        ..filter()
    };
    let error = list(&world.recovery, &misspelled, None).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("did you mean signature_mismatch"),
        "{error}"
    );
    let none = show(&world.recovery, 4711).await.unwrap_err();
    assert_eq!(none.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_kept_of_each_source_and_code_and_for_so_long() {
    let world = world().await;
    let flood = vec![refused("acme", "missing_signature_header", Duration::ZERO); 2500];
    take(&world, 0, &json(&flood));
    let others = [
        refused("acme", "signature_mismatch", Duration::hours(1)),
        refused("other", "missing_signature_header", Duration::hours(1)),
        refused("other", "signature_mismatch", Duration::days(6)),
        refused("other", "signature_mismatch", Duration::days(8)),
    ];
    take(&world, 10_000, &json(&others));
    let limits = RejectionLimits {
        rejections_per_group: 700,
        ..LIMITS
    };
    let trimmed = trim(&world.recovery, limits).await.unwrap();
    assert_eq!((trimmed.rows, trimmed.captured), (1801, 0));
    let rest = groups(&world.recovery, &RejectionFilter::default())
        .await
        .unwrap();
    let kept: Vec<_> = rest
        .iter()
        .map(|group| (&*group.source, &*group.code, group.kept))
        .collect();
    assert_eq!(
        kept,
        [
            ("acme", "missing_signature_header", 700),
            ("acme", "signature_mismatch", 1),
            ("other", "missing_signature_header", 1),
            ("other", "signature_mismatch", 1),
        ]
    );
    // The latest stay.
    let oldest = "SELECT min(topic_offset) FROM recovery.rejections WHERE code = 'missing_signature_header' AND source = 'acme'";
    assert_eq!(world.number(oldest).await, 1800);
    let again = trim(&world.recovery, limits).await.unwrap();
    assert_eq!((again.rows, again.captured), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_captured_goes_when_its_time_is_over_and_the_facts_stay() {
    let world = world().await;
    let with = |left: Duration| RefusedRequest {
        captured: Some(captured(left, b"{}")),
        ..refused("acme", "signature_mismatch", Duration::ZERO)
    };
    let mut all = vec![with(Duration::HOUR); 105];
    all.push(with(-Duration::SECOND));
    take(&world, 0, &json(&all));
    let expired = world
        .number("SELECT max(id) FROM recovery.rejections")
        .await;
    let shown = show(&world.recovery, expired).await.unwrap();
    assert!(
        !shown.rejection.captured && shown.body.is_none() && shown.headers.is_empty(),
        "past its time, whether it is deleted or not"
    );
    let trimmed = trim(&world.recovery, LIMITS).await.unwrap();
    // One is over its time; of the rest, the latest hundred of its group keep it, the expired one among them.
    assert_eq!((trimmed.rows, trimmed.captured), (0, 7));
    let left =
        "SELECT count(*) FROM recovery.rejections WHERE body IS NOT NULL AND captured IS NOT NULL";
    assert_eq!(world.number(left).await, 99);
    assert_eq!(world.number(COUNT).await, 106);
}
