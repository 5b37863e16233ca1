//! What was seen, along the description of the pipeline.

use super::book::{Book, STEP};
use super::figures::{Series, What};
use super::observed::{Indexed, RoleSeen, State};
use super::roles::{BESIDE, EDGE, OWN};
use crate::context::Context;
use crate::model::{
    DeadLettersNow, FatesNow, Now, RoleKind, RoleNow, RoleState, SourceNow, Time, TopicNow,
};
use contracts::pipeline::{Pipeline, Stage};
use contracts::webhook::source::INGEST;
use std::collections::BTreeSet;

/// The code with which the edge answers an accepted request; other codes of the same counter are refusals.
const ACCEPTED: &str = "accepted";
/// An outcome of a record.
const DEAD_LETTERED: &str = "dead_lettered";

/// All but what needs a person.
pub(super) fn draw(context: &Context, state: &State, indexed: &Indexed) -> Now {
    let pipeline = &context.pipeline;
    Now {
        at: Time::from(runtime::clock::now()),
        looked_at: state.looked_at,
        attention: Vec::new(),
        sources: sources(context, state),
        roles: roles(pipeline, state),
        topics: topics(pipeline, state),
        fates: fates(indexed),
        dead_letters: DeadLettersNow {
            open: indexed.open,
            replaying: indexed.replaying,
            index_lag: crate::index::lag::known(state).map(|(records, _)| records),
        },
        history_seconds: STEP,
    }
}

fn roles(pipeline: &Pipeline, state: &State) -> Vec<RoleNow> {
    let edge = RoleNow {
        writes: vec![pipeline.raw.clone(), pipeline.rejections.clone()],
        on_path: true,
        ..role(EDGE, RoleKind::Edge, state)
    };
    let stages = pipeline.stages.iter().map(|stage| {
        let dead = stage.dead_letters().then_some(&pipeline.dead_letters);
        let stores = pipeline.stores().is_some_and(|it| it.name == stage.name);
        RoleNow {
            reads: [&stage.reads]
                .into_iter()
                .chain(&stage.retry)
                .cloned()
                .collect(),
            writes: stage.writes.iter().chain(dead).cloned().collect(),
            on_path: stage.on_path,
            stores,
            ..role(&stage.name, RoleKind::Stage, state)
        }
    });
    let recovery = RoleNow {
        reads: vec![pipeline.dead_letters.clone(), pipeline.rejections.clone()],
        writes: pipeline
            .replayable()
            .map(|(_, retry)| retry.to_owned())
            .collect(),
        ..role(OWN, RoleKind::Recovery, state)
    };
    let beside = BESIDE
        .into_iter()
        .filter(|name| state.roles.contains_key(*name));
    let beside = beside.map(|name| role(name, RoleKind::Beside, state));
    let all = [edge].into_iter().chain(stages).chain([recovery]);
    all.chain(beside).collect()
}

/// A role without its place in the pipeline.
fn role(name: &str, kind: RoleKind, state: &State) -> RoleNow {
    let seen = state.roles.get(name);
    let empty = RoleSeen::default();
    let it = seen.unwrap_or(&empty);
    let answering: Vec<_> = it
        .instances
        .iter()
        .filter_map(|it| it.readiness.as_ref().ok())
        .collect();
    let ready = answering.iter().filter(|it| it.ready).count();
    let silent = it
        .instances
        .iter()
        .filter_map(|it| it.readiness.as_ref().err());
    // Of several instances the same reason is said once.
    let reasons: BTreeSet<&String> = answering
        .iter()
        .flat_map(|it| &it.reasons)
        .chain(silent)
        .collect();
    let warnings: BTreeSet<&String> = answering.iter().flat_map(|it| &it.warnings).collect();
    let pages = || it.instances.iter().map(|it| &it.page);
    let lag = pages().filter_map(|page| page.lag_seconds).reduce(f64::max);
    let edge = kind == RoleKind::Edge;
    RoleNow {
        name: name.to_owned(),
        kind,
        reads: Vec::new(),
        writes: Vec::new(),
        on_path: false,
        stores: false,
        state: match (seen, it.instances.len()) {
            (None, _) if state.looked_at.is_none() => RoleState::Unknown,
            (None, _) | (Some(_), 0) => RoleState::NotConfigured,
            (Some(_), all) if ready == all => RoleState::Ready,
            (Some(_), _) if answering.is_empty() => RoleState::Silent,
            (Some(_), _) if ready == 0 => RoleState::NotReady,
            (Some(_), _) => RoleState::PartlyReady,
        },
        reasons: reasons.into_iter().cloned().collect(),
        warnings: warnings.into_iter().cloned().collect(),
        instances: u32::try_from(answering.len()).unwrap_or(u32::MAX),
        rate: it.book.rate(|series| settles(series, edge)),
        failed_rate: it.book.rate(|series| fails(series, edge)),
        lag_seconds: lag,
        breaker_open: pages().any(|page| page.breaker_open),
        history: it.book.history(|series| settles(series, edge)),
    }
}

