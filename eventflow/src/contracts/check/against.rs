//! Versions against those before them, and against what is published.

use super::label;
use crate::contracts::published::Registry;
use crate::contracts::report::{Kind, Report};
use contracts::event::{
    AvroSchema, Breaks, Change, Compatibility, Contract, ContractFiles, changes, changes_in_place,
    record_changes,
};

/// Each version with the one before it, which may be gone. Those in `unchanged` are published as they are, and no longer asked.
pub(super) fn check_pairs(
    compiled: &[Contract],
    gone: &[Contract],
    unchanged: &[String],
    level: Compatibility,
    report: &mut Report,
) {
    for new in compiled
        .iter()
        .filter(|new| !unchanged.contains(&label(new)))
    {
        let older = compiled
            .iter()
            .chain(gone)
            .filter(|old| old.name == new.name && old.version < new.version);
        if let Some(old) = older.max_by_key(|old| old.version) {
            let why = format!("; compared with v{}", old.version);
            let found = changes(old, new);
            // Every role asks for this at its start, whatever the level.
            let (boot, found): (Vec<_>, Vec<_>) = found
                .into_iter()
                .partition(|change| change.file == "record.avsc" && change.breaks.backward());
            judge(found, &label(new), level, &why, report);
            judge(boot, &label(new), Compatibility::Backward, &why, report);
        }
    }
}

fn judge(
    changes: Vec<Change>,
    contract: &str,
    level: Compatibility,
    why: &str,
    report: &mut Report,
) {
    for change in changes {
        if level.forbids(change.breaks) {
            report.say_change(Kind::Incompatible, contract, change, why);
        } else if change.breaks == Breaks::Undecided && level != Compatibility::None {
            report.say_change(Kind::Undecided, contract, change, why);
        }
    }
}

/// What is published as files: no version of it may change, or go. Gives the versions that did not change, and those that are gone.
pub(super) fn against_files(
    files: &[ContractFiles],
    compiled: &[Contract],
    published: Vec<ContractFiles>,
    removed: &[String],
    report: &mut Report,
) -> (Vec<String>, Vec<Contract>) {
    let mut unchanged = Vec::new();
    let mut gone = Vec::new();
    for old in published {
        let shown = format!("{}/v{}", old.name, old.version);
        let is_there = files
            .iter()
            .any(|new| (&new.name, new.version) == (&old.name, old.version));
        let now = compiled
            .iter()
            .find(|new| (&new.name, new.version) == (&old.name, old.version));
        // What was published and cannot be compiled any more has nothing to be compared with.
        let Ok(old) = Contract::alone(old) else {
            continue;
        };
        match now {
            Some(now) => {
                let found = changes_in_place(&old, now);
                if found.is_empty() {
                    unchanged.push(shown);
                    continue;
                }
                for change in found {
                    let why = format!(
                        "; v{} is published: make this v{}",
                        old.version,
                        newest(compiled, &old.name) + 1
                    );
                    report.say_change(Kind::ChangedInPlace, &shown, change, &why);
                }
            }
            None if is_there => {}
            None => {
                if !removed.contains(&shown) {
                    let advice = format!(
                        "is published, and gone: keep it as long as a topic may have records of it, then say --removed {shown}"
                    );
                    report.say(Kind::VersionRemoved, &shown, "", "", advice);
                }
                gone.push(old);
            }
        }
    }
    (unchanged, gone)
}

fn newest(compiled: &[Contract], name: &str) -> u32 {
    let versions = compiled.iter().filter(|one| one.name == name);
    versions.map(|one| one.version).max().unwrap_or_default()
}

/// What a registry has: the records. It may number versions in its own way, since it stores an unchanged record once. Gives the versions whose
/// record it has.
pub(super) async fn against_registry(
    compiled: &[Contract],
    registry: &Registry,
    level: Compatibility,
    report: &mut Report,
) -> anyhow::Result<Vec<String>> {
    let mut unchanged = Vec::new();
    for new in compiled {
        let versions = registry.versions(&new.record_name).await?;
        let same = |avsc: &str| record_same(avsc, &new.record_avsc);
        let Some(latest) = versions.last() else {
            continue;
        };
        if versions.iter().any(|version| same(&version.schema)) {
            unchanged.push(label(new));
            continue;
        }
        let found = record_changes(&latest.schema, &new.record_avsc);
        if new.version <= latest.version {
            let why = format!(
                "; the registry has v{} with another record: make this a new version",
                new.version
            );
            let change = Change {
                file: "record.avsc",
                pointer: String::new(),
                detail: "is not the published record".to_owned(),
                breaks: Breaks::Nobody,
            };
            report.say_change(Kind::ChangedInPlace, &label(new), change, &why);
        }
        let why = format!("; compared with the registry's version {}", latest.version);
        judge(found, &label(new), level, &why, report);
    }
    Ok(unchanged)
}

fn record_same(one: &str, other: &str) -> bool {
    match (AvroSchema::new(one), AvroSchema::new(other)) {
        (Ok(one), Ok(other)) => one.is_same_as(&other),
        (_, _) => false,
    }
}
