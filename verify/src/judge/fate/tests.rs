//! Each check, in a world where it fails, and in those beside it where it does not.

use super::*;
use crate::judge::world::{BODY, dead, headers_of, names, position, raw, replay, row};

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"event_id","type":"string"},{"name":"event_type","type":"string"},
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"payload","type":{"type":"record","name":"P","fields":[
        {"name":"payment_id","type":"string"},
        {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":28,"scale":4}}]}},
    {"name":"rest","type":["null","string"],"default":null}]}"#;

fn judged(position: &Position, group: &[OfRaw]) -> (Vec<&'static str>, Vec<OfEvent>, Counts) {
    judged_after(Vec::new(), position, group)
}

/// The same where these topics were deleted and created again.
fn judged_after(
    recreated: Vec<Topic>,
    position: &Position,
    group: &[OfRaw],
) -> (Vec<&'static str>, Vec<OfEvent>, Counts) {
    let mut schemas = Schemas::default();
    schemas.add(7, SCHEMA).unwrap();
    let scope = Scope {
        names: names(),
        epoch: String::new(),
        raw: [(0, (2, 100, 110))].into(),
        gone: Vec::new(),
        recreated,
        epochs: 1,
        schemas: Some(&schemas),
    };
    let (mut found, mut counts) = (Findings::new(3), Counts::default());
    let passed = judge(position, group, &scope, &mut counts, &mut found);
    let failed = found.failed().into_iter().map(|(name, _)| name).collect();
    (
        failed,
        passed.into_iter().map(|(.., piece)| piece).collect(),
        counts,
    )
}

fn failed(group: &[OfRaw]) -> Vec<&'static str> {
    judged(&position(0), group).0
}

fn record(record: Record) -> OfRaw {
    OfRaw::Record(record)
}

fn asked(expect: Expect) -> OfRaw {
    OfRaw::Asked {
        expects: vec![expect],
        place: Place::Line { file: 0, at: 0 },
        event_id: "e-1".to_owned(),
    }
}

fn duplicate() -> OfRaw {
    OfRaw::Duplicate {
        source: "s".to_owned(),
        event_id: "e-1".to_owned(),
    }
}

