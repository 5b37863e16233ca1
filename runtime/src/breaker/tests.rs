use super::*;
use contracts::RejectionCode;

const SETTINGS: BreakerSettings = BreakerSettings {
    may_hold: true,
    max_ratio: 0.5,
    window: 20,
    longest_hold: Duration::from_secs(3600),
};
const YOUNG: Duration = Duration::ZERO;

struct Stage {
    breaker: Breaker,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        Self {
            breaker: Breaker::new(SETTINGS, "today"),
            now: Instant::now(),
        }
    }

    /// So many records of each of these sources, all bad or all good.
    fn admit(&mut self, records: &[(&str, usize, bool)]) -> Result<Admitted, BreakerOpen> {
        self.admit_aged(records, YOUNG)
    }

    fn admit_aged(
        &mut self,
        records: &[(&str, usize, bool)],
        age: Duration,
    ) -> Result<Admitted, BreakerOpen> {
        let rejection = Rejection::new(RejectionCode::NotJson, None, "test");
        let records: Vec<_> = records
            .iter()
            .flat_map(|&(source, count, is_bad)| {
                std::iter::repeat_n((source, is_bad.then_some(&rejection)), count)
            })
            .collect();
        self.breaker.admit(self.now, age, records.into_iter())
    }

    fn passes(&mut self, records: &[(&str, usize, bool)]) -> Vec<(String, bool)> {
        let admitted = self.admit(records).unwrap();
        assert!(!admitted.released);
        admitted
            .changed
            .into_iter()
            .filter(|changed| changed.over.is_some() || !changed.is_first)
            .map(|changed| (changed.source, changed.over.is_some()))
            .collect()
    }
}

#[test]
fn a_source_over_its_share_is_reported_once_and_holds_nobody() {
    let mut stage = Stage::new();
    assert_eq!(stage.passes(&[("good", 20, false)]), []);
    assert_eq!(stage.passes(&[("bad", 1000, true)]), [("bad".into(), true)]);
    assert_eq!(stage.passes(&[("bad", 1000, true), ("good", 5, false)]), []);
    assert_eq!(
        stage.passes(&[("bad", 20, false)]),
        [("bad".into(), false)],
        "and once when it comes back"
    );
}

#[test]
fn one_source_alone_holds_nobody_even_when_it_is_the_only_one() {
    let mut stage = Stage::new();
    assert_eq!(stage.passes(&[("bad", 1000, true)]), [("bad".into(), true)]);
    // The other is slower, and not judged before it sent a tenth of a window.
    assert_eq!(stage.passes(&[("good", 1, true)]), []);
    assert_eq!(stage.passes(&[("good", 19, false)]), []);
}

#[test]
fn most_sources_over_their_share_together_hold_the_stage_and_nothing_is_counted_then() {
    let mut stage = Stage::new();
    stage.passes(&[("a", 20, false), ("b", 20, false), ("c", 20, false)]);
    stage.passes(&[("a", 20, true)]);
    for _ in 0..3 {
        let open = stage.admit(&[("b", 20, true)]).unwrap_err();
        assert_eq!(open.over, ["a", "b"]);
        assert!(!open.after_change && open.first_code == "not_json");
        let text = open.to_string();
        assert!(
            text.starts_with("most records of a, b would be dead-lettered (first code: not_json)"),
            "{text}"
        );
    }
    assert_eq!(
        stage.passes(&[("b", 8, true), ("b", 12, false)]),
        [],
        "judged again with other outcomes, b is fine"
    );
}

#[test]
fn what_has_been_bad_for_long_is_no_sign_of_our_own_fault() {
    let mut stage = Stage::new();
    stage.passes(&[("a", 20, true)]);
    stage.now += TOGETHER;
    stage.passes(&[("a", 20, true), ("b", 20, true)]);
}

#[test]
fn a_hold_ends_after_its_time_and_does_not_begin_again_for_the_same_sources() {
    let mut stage = Stage::new();
    let all_bad = [("a", 20, true), ("b", 20, true)];
    assert!(stage.admit(&all_bad).is_err());
    stage.now += SETTINGS.longest_hold - Duration::from_secs(1);
    assert!(stage.admit(&all_bad).is_err());
    stage.now += Duration::from_secs(1);
    assert!(stage.admit(&all_bad).unwrap().released);
    assert_eq!(stage.passes(&all_bad), []);
    let mut restarted = Stage::new();
    assert!(
        restarted
            .admit_aged(&all_bad, MAX_HELD_AGE)
            .unwrap()
            .released,
        "old records are held by no restart"
    );
}

#[test]
fn right_after_the_rules_changed_all_that_was_fine_before_must_fail_to_hold_the_stage() {
    for (note, admitted, held) in [
        ("yesterday 7 a", vec![("a", 20, true)], true),
        ("today 7 a", vec![("a", 20, true)], false),
        ("today 1", vec![("a", 20, true)], false),
        ("nonsense", vec![("a", 20, true)], false),
        ("yesterday 7", vec![("a", 20, true)], false),
        ("yesterday 7 -a", vec![("a", 20, true)], false),
        ("yesterday 7 a b", vec![("a", 1000, true)], false),
        ("yesterday 7 b", vec![("a", 1000, true)], false),
        (
            "yesterday 7 a -c",
            vec![("c", 20, true), ("a", 20, true)],
            true,
        ),
        (
            "yesterday 7 -a -b",
            vec![("a", 20, true), ("b", 20, true)],
            false,
        ),
    ] {
        let mut stage = Stage::new();
        stage.breaker.compare([note, "other 5 a b c"]);
        assert_eq!(
            stage.admit(&admitted).is_err(),
            held,
            "{note:?} {admitted:?}"
        );
    }
    let mut stage = Stage::new();
    stage.breaker.compare(["yesterday 7 a"]);
    stage.passes(&[("a", 20, false)]);
    stage.breaker.compare(["yesterday 7 a"]);
    assert_eq!(
        stage.passes(&[("a", 20, true)]),
        [("a".into(), true)],
        "these rules were proven"
    );
}

#[test]
fn a_note_names_the_rules_and_the_active_sources() {
    let mut stage = Stage::new();
    stage.passes(&[("idle", 20, false)]);
    stage.now += TOGETHER;
    stage.passes(&[
        ("b", 20, true),
        ("a", 20, false),
        ("few", 1, false),
        ("", 20, false),
    ]);
    assert_eq!(stage.breaker.note(stage.now, 9), "today 9 -b a");
    let mut next = Stage::new();
    next.breaker.compare(["tomorrow 9 -b a"]);
    assert!(next.admit(&[("a", 20, true)]).is_err());
}

#[test]
fn the_number_of_sources_is_bounded() {
    let mut stage = Stage::new();
    for number in 0..MAX_SOURCES + 10 {
        stage.passes(&[(&format!("source-{number}"), 1, false)]);
    }
    assert_eq!(stage.breaker.sources.len(), MAX_SOURCES);
    assert!(
        stage.breaker.note(stage.now, 9).len() < 4096,
        "Kafka's bound for a commit's metadata"
    );
}
