//! The figures, purely: exact amounts, minutes by receipt, each offset and each event once, bounded memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

use analytics::figures::{Figures, MAX_NAMES, MINUTE_MS, Noted, Observation, RECENT_EVENTS};
use analytics::stats::{KindTotals, stats};

/// 12:00:30 of some day.
const NOW_MS: i64 = 1_767_355_230_000;
const AUTHORIZED: &str = "payment.authorized.v1";
const REFUNDED: &str = "payment.refunded.v1";

/// Counts a new event of partition 0 at the next offset.
fn count(
    figures: &mut Figures,
    received_at_ms: i64,
    event_type: &str,
    amount: &str,
    currency: &str,
) -> Noted {
    let offset = figures.covered().first().map_or(0, |covered| covered.next);
    assert!(figures.begin(0, offset, NOW_MS));
    let kind = match event_type {
        AUTHORIZED => Some("authorized"),
        REFUNDED => Some("refunded"),
        _ => None,
    };
    let kind = figures.kind(kind);
    let event_type = figures.event_type(event_type);
    let seen = Observation {
        partition: 0,
        event: figures.event("test", &offset.to_string()),
        received_at_ms,
        event_type,
        kind,
        amount: Some(amount),
        currency: Some(currency),
    };
    figures.note(&seen, NOW_MS)
}

fn amounts(totals: &KindTotals) -> Vec<(&str, &str)> {
    totals
        .amounts
        .iter()
        .map(|(currency, amount)| (currency.as_str(), amount.as_str()))
        .collect()
}

#[test]
fn amounts_are_added_up_digit_for_digit() {
    let mut figures = Figures::default();
    for (event_type, amount, currency) in [
        (AUTHORIZED, "0.1", "EUR"),
        (AUTHORIZED, "0.2", "EUR"),
        (AUTHORIZED, "999999999999999999999999.99", "USD"),
        (AUTHORIZED, "0.01", "USD"),
        (AUTHORIZED, "5", "JPY"),
        (AUTHORIZED, "1.234", "KWD"),
        (AUTHORIZED, "0.0001", "CLF"),
        (REFUNDED, "0.3", "EUR"),
        ("payout.made.v1", "7.5", "EUR"),
    ] {
        assert_eq!(
            count(&mut figures, NOW_MS, event_type, amount, currency),
            Noted::Counted
        );
    }
    let total = stats(&figures, NOW_MS).total;
    let exact = [
        ("CLF", "0.0001"),
        ("EUR", "0.3"),
        ("JPY", "5"),
        ("KWD", "1.234"),
        ("USD", "1000000000000000000000000"),
    ];
    assert_eq!(amounts(&total.by_kind["authorized"]), exact);
    assert_eq!(amounts(&total.by_kind["refunded"]), [("EUR", "0.3")]);
    assert_eq!(amounts(&total.by_kind["other"]), [("EUR", "7.5")]);
    assert_eq!(
        (
            total.events,
            total.by_kind["authorized"].events,
            total.by_kind["refunded"].events,
            total.by_kind["other"].events
        ),
        (9, 7, 1, 1)
    );
    assert_eq!(
        total.by_event_type.into_iter().collect::<Vec<_>>(),
        [
            (AUTHORIZED.to_owned(), 7),
            (REFUNDED.to_owned(), 1),
            ("payout.made.v1".to_owned(), 1)
        ]
    );
}

#[test]
fn what_cannot_be_added_up_is_counted_and_said() {
    let mut figures = Figures::default();
    for (amount, currency) in [
        ("1", "EUR"),
        ("0.001", "EUR"),
        ("1.5", "JPY"),
        ("1", "XXX"),
        ("1", "eur"),
        ("many", "EUR"),
        ("1", "€"),
    ] {
        assert_eq!(
            count(&mut figures, NOW_MS, AUTHORIZED, amount, currency),
            Noted::Counted
        );
    }
    let authorized = &stats(&figures, NOW_MS).total.by_kind["authorized"];
    assert_eq!((authorized.events, authorized.without_amount), (7, 6));
    assert_eq!(amounts(authorized), [("EUR", "1")]);
}

#[test]
fn kinds_are_the_words_of_the_contracts_as_far_as_they_are_bounded() {
    let mut figures = Figures::default();
    let mut kinds = vec![None, Some("other".to_owned()), Some("booked".to_owned())];
    kinds.extend((0..MAX_NAMES).map(|number| Some(format!("kind {number}"))));
    for (offset, kind) in (0..).zip(&kinds) {
        figures.begin(0, offset, NOW_MS);
        let seen = Observation {
            partition: 0,
            event: figures.event("test", &offset.to_string()),
            received_at_ms: NOW_MS,
            event_type: figures.event_type(AUTHORIZED),
            kind: figures.kind(kind.as_deref()),
            amount: Some("1"),
            currency: Some("EUR"),
        };
        assert_eq!(figures.note(&seen, NOW_MS), Noted::Counted);
    }
    let by_kind = stats(&figures, NOW_MS).total.by_kind;
    assert_eq!(by_kind["booked"].events, 1);
    assert_eq!(
        by_kind["other"].events, 3,
        "without, named so, one too many"
    );
    assert_eq!(by_kind.len(), MAX_NAMES + 1);
}

