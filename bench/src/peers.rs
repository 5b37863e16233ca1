//! Peers: what a team would write by hand or take ready-made, on the same brokers, in the same run. `bench/peers` has them.

mod jvm;

use crate::bench::Bench;
use crate::edge::{self, SINGLE, under_load};
use crate::figures::median;
use crate::pipeline::{Database, durable_postgres};
use crate::process::{Process, SECRET};
use crate::report::{compare, print};
use crate::rows;
use crate::stages::{between, charged};
use crate::world::{World, until};
use anyhow::Context as _;
use contracts::kafka::topics;
use std::path::Path;

/// How many times as fast as a team's own EventFlow should be.
const FASTER: f64 = 1.5;
/// The consumer group of the sink in Go.
const GROUP: &str = "peer-sink";

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let (Some(folder), Some(_)) = (&bench.peers, bench.brokers.real()) else {
        print("peers: left out, they need --kafka --peers\n");
        return Ok(());
    };
    let versions = std::fs::read_to_string(folder.join("versions")).with_context(|| {
        format!(
            "{} holds no peers: use script/bench --peers",
            folder.display()
        )
    })?;
    print(&format!("peers\n{versions}"));
    if folder.join("edge").exists() {
        go_edge(bench, folder).await?;
        go_sink(bench, folder).await?;
    }
    if folder.join("jars").exists() {
        jvm::streams(bench, folder).await?;
        jvm::connect(bench, folder).await?;
    }
    Ok(())
}

/// Our edge against one of net/http and franz-go.
async fn go_edge(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let (mut ours, mut base, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        ours.push(edge::producer(bench, &SINGLE).await?.0);
        let world = World::start(bench, 4).await?;
        let arguments = [
            "-listen={address}".to_owned(),
            format!("-brokers={}", world.brokers()),
            format!("-topic={}", topics::RAW),
            format!("-secret={SECRET}"),
        ];
        let mut peer = Process::start("go-edge", folder.join("edge"), &arguments)?;
        peer.until_ready().await?;
        let used = || charged(&world, &[&peer]);
        let (run, latency) = under_load(bench, &peer.address, &SINGLE, used).await?;
        base.push(run);
        latencies.push(latency);
    }
    let (ours, base) = (median(ours), median(base));
    compare(
        "signed POST -> 200 after acks=all, 256 connections",
        "POST/s",
        &ours,
        ("Go edge", &base),
    );
    print(&format!(
        "  latency of the Go edge: {}\n",
        latencies.join("; ")
    ));
    bench.note_ratio("edge, of the Go edge", FASTER, &ours, &base);
    Ok(())
}

/// Our validator and persistence against one hop of franz-go and pgx.
async fn go_sink(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        ours.push(rows::drain(bench, bench.events, 1).await?);
        let world = World::start(bench, rows::PARTITIONS).await?;
        let events = world.fill(bench.events).await?;
        let postgres = durable_postgres().await?;
        let server = Database::connect(&postgres.url()).await?;
        let arguments = [
            format!("-brokers={}", world.brokers()),
            format!("-topic={}", topics::RAW),
            format!("-group={GROUP}"),
            format!("-database={}", postgres.url()),
        ];
        let read = world.read_by(GROUP)?;
        let peer = Process::start("go-sink", folder.join("sink"), &arguments)?;
        let used = || {
            let mut cpu = charged(&world, &[&peer])?;
            cpu.push(("postgresql", server.cpu()?));
            Ok(cpu)
        };
        let looks = until(events, async || read.count().await, used).await?;
        base.push(between(&looks));
    }
    let (ours, base) = (median(ours), median(base));
    compare(
        "a full topic to rows",
        "row/s",
        &ours,
        ("Go sink, one hop", &base),
    );
    bench.note_ratio(
        "validator and persistence, of the Go sink",
        FASTER,
        &ours,
        &base,
    );
    Ok(())
}
