//! Where everything of the pipeline stands in the picture: from its description, whatever stages it has.
//!
//! Events go along: sources, edge, raw topic, a stage, the topic it writes, and so on to the rows. Across, the path is the first lane; stages
//! beside it are in further ones, and dead letters with recovery in the last.

use recovery::model::{Now, RoleKind, RoleNow};
use std::collections::BTreeMap;

/// What a thing of the picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sources,
    Role,
    Topic,
    DeadLetters,
    Rows,
}

/// A thing, by its step along the path and its lane across it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Of a role or a topic
    pub(super) name: String,
    pub(super) along: usize,
    pub(super) lane: usize,
}

/// What a link carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    Events,
    DeadLetters,
    Replays,
}

/// Something goes from one node to another, so many a second where that is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) rate: Option<f64>,
    pub(super) carries: Carries,
}

#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Node>,
    pub(super) links: Vec<Link>,
}

impl Layout {
    fn add(&mut self, kind: Kind, name: &str, along: usize, lane: usize) -> usize {
        self.nodes.push(Node {
            kind,
            name: name.to_owned(),
            along,
            lane,
        });
        self.nodes.len() - 1
    }

    fn link(&mut self, from: usize, to: usize, rate: Option<f64>, carries: Carries) {
        self.links.push(Link {
            from,
            to,
            rate,
            carries,
        });
    }

    /// How many steps and lanes there are.
    pub(super) fn size(&self) -> (usize, usize) {
        let most = |of: fn(&Node) -> usize| self.nodes.iter().map(of).max().unwrap_or(0) + 1;
        (most(|node| node.along), most(|node| node.lane))
    }
}

/// Puts everything in its place.
pub(super) fn layout(now: &Now) -> Layout {
    let mut layout = Layout::default();
    let role = |kind: RoleKind| now.roles.iter().find(|role| role.kind == kind);
    let (Some(edge), Some(recovery)) = (role(RoleKind::Edge), role(RoleKind::Recovery)) else {
        return layout;
    };
    let rate_of = |topic: &str| now.topics.iter().find(|it| it.name == topic)?.rate;
    let raw = edge.writes.first().map_or("", String::as_str);
    let sources = layout.add(Kind::Sources, "sources", 0, 0);
    let at_edge = layout.add(Kind::Role, &edge.name, 1, 0);
    layout.link(sources, at_edge, edge.rate, Carries::Events);
    let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
    topics.insert(raw, layout.add(Kind::Topic, raw, 2, 0));
    layout.link(at_edge, topics[raw], edge.rate, Carries::Events);

    let dead_letters = recovery.reads.first().map_or("", String::as_str);
    let mut stages: Vec<(&RoleNow, usize)> = Vec::new();
    for stage in now.roles.iter().filter(|role| role.kind == RoleKind::Stage) {
        // A topic that nothing before it writes has no place, and neither has who reads it.
        let Some(&reads) = stage
            .reads
            .first()
            .and_then(|topic| topics.get(topic.as_str()))
        else {
            continue;
        };
        let along = layout.nodes[reads].along + 1;
        let lane = lane(&layout, along, stage.on_path);
        let here = layout.add(Kind::Role, &stage.name, along, lane);
        stages.push((stage, here));
        layout.link(reads, here, stage.rate, Carries::Events);
        for topic in stage.writes.iter().filter(|topic| *topic != dead_letters) {
            let next = layout.add(Kind::Topic, topic, along + 1, lane);
            topics.insert(topic, next);
            layout.link(here, next, rate_of(topic), Carries::Events);
        }
        if stage.stores {
            let rows = layout.add(Kind::Rows, "rows", along + 1, lane);
            layout.link(here, rows, stage.rate, Carries::Events);
        }
    }
    beside(&mut layout, recovery, dead_letters, &stages);
    layout
}

/// The first lane is the path's.
fn lane(layout: &Layout, along: usize, on_path: bool) -> usize {
    if on_path {
        return 0;
    }
    let beside = layout
        .nodes
        .iter()
        .filter(|node| node.along == along && node.lane > 0);
    1 + beside.count()
}