fn settles(series: &Series, edge: bool) -> bool {
    series.what == if edge { What::Accepted } else { What::Settled }
}

fn fails(series: &Series, edge: bool) -> bool {
    match edge {
        true => series.what == What::Answered && series.label != ACCEPTED,
        false => series.what == What::Settled && series.label == DEAD_LETTERED,
    }
}

fn topics(pipeline: &Pipeline, state: &State) -> Vec<TopicNow> {
    let rate = |role: &str, of: &dyn Fn(&Series) -> bool| state.roles.get(role)?.book.rate(of);
    let settled = |stage: &Stage, dead: bool| {
        rate(&stage.name, &|series| {
            series.what == What::Settled && (series.label == DEAD_LETTERED) == dead
        })
    };
    let written = |topic: &String| -> Option<f64> {
        if *topic == pipeline.raw {
            return rate(EDGE, &|series| series.what == What::Accepted);
        }
        let writers = pipeline.stages.iter().filter_map(|stage| match topic {
            topic if *topic == pipeline.dead_letters && stage.dead_letters() => {
                settled(stage, true)
            }
            topic if stage.writes.contains(topic) => settled(stage, false),
            _ => None,
        });
        writers.reduce(|one, other| one + other)
    };
    let topics = pipeline.topics.keys();
    topics
        .map(|name| TopicNow {
            name: name.clone(),
            rate: written(name),
        })
        .collect()
}

fn sources(context: &Context, state: &State) -> Vec<SourceNow> {
    let empty = RoleSeen::default();
    let edge = state.roles.get(EDGE).unwrap_or(&empty);
    let store = context
        .pipeline
        .stores()
        .and_then(|stage| state.roles.get(&stage.name));
    let store = store.unwrap_or(&empty);
    let vendors = context.vendors.get();
    let configured = vendors.sources.iter().flat_map(|sources| sources.iter());
    let mut names: BTreeSet<&str> = configured.map(|source| source.name.as_str()).collect();
    names.extend(edge.last_seen.keys().map(String::as_str));
    // What callers post with an API key is a source once something came.
    if edge.book.sum(|series| series.source == INGEST) > 0.0 {
        names.insert(INGEST);
    }
    names
        .into_iter()
        .map(|name| source(name, edge, store, state))
        .collect()
}

fn source(name: &str, edge: &RoleSeen, store: &RoleSeen, state: &State) -> SourceNow {
    let of = |what: What| move |series: &Series| series.what == what && series.source == name;
    let fails_in = |(role, seen): (&String, &RoleSeen)| {
        let fails = seen
            .instances
            .iter()
            .any(|it| it.page.failing.contains(name));
        fails.then(|| role.clone())
    };
    SourceNow {
        name: name.to_owned(),
        rate: edge.book.rate(of(What::Accepted)),
        accepted: whole(edge.book.sum(of(What::Accepted))),
        refused: refused(&edge.book, name),
        answer_seconds: edge.book.quantiles(of(What::AnsweredWithin)),
        row_seconds: store.book.quantiles(of(What::StoredWithin)),
        last_seen: edge.last_seen.get(name).copied(),
        fails_in: state.roles.iter().filter_map(fails_in).collect(),
        history: edge.book.history(of(What::Accepted)),
    }
}

fn refused(book: &Book, source: &str) -> Vec<(String, u64)> {
    let of = |series: &Series| {
        series.what == What::Answered && series.source == source && series.label != ACCEPTED
    };
    let mut codes: Vec<(String, u64)> = book
        .labels(of)
        .into_iter()
        .map(|(code, count)| (code.to_owned(), whole(count)))
        .collect();
    codes.sort_by(|(one, some), (other, more)| more.cmp(some).then_with(|| one.cmp(other)));
    codes
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of counters"
)]
fn whole(count: f64) -> u64 {
    count as u64
}

fn fates(indexed: &Indexed) -> FatesNow {
    let audit = &indexed.audit;
    FatesNow {
        accepted: audit.records + audit.in_flight,
        stored: audit.stored,
        duplicate: audit.duplicate,
        filtered: audit.filtered,
        dead_lettered: audit.dead_lettered.values().sum(),
        in_flight: audit.in_flight,
        gaps: audit.gaps,
        double_fates: audit.double_fates,
        checkpoint_age_seconds: audit.checkpoint_age_seconds.map(|age| {
            age + (Time::from(runtime::clock::now()) - audit.at)
                .as_seconds_f64()
                .max(0.0)
        }),
    }
}
