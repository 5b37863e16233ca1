#![allow(clippy::unwrap_used, reason = "a test")]
use super::*;
use crate::kafka::topics;

type Change<'a> = &'a dyn Fn(&mut Pipeline);

fn names(set: &BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}

#[test]
fn the_built_in_one_has_the_default_topics_and_no_role_may_do_more_than_its_work() {
    let built_in = Pipeline::built_in();
    let retries = ["eventflow-validator", "eventflow-persistence"].map(topics::retry);
    let own = [
        topics::RAW,
        topics::VALIDATED,
        topics::DLQ,
        topics::REJECTIONS,
    ];
    let wanted: BTreeSet<&str> = own
        .into_iter()
        .chain(retries.iter().map(String::as_str))
        .collect();
    assert_eq!(
        built_in
            .topics
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        wanted
    );
    assert_eq!(
        (&*built_in.raw, &*built_in.dead_letters),
        (topics::RAW, topics::DLQ)
    );
    let principals = built_in.principals();
    let may = |who: &str| &principals[who];
    let (own, other) = (&retries[0], &retries[1]);
    // The edge can only add to its two topics; only the validator says what is valid; a retry topic is read by its own stage alone.
    let edge = [topics::RAW, topics::REJECTIONS];
    assert_eq!(names(&may("producer").write), edge);
    assert!(may("producer").read.is_empty());
    let writers = |topic: &str| {
        principals
            .iter()
            .filter(|(_, principal)| principal.write.contains(topic))
            .map(|(who, _)| who.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(writers(topics::RAW), ["producer"]);
    assert_eq!(writers(topics::REJECTIONS), ["producer"]);
    assert_eq!(writers(topics::VALIDATED), ["validator"]);
    // Analytics dead-letters nothing, and may write nothing.
    assert_eq!(writers(topics::DLQ), ["persistence", "validator"]);
    assert!(may("analytics").write.is_empty());
    assert_eq!(writers(own), ["recovery"]);
    assert_eq!(writers(other), ["recovery"]);
    assert!(!may("persistence").read.contains(own) && !may("validator").read.contains(other));
    assert!(!may("persistence").read.contains(topics::RAW));
    let rejections: Vec<_> = principals
        .iter()
        .filter(|(_, principal)| principal.read.contains(topics::REJECTIONS))
        .map(|(who, _)| who.as_str())
        .collect();
    assert_eq!(rejections, ["recovery"]);
    let describes = names(&may("recovery").describe_groups);
    assert_eq!(describes, ["eventflow-persistence", "eventflow-validator"]);
    // Only a stage that makes records of others has transactions.
    for (who, may) in &principals {
        let own = ["eventflow-validator-"];
        let expected = if who == "validator" { &own[..] } else { &[] };
        assert_eq!(names(&may.transactional_ids), expected, "{who}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let changed = |change: Change<'_>| {
        let mut pipeline = Pipeline::built_in();
        change(&mut pipeline);
        pipeline.check().unwrap_err().to_string()
    };
    let cases: [(Change<'_>, &str); 10] = [
        (
            &|p| p.topics.get_mut(topics::RAW).unwrap().partitions = 0,
            "events.raw.v1: a topic must have at least one partition",
        ),
        (
            &|p| p.stages[1].reads = "events.typo.v1".to_owned(),
            "analytics: events.typo.v1 is not one of the topics",
        ),
        (
            &|p| p.stages[2].group = p.stages[0].group.clone(),
            "persistence: eventflow-validator is used twice",
        ),
        (
            &|p| p.stages[2].retry = p.stages[0].retry.clone(),
            "persistence: events.retry.eventflow-validator.v1 is used twice",
        ),
        (
            &|p| p.stages[0].retry = Some(p.dead_letters.clone()),
            "validator: its retry topic and the topics it writes must be its own",
        ),
        (
            &|p| p.stages[0].retry = Some(p.rejections.clone()),
            "validator: its retry topic and the topics it writes must be its own",
        ),
        (
            &|p| p.rejections = p.raw.clone(),
            "raw, dead_letters and rejections must be three topics",
        ),
        (
            &|p| p.recovery.rejections_group = p.recovery.group.clone(),
            "group and rejections_group must be two groups",
        ),
        (
            &|p| p.stages[0].on_path = false,
            "persistence: no stage before it on the path writes events.validated.v1",
        ),
        (
            &|p| p.stages[2].on_path = false,
            "the last stage with on_path must be the one that stores rows",
        ),
    ];
    for (change, problem) in cases {
        let error = changed(change);
        assert!(error.contains(problem), "{error}");
    }
    let error = Pipeline::parse("{}").unwrap_err().to_string();
    assert!(error.contains("missing field `raw`"), "{error}");
}

#[test]
fn a_topic_is_renamed_everywhere() {
    let mut pipeline = Pipeline::built_in();
    pipeline.rename_topic(topics::VALIDATED, "valid");
    assert_eq!(pipeline.stages[0].writes, ["valid"]);
    assert_eq!(pipeline.stages[1].reads, "valid");
    assert!(
        pipeline.topics.contains_key("valid") && !pipeline.topics.contains_key(topics::VALIDATED)
    );
    pipeline.check().unwrap();
}

#[test]
fn another_group_gets_a_retry_topic_like_the_others() {
    let mut pipeline = Pipeline::built_in();
    pipeline.add_retry_of("mine");
    assert_eq!(
        pipeline.topics["events.retry.mine.v1"],
        pipeline.topics["events.retry.eventflow-validator.v1"]
    );
}