/// Dead letters, and back from there.
fn beside(layout: &mut Layout, recovery: &RoleNow, topic: &str, stages: &[(&RoleNow, usize)]) {
    let (_, lane) = layout.size();
    let lane = lane.max(2);
    let failing: Vec<_> = stages
        .iter()
        .filter(|(stage, _)| stage.writes.iter().any(|it| it == topic))
        .collect();
    let Some((_, first)) = failing.first() else {
        return;
    };
    let along = layout.nodes[*first].along;
    let letters = layout.add(Kind::DeadLetters, topic, along, lane);
    let here = layout.add(Kind::Role, &recovery.name, along + 1, lane);
    layout.link(letters, here, recovery.rate, Carries::DeadLetters);
    for (stage, at) in failing {
        layout.link(*at, letters, stage.failed_rate, Carries::DeadLetters);
        if stage
            .reads
            .iter()
            .any(|topic| recovery.writes.contains(topic))
        {
            layout.link(here, *at, None, Carries::Replays);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use serde_json::{Value, json};

    pub(in crate::pages::now) fn role(
        name: &str,
        kind: &str,
        reads: &[&str],
        writes: &[&str],
    ) -> Value {
        json!({"name": name, "kind": kind, "reads": reads, "writes": writes, "on_path": kind != "recovery" && name != "analytics",
               "stores": name == "persistence", "state": "ready", "reasons": [], "warnings": [], "instances": 1, "rate": 12.5,
               "failed_rate": 0.5, "lag_seconds": 0.25, "breaker_open": false, "history": [1.0, 2.0, 3.0]})
    }

    pub(in crate::pages::now) fn now(roles: &[Value]) -> Now {
        let fates = json!({"accepted": 1000, "stored": 900, "duplicate": 50, "filtered": 10, "dead_lettered": 30, "in_flight": 10, "gaps": 0,
                           "double_fates": 0, "checkpoint_age_seconds": 3.0});
        let source = json!({"name": "<b>acme</b>", "rate": 3.0, "accepted": 1234, "refused": [["signature_mismatch", 3]], "answer_seconds": {"p50": 0.002, "p99": 0.01},
                            "row_seconds": null, "last_seen": "2026-11-30T20:00:00Z", "fails_in": ["validator"], "history": []});
        serde_json::from_value(json!({"at": "2026-11-30T20:20:00Z", "looked_at": "2026-11-30T20:20:00Z", "attention": [], "sources": [source],
            "roles": roles, "topics": [{"name": "raw", "rate": 12.0}, {"name": "validated", "rate": 11.0}], "fates": fates,
            "dead_letters": {"open": 7, "replaying": 0, "index_lag": 0}, "history_seconds": 30.0}))
        .unwrap()
    }

    pub(in crate::pages::now) fn usual() -> Now {
        now(&[
            role("producer", "edge", &[], &["raw", "rejections"]),
            role(
                "validator",
                "stage",
                &["raw", "retry.v"],
                &["validated", "dlq"],
            ),
            role("analytics", "stage", &["validated"], &[]),
            role("persistence", "stage", &["validated", "retry.p"], &["dlq"]),
            role(
                "recovery",
                "recovery",
                &["dlq", "rejections"],
                &["retry.v", "retry.p"],
            ),
        ])
    }

    fn places(layout: &Layout) -> Vec<(&str, usize, usize)> {
        layout
            .nodes
            .iter()
            .map(|node| (&*node.name, node.along, node.lane))
            .collect()
    }

    #[test]
    fn the_path_is_one_lane_and_what_is_beside_it_others() {
        let layout = layout(&usual());
        assert_eq!(
            places(&layout),
            [
                ("sources", 0, 0),
                ("producer", 1, 0),
                ("raw", 2, 0),
                ("validator", 3, 0),
                ("validated", 4, 0),
                ("analytics", 5, 1),
                ("persistence", 5, 0),
                ("rows", 6, 0),
                ("dlq", 3, 2),
                ("recovery", 4, 2),
            ]
        );
        let named = |carries: Carries| -> Vec<(&str, &str)> {
            let links = layout.links.iter().filter(|link| link.carries == carries);
            links
                .map(|link| (&*layout.nodes[link.from].name, &*layout.nodes[link.to].name))
                .collect()
        };
        assert_eq!(
            named(Carries::DeadLetters),
            [
                ("dlq", "recovery"),
                ("validator", "dlq"),
                ("persistence", "dlq")
            ]
        );
        assert_eq!(
            named(Carries::Replays),
            [("recovery", "validator"), ("recovery", "persistence")]
        );
        assert_eq!(layout.size(), (7, 3));
    }

    #[test]
    fn a_stage_that_the_description_gains_is_drawn() {
        let mut roles = vec![
            role("producer", "edge", &[], &["raw"]),
            role("validator", "stage", &["raw"], &["validated", "dlq"]),
            role("streams", "stage", &["validated"], &["enriched"]),
            role("persistence", "stage", &["enriched"], &["dlq"]),
            role("analytics", "stage", &["enriched"], &[]),
            role("recovery", "recovery", &["dlq"], &[]),
        ];
        let drawn = layout(&now(&roles));
        assert!(
            places(&drawn).contains(&("rows", 8, 0))
                && places(&drawn).contains(&("analytics", 7, 1))
        );
        roles.retain(|role| role["kind"] != "edge");
        assert!(layout(&now(&roles)).nodes.is_empty());
    }
}
