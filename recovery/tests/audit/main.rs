//! P10 from the database: planted faults are found, and sound data has none.

#![allow(clippy::unwrap_used, reason = "a test")]

mod checkpoint;
mod examined;
mod faults;
mod history;
mod holes;
mod recreated;
#[path = "../timeline/mod.rs"]
mod timeline;

use recovery::audit::{self, Examined, Reading, examine_pages};
use recovery::model::Audit;
use timeline::{RAW, World};

async fn examine(world: &World, settled: &[(i32, i64)]) -> Examined {
    let readings: Vec<Reading> = settled
        .iter()
        .map(|&(partition, settled)| Reading {
            partition,
            low: 0,
            settled,
            high: settled + 3,
        })
        .collect();
    examine_pages(&world.recovery, RAW, &readings)
        .await
        .unwrap()
}

async fn audited(world: &World) -> Audit {
    audit::audit(&world.recovery, None, None, None)
        .await
        .unwrap()
}

/// The same, record by record.
async fn audited_by_record(world: &World) -> Audit {
    audit::audit(
        &world.recovery,
        None,
        Some(time::OffsetDateTime::UNIX_EPOCH),
        None,
    )
    .await
    .unwrap()
}

fn found(audit: &Audit) -> Vec<(i32, i64, &str)> {
    audit
        .findings
        .iter()
        .map(|finding| (finding.partition, finding.offset, finding.kind.as_str()))
        .collect()
}
