//! A dry run and persistence give the same answer for the same records.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use contracts::Secret;
use contracts::avro::datum::Decoder;
use contracts::event::Catalog;
use persistence::writer::{BatchRow, Writer};
use recovery::replay::{dry_run, jobs};
use replay::{Dead, PERSISTENCE, body, framed, registry, world};
use runtime::consumer::{Header, Record};
use runtime::health::Health;
use store::fate::Fate;
use store::offsets::{BatchOffsets, Positions};
use store::raw_topic::RawTopic;
use store::row::EventRow;
use tokio_util::sync::CancellationToken;

/// A replay: its raw record, event id, amount, and whether it was edited.
#[derive(Clone, Copy)]
struct Case(i64, &'static str, &'static str, bool);

impl Case {
    fn headers(self) -> Vec<(&'static str, Vec<u8>)> {
        let Self(raw, _, _, edited) = self;
        let mut headers = vec![
            ("ef.source", b"acme".to_vec()),
            ("ef.raw", format!("0:{raw}").into_bytes()),
        ];
        headers.extend(edited.then(|| ("ef.edited_by", b"ann".to_vec())));
        headers
    }

    fn value(self) -> Vec<u8> {
        framed(&body(self.1, self.2))
    }
}

/// What persistence makes of the cases, in one batch.
async fn stored(writer: &Writer, cases: &[Case], replays: bool) -> Vec<Fate> {
    let contracts = Catalog::builtin();
    let avsc = &contracts
        .contract("payment.authorized.v1")
        .unwrap()
        .record_avsc;
    let decoder = Decoder::new(avsc).unwrap();
    let values: Vec<Vec<u8>> = cases.iter().map(|case| case.value()).collect();
    let owned: Vec<_> = cases.iter().map(|case| case.headers()).collect();
    let headers: Vec<Vec<Header<'_>>> = owned
        .iter()
        .map(|headers| {
            let replay = replays.then_some(("ef.replay_id", Some(&b"job"[..])));
            let all = headers
                .iter()
                .map(|(name, value)| (*name, Some(value.as_slice())));
            all.chain(replay).collect()
        })
        .collect();
    let (mut rows, mut offsets) = (Vec::new(), BatchOffsets::default());
    for (offset, (value, headers)) in (0..).zip(values.iter().zip(&headers)) {
        let datum = &value[5..];
        let record = Record::new("t", 0, offset, 0, Some(b"k"), Some(value), headers);
        let event = decoder.decode(datum).unwrap();
        rows.push(BatchRow {
            event: EventRow::new(
                record.headers(),
                record.key,
                RawTopic::default().position(record.raw().unwrap()),
                1,
                event,
            )
            .unwrap(),
            record: offsets.include(&record),
        });
    }
    let group = if replays { "replays" } else { "before" };
    let written = writer
        .write(group, &rows, &[], offsets, &Positions::new())
        .await
        .unwrap();
    written.fates
}

/// In the dry run's words; a failure with its sentence.
fn outcome(fate: Fate) -> (String, Option<String>, Option<String>) {
    let (would, code, detail) = match fate {
        Fate::Stored => ("store", None, None),
        Fate::StoredBefore | Fate::Duplicate | Fate::Copy(_) => ("duplicate", None, None),
        Fate::Retyped => ("retype", None, None),
        Fate::Conflict(detail) => ("fail", Some("conflict"), Some(detail)),
        Fate::Refused(detail) => ("fail", Some("row_refused"), Some(detail)),
    };
    (would.to_owned(), code.map(str::to_owned), detail)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_persistence_then_does() {
    let url = registry().await;
    let world = world(&["--registry-url", &url]).await;
    let writer = Writer::open(
        &Secret::new(world.url.as_str()),
        &world.broker.kafka(),
        &Health::new(),
        &CancellationToken::new(),
    )
    .await
    .unwrap()
    .unwrap();
    // A rule the table has of its own is no part of any declaration.
    sqlx::query("ALTER TABLE persistence.events ADD CONSTRAINT not_1313 CHECK (amount <> 1313)")
        .execute(&world.pool)
        .await
        .unwrap();
    let before = [
        Case(100, "same", "5", false),
        Case(101, "other", "5", false),
        Case(3, "itself", "5", false),
        Case(4, "edited", "5", false),
        Case(5, "another id", "5", false),
    ];
    assert_eq!(
        stored(&writer, &before, false).await,
        vec![Fate::Stored; before.len()]
    );
    let cases = [
        Case(0, "new", "5", false),
        Case(1, "same", "5", false),
        Case(2, "other", "6", false),
        Case(3, "itself", "5", false),
        Case(4, "edited", "6", true),
        Case(5, "one id", "5", true),
        // Two letters of one event in one batch, and a third that says otherwise.
        Case(6, "twice", "7", false),
        Case(7, "twice", "7", false),
        Case(8, "twice", "8", false),
        Case(9, "nul \u{7f}", "5", false), // U+0000, see `replay::NUL`
        Case(10, "checked", "1313", false),
        Case(11, "new too", "5", false),
    ];
    let mut ids = Vec::new();
    for case in cases {
        let value = case.value();
        let headers: Vec<_> = case
            .headers()
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8(value).unwrap()))
            .collect();
        let dead = Dead {
            group: PERSISTENCE,
            raw: (0, case.0),
            value: Some(&value),
            headers: serde_json::json!(headers),
            ..Dead::default()
        };
        ids.push(world.dead(&dead).await);
    }
    let job = world.planned(&ids, "k").await;
    dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    let items = jobs::items(&world.recovery, &job.id, &[], 100)
        .await
        .unwrap();
    let predicted: Vec<_> = items
        .into_iter()
        .map(|item| {
            // PostgreSQL names the table.
            let detail = item.would_detail.filter(|_| item.would_code.is_some());
            let detail = detail.map(|detail| detail.replace("dry_run_rows", "events"));
            (item.would.unwrap().to_string(), item.would_code, detail)
        })
        .collect();
    let fates = stored(&writer, &cases, true).await;
    let mut actual: Vec<_> = fates.into_iter().map(outcome).collect();
    // Of what it would store itself a dry run keeps no payload, so it cannot name what differs from that.
    let detail = actual[8].2.take().unwrap();
    actual[8].2 = Some(detail.replace("; different: /payload/amount", ""));
    assert_eq!(predicted, actual);
}
