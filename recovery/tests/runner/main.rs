//! The runner: each dead letter sent once, whoever starts it, whatever breaks in between.

#![allow(clippy::unwrap_used, reason = "a test")]

mod broker;
mod followed;
mod killed;
mod lost;
mod people;
mod record;
#[path = "../replay/mod.rs"]
mod replay;
mod skipped;

use replay::{World, count};
use std::collections::BTreeMap;

/// How often each raw record is in the retry topic.
fn copies(world: &World) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for record in world.retried() {
        *copies.entry(record.header("ef.raw").unwrap()).or_default() += 1;
    }
    copies
}

fn once_each(raws: std::ops::Range<i64>) -> BTreeMap<String, usize> {
    raws.map(|offset| (format!("0:{offset}"), 1)).collect()
}

fn all_sent(items: i64) -> impl Fn(&recovery::model::Job) -> bool {
    move |job| count(job, "sent") == items
}