/// A validated record with this amount, in ten thousandths.
fn validated(unscaled: i64) -> Record {
    let text = |text: &str| {
        let mut bytes = vec![u8::try_from(text.len() * 2).unwrap()];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    let mut value = vec![0, 0, 0, 0, 7];
    value.extend(text("e-1"));
    value.extend(text("payment.authorized.v1"));
    let mut micros = u64::try_from(crate::judge::world::MICROS).unwrap() << 1;
    while micros > 0x7f {
        value.push(u8::try_from(micros & 0x7f).unwrap() | 0x80);
        micros >>= 7;
    }
    value.push(u8::try_from(micros).unwrap());
    value.extend(text("p-1"));
    value.push(16);
    value.extend_from_slice(&unscaled.to_be_bytes());
    value.push(2);
    value.extend(text(r#"{"/currency":"EUR"}"#));
    Record {
        topic: Topic::Validated,
        value: Some(value.into()),
        headers: headers_of(&[(headers::SOURCE, "s"), (headers::RAW, "0:0")]),
        ..raw()
    }
}

#[test]
fn a_sound_event_has_no_findings() {
    let (failed, _, counts) = judged(
        &position(0),
        &[
            record(raw()),
            record(validated(499_000)),
            OfRaw::Row(row()),
            asked(Expect::Good),
        ],
    );
    assert_eq!(failed, Vec::<&str>::new());
    assert_eq!((counts.raw, counts.stored), (1, 1));
    assert_eq!(
        self::failed(&[record(raw()), duplicate(), asked(Expect::Good)]),
        Vec::<&str>::new()
    );
}

#[test]
fn a_raw_record_has_one_fate() {
    assert_eq!(failed(&[record(raw())]), ["no_fate"]);
    assert_eq!(
        failed(&[record(raw()), record(validated(499_000))]),
        ["no_fate"]
    );
    assert_eq!(
        failed(&[record(raw()), OfRaw::Row(row()), duplicate()]),
        ["two_fates"]
    );
    let letter = || dead(&raw(), "not_json", "poison");
    assert_eq!(
        failed(&[record(raw()), record(letter())]),
        Vec::<&str>::new()
    );
    assert_eq!(
        failed(&[record(raw()), record(letter()), OfRaw::Row(row())]),
        ["two_fates"]
    );
    let resolved = [
        record(raw()),
        record(letter()),
        record(replay(&letter())),
        OfRaw::Row(row()),
    ];
    assert_eq!(
        failed(&resolved),
        Vec::<&str>::new(),
        "replayed, and stored"
    );
    let lost = [record(raw()), record(letter()), record(replay(&letter()))];
    assert_eq!(failed(&lost), ["no_fate"], "replayed, and gone");
    let again = dead(&replay(&letter()), "not_json", "poison");
    let again = [&lost[..], &[record(again)]].concat();
    assert_eq!(failed(&again), Vec::<&str>::new(), "dead-lettered again");
    // A crash between the dead letter and the commit makes another copy.
    assert_eq!(
        failed(&[record(raw()), record(letter()), record(letter())]),
        Vec::<&str>::new()
    );
}

#[test]
fn what_went_with_a_retry_topic_is_not_missed() {
    let edited = |mut record: Record| {
        record.value = Some(b"{}".to_vec().into());
        let by = headers_of(&[(headers::EDITED_BY, "ann")]);
        record.headers.extend(by);
        record
    };
    let letter = dead(&raw(), "not_json", "poison");
    let failed_again = dead(&edited(replay(&letter)), "missing_field", "contract");
    let mut later = replay(&failed_again);
    later.offset += 1;
    let mut edited_row = row();
    edited_row.edited_by = Some("ann".to_owned());
    edited_row.amount = Some("1.00".to_owned());
    let stored = [
        record(raw()),
        record(letter.clone()),
        record(failed_again),
        record(later),
        OfRaw::Row(edited_row),
    ];
    let no_replay = [record(raw()), record(letter), OfRaw::Row(row())];
    let after = |topics, group: &[OfRaw]| judged_after(topics, &position(0), group).0;
    let none = Vec::<&str>::new();
    assert_eq!(after(vec![Topic::Retry(0)], &stored), none);
    assert_eq!(after(vec![Topic::Retry(0)], &no_replay), none);
    assert_eq!(failed(&stored), ["not_verbatim", "field_differs"]);
    assert_eq!(failed(&no_replay), ["two_fates"]);
    let other = vec![Topic::Validated];
    assert_eq!(after(other, &no_replay), ["two_fates"]);
    let mut wrong = row();
    wrong.amount = Some("1.00".to_owned());
    let wrong = [&no_replay[..2], &[OfRaw::Row(wrong)]].concat();
    assert_eq!(after(vec![Topic::Retry(0)], &wrong), ["field_differs"]);
}

#[test]
fn a_dead_letter_is_replayed_once_until_it_fails_again() {
    let numbered = |of: &Record, count: &str, offset: i64| {
        let mut sent = replay(of);
        sent.offset = offset;
        sent.headers
            .retain(|(name, _)| name != headers::REPLAY_COUNT);
        let number = headers_of(&[(headers::REPLAY_COUNT, count)]);
        sent.headers.extend(number);
        sent
    };
    let letter = dead(&raw(), "not_json", "poison");
    let first = numbered(&letter, "1", 0);
    let again = dead(&first, "not_json", "poison");
    let second = numbered(&again, "2", 1);
    let sound = [raw(), letter.clone(), first, again, second].map(record);
    let stored = [&sound[..], &[OfRaw::Row(row())]].concat();
    assert_eq!(failed(&stored), Vec::<&str>::new());
    let twice = [&stored[..], &[record(numbered(&letter, "1", 7))]].concat();
    assert_eq!(failed(&twice), ["replayed_twice"]);
}

#[test]
fn what_has_no_raw_record_is_invented_unless_that_was_deleted() {
    let group = [OfRaw::Row(row())];
    assert_eq!(judged(&position(5), &group).0, ["invented"]);
    let old = Position {
        epoch: "@old".to_owned(),
        ..position(5)
    };
    assert_eq!(
        judged(&position(110), &group).0,
        ["invented"],
        "beyond the end"
    );
    for unseen in [position(1), position(100), old.clone()] {
        let (failed, _, counts) = judged(&unseen, &group);
        assert_eq!((failed, counts.unseen), (Vec::new(), 1));
    }
    let of_raw = record(dead(&raw(), "not_json", "poison"));
    assert!(judged(&old, &[of_raw]).1.is_empty(), "known by its bytes");
    let mut row_refused = dead(&validated(1), "row_refused", "refused");
    row_refused
        .headers
        .extend(headers_of(&[(headers::EVENT_ID, "e-1")]));
    let passed = judged(&old, &[record(row_refused)]).1;
    assert!(matches!(passed[..], [OfEvent::OldDead { .. }]));
}

#[test]
fn a_dead_letter_is_verbatim_with_a_documented_code() {
    let changes: [fn(&mut Record); 5] = [
        |letter| letter.value = Some(BODY.replace("49.90", "49.91").into_bytes().into()),
        |letter| letter.key = None,
        |letter| letter.headers.retain(|(name, _)| name != "x-signature"),
        |letter| letter.headers.insert(0, ("added".to_owned(), None)),
        |letter| letter.headers.retain(|(name, _)| name != dlq::ERRORS_TOPIC),
    ];
    for change in changes {
        let mut letter = dead(&raw(), "not_json", "poison");
        change(&mut letter);
        assert_eq!(failed(&[record(raw()), record(letter)]), ["not_verbatim"]);
    }
    let elsewhere = dead(&Record { offset: 3, ..raw() }, "not_json", "poison");
    assert_eq!(
        failed(&[record(raw()), record(elsewhere)]),
        Vec::<&str>::new(),
        "any copy will do"
    );
    let of_validated = dead(&validated(1), "conflict", "conflict");
    assert_eq!(
        failed(&[record(raw()), record(of_validated)]),
        ["not_verbatim"]
    );
    for (code, disposition) in [("broker_down", "poison"), ("not_json", "contract")] {
        let letter = dead(&raw(), code, disposition);
        assert_eq!(failed(&[record(raw()), record(letter)]), ["bad_code"]);
    }
}

#[test]
fn an_event_without_a_fault_is_not_dead_lettered() {
    let letter = |code, disposition| record(dead(&raw(), code, disposition));
    let group = [
        record(raw()),
        letter("unknown_event_type", "contract"),
        asked(Expect::Good),
    ];
    assert_eq!(failed(&group), ["outage_dead_lettered"]);
    let group = [
        record(raw()),
        letter("conflict", "conflict"),
        asked(Expect::Good),
    ];
    let (failed, passed, _) = judged(&position(0), &group);
    assert!(failed.is_empty() && matches!(passed[..], [OfEvent::Conflict { .. }]));
}

#[test]
fn an_event_with_a_fault_is_dead_lettered_for_it() {
    let expected = || asked(Expect::Dead("missing_field".to_owned()));
    let letter = |code| record(dead(&raw(), code, "contract"));
    assert_eq!(
        failed(&[record(raw()), letter("missing_field"), expected()]),
        Vec::<&str>::new()
    );
    assert_eq!(
        failed(&[record(raw()), letter("blank_field"), expected()]),
        ["wrong_fate"]
    );
    assert_eq!(
        failed(&[record(raw()), OfRaw::Row(row()), expected()]),
        ["wrong_fate"]
    );
    let conflict = asked(Expect::Dead("conflict".to_owned()));
    let first = [record(raw()), OfRaw::Row(row()), conflict];
    assert_eq!(
        failed(&first),
        Vec::<&str>::new(),
        "the other content came later"
    );
}

#[test]
fn what_is_unproven_is_stored_only_after_a_person_let_it_pass() {
    let mut stale = raw();
    stale
        .headers
        .extend(headers_of(&[(headers::UNPROVEN, "stale")]));
    assert_eq!(
        failed(&[record(stale.clone()), OfRaw::Row(row())]),
        ["wrong_fate"]
    );
    let letter = dead(&stale, "stale", "unproven");
    let group = [
        record(stale),
        record(letter.clone()),
        record(replay(&letter)),
        OfRaw::Row(row()),
    ];
    assert_eq!(failed(&group), Vec::<&str>::new());
}

#[test]
fn a_replay_has_a_dead_letter_and_its_bytes() {
    let letter = dead(&raw(), "not_json", "poison");
    assert_eq!(
        failed(&[record(raw()), record(replay(&letter)), OfRaw::Row(row())]),
        ["replay_unfounded"]
    );
    let mut other = replay(&letter);
    other.value = Some(BODY.replace("49.90", "1").into_bytes().into());
    let row_of_edit = || {
        let edited = row().payload.replace("49.90", "1");
        OfRaw::Row(Row {
            amount: Some("1".to_owned()),
            payload: edited,
            edited_by: Some("anna".to_owned()),
            ..row()
        })
    };
    let group = |other: Record, row| [record(raw()), record(letter.clone()), record(other), row];
    assert_eq!(
        failed(&group(other.clone(), OfRaw::Row(row()))),
        ["not_verbatim"]
    );
    other
        .headers
        .extend(headers_of(&[(headers::EDITED_BY, "anna")]));
    assert_eq!(
        failed(&group(other.clone(), row_of_edit())),
        Vec::<&str>::new()
    );
    assert_eq!(
        failed(&group(replay(&letter), row_of_edit())),
        ["field_differs"]
    );
}

#[test]
fn a_row_says_what_was_signed() {
    let changes: [fn(&mut Row); 11] = [
        |row| row.amount = Some("49.91".to_owned()),
        |row| row.amount = Some("49.900000000000001".to_owned()),
        |row| row.payload = row.payload.replace("49.90", "49.91"),
        |row| row.payload = row.payload.replace("\"p-1\"", "\"p-2\""),
        |row| row.payload = row.payload.replace("null", "1"),
        |row| row.currency = Some("USD".to_owned()),
        |row| row.event_id = "e-2".to_owned(),
        |row| row.event_type = "other".to_owned(),
        |row| row.entity_key = Some("p-2".to_owned()),
        |row| row.occurred_at_micros += 1,
        |row| row.received_at_micros = None,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut row = row();
        change(&mut row);
        assert_eq!(
            failed(&[record(raw()), OfRaw::Row(row)]),
            ["field_differs"],
            "{number}"
        );
    }
}

#[test]
fn a_validated_record_says_what_was_signed() {
    let group = |validated| [record(raw()), record(validated), OfRaw::Row(row())];
    assert_eq!(failed(&group(validated(499_001))), ["field_differs"]);
    let mut cut = validated(499_000);
    cut.value.as_mut().unwrap().pop();
    assert_eq!(failed(&group(cut)), ["field_differs"]);
    let mut longer = validated(499_000);
    longer.value.as_mut().unwrap().push(0);
    assert_eq!(failed(&group(longer)), ["field_differs"]);
    let filtered = Record {
        value: None,
        ..validated(0)
    };
    assert_eq!(failed(&group(filtered)), Vec::<&str>::new());
}
