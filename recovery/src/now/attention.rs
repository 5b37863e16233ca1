//! What needs a person, in words: what is wrong, and what to do.

use crate::model::{Attention, AttentionKind, Now, RoleNow, RoleState};

/// The most important first.
pub(super) fn of(now: &Now, unproven: i64) -> Vec<Attention> {
    let mut found = Vec::new();
    let fates = &now.fates;
    if fates.gaps + fates.double_fates > 0 {
        found.push(Attention {
            kind: AttentionKind::Unaccounted,
            of: None,
            what: format!(
                "the audit found {} raw records without a fate and {} with two",
                fates.gaps, fates.double_fates
            ),
            next: "eventflow audit names them; keep the topics and the database as they are, and call the owner of EventFlow".to_owned(),
        });
    }
    found.extend(now.roles.iter().filter_map(of_role));
    for source in now
        .sources
        .iter()
        .filter(|source| !source.fails_in.is_empty())
    {
        found.push(Attention {
            kind: AttentionKind::SourceFails,
            of: Some(source.name.clone()),
            what: format!(
                "most of what {} sends now is dead-lettered ({}); other sources are not affected",
                source.name,
                source.fails_in.join(", ")
            ),
            next: format!("eventflow dlq groups --source {}", source.name),
        });
    }
    if unproven > 0 {
        found.push(Attention {
            kind: AttentionKind::Unproven,
            of: None,
            what: format!("{unproven} dead letters are not proven to come from their vendor"),
            next:
                "eventflow dlq groups --code stale,unverified; replay, call genuine or discard them"
                    .to_owned(),
        });
    }
    for role in &now.roles {
        found.extend(role.warnings.iter().map(|warning| Attention {
            kind: AttentionKind::Warning,
            of: Some(role.name.clone()),
            what: format!("{}: {warning}", role.name),
            next: format!("put it right; {} goes on with what it had", role.name),
        }));
    }
    found
}

fn of_role(role: &RoleNow) -> Option<Attention> {
    let because = role.reasons.join("; ");
    let name = &role.name;
    let (kind, what, next) = match role.state {
        _ if role.breaker_open => (
            AttentionKind::BreakerOpen,
            format!("the breaker holds {name}: {because}"),
            format!("fix or take back the last deploy; docs/ALERTS.md says how {name} goes on"),
        ),
        RoleState::Silent => (
            AttentionKind::Silent,
            format!("{name} does not answer: {because}"),
            format!("start {name}, or correct --role"),
        ),
        RoleState::NotReady => (
            AttentionKind::NotReady,
            format!("{name} cannot do its job: {because}"),
            "nothing is lost: it goes on by itself once the cause is gone".to_owned(),
        ),
        RoleState::PartlyReady => (
            AttentionKind::NotReady,
            format!("some instances of {name} cannot do their job: {because}"),
            "nothing is lost: the others work, and these go on once the cause is gone".to_owned(),
        ),
        RoleState::Ready | RoleState::NotConfigured | RoleState::Unknown => return None,
    };
    Some(Attention {
        kind,
        of: Some(name.clone()),
        what,
        next,
    })
}