#[test]
fn an_event_belongs_to_the_minute_it_was_received_in() {
    let mut figures = Figures::default();
    let current = NOW_MS.div_euclid(MINUTE_MS) * MINUTE_MS;
    for (received_at_ms, expected) in [
        (current, Noted::Counted),
        (current - 1, Noted::Counted),
        (current - 59 * MINUTE_MS, Noted::Counted),
        (current - 59 * MINUTE_MS - 1, Noted::OutsideWindow),
        (current + 2 * MINUTE_MS - 1, Noted::Counted),
        (current + 2 * MINUTE_MS, Noted::OutsideWindow),
        (0, Noted::OutsideWindow),
        (i64::MAX, Noted::OutsideWindow),
        (i64::MIN, Noted::OutsideWindow),
    ] {
        assert_eq!(
            count(&mut figures, received_at_ms, AUTHORIZED, "1", "EUR"),
            expected,
            "{received_at_ms}"
        );
    }
    let view = stats(&figures, NOW_MS);
    let minutes: Vec<_> = view
        .minutes
        .iter()
        .map(|minute| {
            (
                minute.minute.as_str(),
                minute.complete,
                minute.totals.events,
            )
        })
        .collect();
    let expected = [
        ("2026-01-02T11:01:00Z", true, 1),
        ("2026-01-02T11:59:00Z", true, 1),
        ("2026-01-02T12:00:00Z", false, 1),
        ("2026-01-02T12:01:00Z", false, 1),
    ];
    assert_eq!(minutes, expected);
    assert_eq!(
        stats(&figures, NOW_MS + 60 * MINUTE_MS).minutes.len(),
        1,
        "what is older than the window is not shown, events or not"
    );
    assert_eq!(stats(&figures, NOW_MS + 61 * MINUTE_MS).total.events, 0);
}

#[test]
fn minutes_are_forgotten_when_they_leave_the_window() {
    let mut figures = Figures::default();
    for minute in 0..1000 {
        let now_ms = NOW_MS + minute * MINUTE_MS;
        figures.begin(0, minute, now_ms);
        let event_type = figures.event_type(AUTHORIZED);
        let kind = figures.kind(Some("authorized"));
        let seen = Observation {
            partition: 0,
            event: figures.event("test", &minute.to_string()),
            received_at_ms: now_ms,
            event_type,
            kind,
            amount: None,
            currency: None,
        };
        assert_eq!(figures.note(&seen, now_ms), Noted::Counted);
    }
    assert_eq!(
        figures.window(NOW_MS).len(),
        60,
        "asked for the past, only what is kept can answer"
    );
}

#[test]
fn an_offset_is_covered_once_and_gaps_are_fine() {
    let mut figures = Figures::default();
    let begun: Vec<bool> = [5, 6, 6, 5, 9, 7, 10]
        .iter()
        .map(|offset| figures.begin(3, *offset, NOW_MS))
        .collect();
    assert_eq!(begun, [true, true, false, false, true, false, true]);
    let covered = figures.covered();
    assert_eq!(
        (covered[0].partition, covered[0].first, covered[0].next),
        (3, 5, 11)
    );
}

#[test]
fn an_event_that_comes_twice_counts_once_while_it_is_recent() {
    let mut figures = Figures::default();
    let event_type = figures.event_type(AUTHORIZED);
    let kind = figures.kind(Some("authorized"));
    let mut note = |source: &str, event_id: &str| {
        let seen = Observation {
            partition: 1,
            event: figures.event(source, event_id),
            received_at_ms: NOW_MS,
            event_type,
            kind,
            amount: Some("1"),
            currency: Some("EUR"),
        };
        figures.note(&seen, NOW_MS)
    };
    assert_eq!(note("acme", "e-1"), Noted::Counted);
    assert_eq!(note("acme", "e-1"), Noted::Duplicate);
    assert_eq!(
        note("other", "e-1"),
        Noted::Counted,
        "ids are the source's own"
    );
    assert_eq!(note("acme", "e-2"), Noted::Counted);
    for event in 0..RECENT_EVENTS {
        note("bulk", &event.to_string());
    }
    assert_eq!(
        note("acme", "e-1"),
        Noted::Counted,
        "memory is bounded: it is not recent any more"
    );
}

#[test]
fn event_types_are_bounded() {
    let mut figures = Figures::new([AUTHORIZED, REFUNDED]);
    for number in 0..500 {
        let event_type = format!("made.up.v{number}");
        count(&mut figures, NOW_MS, &event_type, "1", "EUR");
    }
    count(&mut figures, NOW_MS, AUTHORIZED, "1", "EUR");
    let by_event_type = stats(&figures, NOW_MS).total.by_event_type;
    assert_eq!(figures.event_types().len(), MAX_NAMES + 1);
    assert_eq!(by_event_type["other"], 500 - 62);
    assert_eq!(by_event_type[AUTHORIZED], 1);
    assert_eq!(by_event_type.values().sum::<u64>(), 501);
}

#[test]
fn an_assignment_goes_on_where_the_figures_end() {
    let mut figures = Figures::default();
    assert_eq!(figures.assign(&[0, 1], NOW_MS), [None, None]);
    count(&mut figures, NOW_MS, AUTHORIZED, "1", "EUR");
    assert_eq!(figures.assign(&[1, 0], NOW_MS), [None, Some(1)]);
    assert_eq!(stats(&figures, NOW_MS).total.events, 1);
    assert_eq!(
        figures.assign(&[1], NOW_MS),
        [None],
        "another instance has partition 0 now and shows its figures"
    );
    assert_eq!(stats(&figures, NOW_MS).total.events, 0);
    assert_eq!(
        figures.assign(&[0], NOW_MS),
        [None],
        "back again: the hour is read again"
    );
    count(&mut figures, NOW_MS, AUTHORIZED, "1", "EUR");
    let later = NOW_MS + 60 * MINUTE_MS;
    assert_eq!(
        figures.assign(&[0], later),
        [None],
        "not looked at for an hour: the offset may be gone"
    );
    assert!(figures.covered().is_empty());
}
