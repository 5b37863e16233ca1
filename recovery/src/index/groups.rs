//! Numbers of groups, known in the process, bounded in number: a vendor that sends random event types does not make a million groups.

use super::row::{DeadLetterRow, Label};
use runtime::consumer::StageError;
use sqlx::FromRow;
use sqlx::postgres::PgPool;
use std::collections::{HashMap, HashSet};
use store::fault::classify;

/// Stands for what is beyond the bounds.
pub(crate) const OTHER: &str = "(other)";
/// Most event types of one stage, code and source; most sources of one stage and code; most codes of a stage; most stages.
const BOUNDS: [usize; 4] = [200, 200, 500, 100];
/// Most groups in all, before those that stand for the rest.
const MAX_GROUPS: usize = 10_000;

/// The groups there are.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    ids: HashMap<Label, i64>,
    /// How many children a prefix of a label has
    children: HashMap<[String; 3], HashSet<String>>,
    loaded: bool,
}

impl Groups {
    /// Gives every row the number of its group; new groups are created, with no dead letters yet.
    pub(crate) async fn assign(
        &mut self,
        pool: &PgPool,
        rows: &mut [DeadLetterRow<'_>],
    ) -> Result<(), StageError> {
        if !self.loaded {
            let all = sqlx::query_as("SELECT id, stage, code, source, event_type FROM groups")
                .fetch_all(pool)
                .await;
            self.add(all.map_err(classify)?);
            self.loaded = true;
        }
        let mut new: HashSet<Label> = HashSet::new();
        for row in rows.iter_mut() {
            if let Some(id) = self.ids.get(&row.label) {
                row.group_id = *id;
                continue;
            }
            row.label = self.admit(&row.label, new.len());
            self.count(&row.label);
            if !self.ids.contains_key(&row.label) {
                new.insert(row.label.clone());
            }
        }
        if !new.is_empty() {
            self.create(pool, &new.into_iter().collect::<Vec<_>>())
                .await?;
        }
        for row in rows.iter_mut().filter(|row| row.group_id == 0) {
            let missing = || {
                StageError::wait(
                    "group_vanished",
                    "a group was deleted while dead letters were indexed; retrying",
                )
            };
            row.group_id = *self.ids.get(&row.label).ok_or_else(missing)?;
        }
        Ok(())
    }

    /// The first that is known or within the bounds, of the label and its ever coarser forms.
    fn admit(&self, label: &Label, pending: usize) -> Label {
        let mut coarser = label.clone();
        for level in 0..4 {
            if self.ids.contains_key(&coarser) || self.within(&coarser, pending) {
                return coarser;
            }
            match level {
                0 => OTHER.clone_into(&mut coarser.event_type),
                1 => OTHER.clone_into(&mut coarser.source),
                2 => OTHER.clone_into(&mut coarser.code),
                _ => OTHER.clone_into(&mut coarser.stage),
            }
        }
        coarser
    }

    fn within(&self, label: &Label, pending: usize) -> bool {
        let coarse = [&label.event_type, &label.source, &label.code, &label.stage]
            .iter()
            .filter(|part| **part == OTHER)
            .count();
        // Every coarser form has room of its own above the bound of the finer ones.
        let room = MAX_GROUPS + coarse * MAX_GROUPS / 10;
        self.ids.len() + pending < room
            && parents(label)
                .iter()
                .zip(BOUNDS)
                .all(|((parent, child), bound)| {
                    let children = self.children.get(parent);
                    *child == OTHER
                        || children.is_none_or(|children| {
                            children.contains(*child) || children.len() < bound
                        })
                })
    }

    fn count(&mut self, label: &Label) {
        for (parent, child) in parents(label) {
            self.children
                .entry(parent)
                .or_default()
                .insert(child.to_owned());
        }
    }

    async fn create(&mut self, pool: &PgPool, new: &[Label]) -> Result<(), StageError> {
        let part = |part: fn(&Label) -> &str| new.iter().map(part).collect::<Vec<_>>();
        let (stages, codes) = (part(|label| &label.stage), part(|label| &label.code));
        let (sources, types) = (part(|label| &label.source), part(|label| &label.event_type));
        // Committed before the rows: a group without dead letters does no harm, and is found by the next batch.
        sqlx::query(
            "INSERT INTO groups (stage, code, source, event_type)
             SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING",
        )
        .bind(&stages)
        .bind(&codes)
        .bind(&sources)
        .bind(&types)
        .execute(pool)
        .await
        .map_err(classify)?;
        let created = sqlx::query_as(
            "SELECT g.id, g.stage, g.code, g.source, g.event_type
             FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[]) AS new (stage, code, source, event_type)
             JOIN groups g ON g.stage = new.stage AND g.code = new.code AND g.source = new.source AND g.event_type = new.event_type",
        )
        .bind(&stages)
        .bind(&codes)
        .bind(&sources)
        .bind(&types)
        .fetch_all(pool)
        .await
        .map_err(classify)?;
        self.add(created);
        Ok(())
    }

    fn add(&mut self, groups: Vec<GroupRow>) {
        for group in groups {
            self.count(&group.label);
            self.ids.insert(group.label, group.id);
        }
    }
}

#[derive(FromRow)]
struct GroupRow {
    id: i64,
    #[sqlx(flatten)]
    label: Label,
}

/// Every part of a label under what is before it.
fn parents(label: &Label) -> [([String; 3], &str); 4] {
    let Label {
        stage,
        code,
        source,
        event_type,
    } = label;
    // A part that is not there yet is told from an empty one by a text no cleaned label can be.
    let none = || "\0".to_owned();
    [
        ([stage.clone(), code.clone(), source.clone()], event_type),
        ([stage.clone(), code.clone(), none()], source),
        ([stage.clone(), none(), none()], code),
        ([none(), none(), none()], stage),
    ]
}
