//! Of one key: the order in which its events were validated.

use crate::piece::{Place, Topic};
use crate::report::{Check, Findings};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A validated record that no replay made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Validated {
    pub(crate) epoch: String,
    pub(crate) raw_partition: i32,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) raw_offset: i64,
}

/// Judges the records of one key: those of one raw partition appear in the order of their raw offsets. A record that appears again, because a
/// stage was killed before it committed, counts where it is first. Between two partitions, as after a topic has grown, there is no order.
pub(crate) fn judge(mut group: Vec<Validated>, found: &mut Findings) {
    group.sort();
    for run in group.chunk_by(|a, b| {
        (&a.epoch, a.raw_partition, a.partition) == (&b.epoch, b.raw_partition, b.partition)
    }) {
        let mut seen = HashSet::new();
        let mut last: Option<&Validated> = None;
        for one in run {
            if !seen.insert(one.raw_offset) {
                continue;
            }
            found.look(Check::OutOfOrder);
            let place = |one: &Validated| Place::Record {
                topic: Topic::Validated,
                partition: one.partition,
                offset: one.offset,
            };
            if let Some(last) = last.filter(|last| last.raw_offset > one.raw_offset) {
                let what = format!(
                    "raw record {}:{} was validated after {}:{} of the same key",
                    one.raw_partition, one.raw_offset, last.raw_partition, last.raw_offset
                );
                found.fail(Check::OutOfOrder, what, vec![place(last), place(one)]);
                continue;
            }
            last = Some(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(offsets: &[(i64, i64)]) -> bool {
        let validated = |&(offset, raw_offset): &(i64, i64)| Validated {
            epoch: String::new(),
            raw_partition: 0,
            partition: 0,
            offset,
            raw_offset,
        };
        let mut found = Findings::new(1);
        judge(offsets.iter().map(validated).collect(), &mut found);
        !found.failed().is_empty()
    }

    #[test]
    fn first_appearances_keep_the_order() {
        assert!(!failed(&[(0, 1), (1, 5), (2, 9)]));
        assert!(
            !failed(&[(0, 1), (1, 5), (2, 1), (3, 5), (4, 9)]),
            "read again after a kill"
        );
        assert!(failed(&[(0, 5), (1, 1)]));
        assert!(failed(&[(0, 1), (1, 9), (2, 5)]));
    }
}
