//! The peers on the JVM: Kafka Streams beside our validator, and a JDBC sink on Kafka Connect beside our validator and persistence.

use crate::bench::Bench;
use crate::figures::{Cpu, Run, median};
use crate::pipeline::{Database, durable_postgres};
use crate::process::{Process, free_address};
use crate::report::compare;
use crate::rows;
use crate::stages::{between, charged, drain};
use crate::world::{World, until};
use anyhow::Context as _;
use contracts::kafka::topics;
use sandbox::postgres::PrivatePostgres;
use std::path::{Path, PathBuf};

/// Our validator against one of Kafka Streams.
pub(super) async fn streams(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let world = World::start(bench, rows::PARTITIONS).await?;
        let events = world.fill(bench.events).await?;
        let validator = world.validator()?;
        ours.push(drain(&world, topics::VALIDATED, events, &validator).await?);
        drop(validator);
        drop(world);
        let world = World::start(bench, rows::PARTITIONS).await?;
        let events = world.fill(bench.events).await?;
        let state = tempfile::tempdir()?;
        let arguments = [
            "Validate",
            world.brokers(),
            topics::RAW,
            topics::VALIDATED,
            topics::DLQ,
            path(state.path())?,
        ];
        let classes = format!(
            "{}:{}/jars/*",
            path(&folder.join("streams"))?,
            path(folder)?
        );
        let peer = java("streams", &classes, &arguments)?;
        base.push(drain(&world, topics::VALIDATED, events, &peer).await?);
    }
    let (ours, base) = (median(ours), median(base));
    compare(
        "validator, from a full topic",
        "event/s",
        &ours,
        ("Kafka Streams", &base),
    );
    Ok(())
}

/// Our validator and persistence against Debezium's JDBC sink on Kafka Connect, straight from the raw topic.
pub(super) async fn connect(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        ours.push(rows::drain(bench, bench.events, 1).await?);
        base.push(connect_once(bench, folder).await?);
    }
    let (ours, base) = (median(ours), median(base));
    compare(
        "a full topic to rows",
        "row/s",
        &ours,
        ("Kafka Connect, Debezium's JDBC sink", &base),
    );
    Ok(())
}

async fn connect_once(bench: &Bench, folder: &Path) -> anyhow::Result<Run> {
    let world = World::start(bench, rows::PARTITIONS).await?;
    let events = world.fill(bench.events).await?;
    let postgres = durable_postgres().await?;
    let mut database = Database::connect(&postgres.url()).await?;
    let server = Database::connect(&postgres.url()).await?;
    // `number` counts the rows, so that looking costs nothing.
    sqlx::raw_sql(
        "CREATE TABLE peer_events (event_id text PRIMARY KEY, event_type text, schema_version integer, \"timestamp\" text,
             payment_id text, order_id text, amount double precision, currency text, provider_auth_id text, number bigserial);
         CREATE INDEX ON peer_events (payment_id)",
    )
    .execute(&mut database.connection)
    .await?;
    let work = tempfile::tempdir()?;
    let files = settings(&world, &postgres, work.path())?;
    let classes = format!("{}/jars/*", path(folder)?);
    let class = "org.apache.kafka.connect.cli.ConnectStandalone";
    let peer = java("connect", &classes, &[class, &files[0], &files[1]])?;
    let stored = async || {
        let last: (i64, bool) =
            sqlx::query_as("SELECT last_value, is_called FROM peer_events_number_seq")
                .fetch_one(&mut database.connection)
                .await?;
        Ok(if last.1 { u64::try_from(last.0)? } else { 0 })
    };
    let used = || -> anyhow::Result<Cpu> {
        let mut cpu = charged(&world, &[&peer])?;
        cpu.push(("postgresql", server.cpu()?));
        Ok(cpu)
    };
    let looks = until(events, stored, used).await?;
    drop(peer);
    let mut server = server;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM peer_events")
        .fetch_one(&mut server.connection)
        .await?;
    anyhow::ensure!(
        u64::try_from(rows)? >= events,
        "Kafka Connect stored {rows} of {events} rows"
    );
    Ok(between(&looks))
}

/// The settings of the worker and of the connector, in files of a folder.
fn settings(
    world: &World,
    postgres: &PrivatePostgres,
    folder: &Path,
) -> anyhow::Result<[String; 2]> {
    let field =
        |name: &str, kind: &str| format!(r#"{{"field":"{name}","type":"{kind}","optional":true}}"#);
    let payload = ["payment_id", "order_id", "currency", "provider_auth_id"]
        .map(|name| field(name, "string"))
        .join(",");
    let schema = format!(
        r#"{{"type":"struct","fields":[{},{},{},{},{{"field":"payload","type":"struct","optional":true,"fields":[{payload},{}]}}]}}"#,
        r#"{"field":"event_id","type":"string","optional":false}"#,
        field("event_type", "string"),
        field("schema_version", "int32"),
        field("timestamp", "string"),
        field("amount", "double"),
    );
    let url = postgres.url();
    let (user, password) = url
        .strip_prefix("postgres://")
        .and_then(|rest| rest.split_once('@')?.0.split_once(':'))
        .context("the database's URL has no user and password")?;
    let worker = format!(
        "bootstrap.servers={}\nkey.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=true\nvalue.converter.schema.content={schema}\n\
         offset.storage.file.filename={}\noffset.flush.interval.ms=1000\nlisteners=http://{}\nplugin.discovery=only_scan\n\
         connector.client.config.override.policy=All\n",
        world.brokers(),
        path(&folder.join("offsets"))?,
        free_address()?,
    );
    let connector = format!(
        "name=peer\nconnector.class=io.debezium.connector.jdbc.JdbcSinkConnector\ntasks.max=1\ntopics={}\n\
         connection.url=jdbc:postgresql://{}/postgres?reWriteBatchedInserts=true\nconnection.username={user}\nconnection.password={password}\n\
         insert.mode=upsert\nprimary.key.mode=record_value\nprimary.key.fields=event_id\ncollection.name.format=peer_events\n\
         schema.evolution=none\nbatch.size=4000\nconsumer.override.max.poll.records=4000\nconsumer.override.auto.offset.reset=earliest\n\
         transforms=flatten,rename\ntransforms.flatten.type=org.apache.kafka.connect.transforms.Flatten$Value\ntransforms.flatten.delimiter=_\n\
         transforms.rename.type=org.apache.kafka.connect.transforms.ReplaceField$Value\n\
         transforms.rename.renames=payload_payment_id:payment_id,payload_order_id:order_id,payload_amount:amount,payload_currency:currency,payload_provider_auth_id:provider_auth_id\n",
        topics::RAW,
        postgres.address(),
    );
    let mut files = [String::new(), String::new()];
    for ((name, text), file) in [("worker", worker), ("connector", connector)]
        .into_iter()
        .zip(&mut files)
    {
        let at = folder.join(name);
        std::fs::write(&at, text)?;
        path(&at)?.clone_into(file);
    }
    Ok(files)
}

fn java(name: &'static str, classes: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    // Warnings of the JVM peers are for their own users.
    let flags = ["-Xmx1g", "-Dlog4j2.level=ERROR", "-cp", classes];
    let all: Vec<String> = flags
        .iter()
        .chain(arguments)
        .map(|flag| (*flag).to_owned())
        .collect();
    Process::start(name, PathBuf::from("java"), &all)
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a folder's name is not UTF-8")
}
