#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const FILE: &str = r#"
every = "5m"
[[policy]]
name = "after-a-contract-fix"
codes = ["unknown_event_type", "unsupported_schema_version"]
sources = ["payment-authorized"]
oldest = "30d"
budget = 500
"#;

#[test]
fn a_file_is_read_and_what_it_leaves_out_is_cautious() {
    let policies = Policies::parse(FILE).unwrap();
    assert_eq!(policies.every, Duration::from_secs(300));
    let policy = &policies.policy[0];
    assert_eq!(
        (policy.oldest, policy.budget, policy.max_tries),
        (Duration::from_secs(30 * 86400), 500, 3)
    );
    assert_eq!(
        Policies::parse("").unwrap().policy,
        [],
        "an empty file does nothing"
    );
}

#[test]
fn a_wrong_file_is_a_sentence() {
    for (text, part) in [
        ("every = \"soon\"", "not a duration"),
        ("every = \"5\u{1F600}\"", "not a duration"),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"no_such\"]",
            "there is no code no_such",
        ),
        ("[[policy]]\nname = \"a\"\ncodes = []", "list the codes"),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"conflict\"]",
            "needs a person",
        ),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"not_json\"]\n[[policy]]\nname = \"a\"\ncodes = [\"not_json\"]",
            "must not be empty or used twice",
        ),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"not_json\"]\nrate = 0",
            "rate",
        ),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"not_json\"]\nmax_tries = 0",
            "max_tries",
        ),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"not_json\"]\nyoungest = \"8d\"",
            "youngest",
        ),
        (
            "[[policy]]\nname = \"a\"\ncodes = [\"not_json\"]\nspeed = 1",
            "unknown field",
        ),
    ] {
        let error = Policies::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn contracts_version_and_the_policy_itself_are_in_the_fingerprint() {
    let policy = Policies::parse(FILE).unwrap().policy.remove(0);
    let all = Catalog::builtin();
    let fewer = Catalog::compile(Catalog::builtin_files().into_iter().take(1)).unwrap();
    assert_eq!(
        fingerprint(&policy, &all),
        fingerprint(&policy, &Catalog::builtin()),
        "whatever the order"
    );
    assert_ne!(fingerprint(&policy, &all), fingerprint(&policy, &fewer));
    let other = Policy {
        rate: 11.0,
        ..policy.clone()
    };
    assert_ne!(fingerprint(&policy, &all), fingerprint(&other, &all));
}

/// What the world does next.
#[derive(Debug, Clone)]
enum Happens {
    /// Time passes (seconds)
    Time(u32),
    /// A deploy: another fingerprint
    Deploy,
    /// The running replay ends; these of its items fail again, the others are stored
    End(Vec<bool>),
    /// The role is killed after the tries are counted, before anything is sent
    Crash,
    /// A person replays a dead letter, in vain
    Person(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (1_u32..20_000).prop_map(Happens::Time),
        Just(Happens::Deploy),
        prop::collection::vec(any::<bool>(), 0..12).prop_map(Happens::End),
        Just(Happens::Crash),
        (0_usize..12).prop_map(Happens::Person),
    ]
}

proptest! {
    /// Whatever the world answers, in whatever order, for however long: tries are bounded, paused, budgeted, and end at a stop.
    #[test]
    fn no_loop_is_possible(
        story in prop::collection::vec(happens(), 1..400),
        max_tries in 1_u32..5,
        budget in 1_usize..20,
        backoff in 1_u64..5_000,
        stop_after_failures in 1_usize..6,
        max_replays in 1_u32..8,
    ) {
        let policy = Policy {
            max_tries, budget, stop_after_failures, backoff: Duration::from_secs(backoff),
            youngest: Duration::from_secs(1), oldest: Duration::from_secs(365 * 86400),
            ..Policies::parse(FILE).unwrap().policy.remove(0)
        };
        let mut now = Time::UNIX_EPOCH + time::Duration::days(20_000);
        let fresh = |id| Candidate { id, last_failed_at: now, replay_count: 0, tries: 0, next_try_at: None, failed_with: None };
        let mut letters: HashMap<i64, Candidate> = (0..12).map(|id| (id, fresh(id))).collect();
        let mut standing = Standing::default();
        let (mut running, mut deploys, mut sent): (Vec<i64>, u32, Vec<Time>) = (Vec::new(), 0, Vec::new());
        let mut tries: HashMap<i64, Vec<Time>> = HashMap::new();
        for event in story {
            let mut crash = false;
            match event {
                Happens::Time(seconds) => now += time::Duration::seconds(i64::from(seconds)),
                Happens::Deploy => deploys += 1,
                Happens::Crash => crash = true,
                Happens::Person(id) => {
                    if let Some(letter) = letters.get_mut(&i64::try_from(id).unwrap()) {
                        letter.replay_count += 1;
                        letter.last_failed_at = now;
                    }
                }
                Happens::End(failures) => {
                    let mut failed = 0;
                    for (id, fails) in running.drain(..).zip(failures.into_iter().chain(std::iter::repeat(true))) {
                        let letter = letters.get_mut(&id).unwrap();
                        letter.replay_count += 1;
                        letter.last_failed_at = now;
                        failed += usize::from(fails);
                        if !fails {
                            letters.remove(&id);
                        }
                    }
                    standing.busy = false;
                    if must_stop(&policy, failed) {
                        standing.stopped_with = Some(deploys.to_string());
                    }
                }
            }
            standing.spent = sent.iter().filter(|at| now - **at < time::Duration::hours(1)).count();
            let fingerprint = deploys.to_string();
            let mut candidates: Vec<Candidate> = letters.values().cloned().collect();
            candidates.sort_by_key(|candidate| candidate.id);
            let chosen: Vec<i64> =
                choose(&policy, &fingerprint, &standing, &candidates, max_replays, now).into_iter().map(|one| one.id).collect();
            prop_assert!(chosen.is_empty() || standing.stopped_with.as_deref() != Some(&fingerprint), "stopped means stopped");
            for id in &chosen {
                let letter = letters.get_mut(id).unwrap();
                prop_assert!(letter.replay_count < max_replays);
                letter.next_try_at = Some(next_try(&policy, letter.tries, now));
                letter.tries += 1;
                let all = tries.entry(*id).or_default();
                if let Some(before) = all.last() {
                    let pause = time::Duration::seconds(i64::try_from(backoff << (all.len() - 1)).unwrap());
                    prop_assert!(now - *before >= pause, "each pause is twice the one before");
                }
                all.push(now);
                prop_assert!(all.len() <= max_tries as usize, "never more than max_tries, whatever happens");
            }
            if !crash {
                sent.extend(chosen.iter().map(|_| now));
                prop_assert!(sent.iter().filter(|at| now - **at < time::Duration::hours(1)).count() <= budget);
                standing.busy = !chosen.is_empty() || standing.busy;
                running.extend(chosen);
            }
        }
    }
}
