//! Reads everything, has it judged, and shows what failed.

use crate::VerifyArgs;
use crate::database::Snapshot;
use crate::kafka::{Ends, Reader};
use crate::piece::Topic;
use crate::progress::Progress;
use crate::report::{Check, Counts, Findings, Report};
use crate::show::Show;
use crate::totals;
use crate::work::{Epochs, Judged, RawTopic, Work, length};
use anyhow::Context;
use contracts::pipeline::Pipeline;
use runtime::admin::TopicIdsReader;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longest wait for the ids of topics.
const DEADLINE: Duration = Duration::from_secs(15);

/// Judges a run. A traffic that goes on is judged, too, but what has no fate yet is a finding: stop it, and let the stages come to the end.
///
/// # Errors
/// What could not be read: then there is no verdict.
pub async fn run(args: &VerifyArgs) -> anyhow::Result<Report> {
    let started = Instant::now();
    args.kafka.check()?;
    let progress = Progress::new();
    let names = names(args);
    let unknown = |topic: &&String| !names.values().any(|name| name == *topic);
    if let Some(topic) = args.recreated.iter().find(unknown) {
        let known: Vec<&str> = names.values().map(String::as_str).collect();
        anyhow::bail!(
            "--recreated: {topic} is not a topic that is read; these are: {}",
            known.join(", ")
        );
    }
    let mut snapshot = Snapshot::open(&args.database).await?;
    let first_id = snapshot.first_raw_topic().await?;
    drop(snapshot);
    let mut ids = TopicIdsReader::new(&args.kafka, [args.topic_raw.clone()]);
    let now_id = ids.read(DEADLINE).await?.remove(&args.topic_raw);
    let reader = Reader::new(&args.kafka)?;
    let ends = tokio::task::block_in_place(|| ends(&reader, &names))?;
    let mut work = Work::new(args, &ends, Epochs { first_id, now_id })?;

    tokio::task::block_in_place(|| -> anyhow::Result<()> {
        work.read_journals(args, &progress)?;
        for (topic, name) in &names {
            if let Some(of_topic) = ends.get(topic) {
                let length = length(of_topic);
                progress.begin(name.clone(), length);
                reader.read(*topic, name, of_topic, &mut |record| {
                    progress.step();
                    work.add_record(record)
                })?;
            }
        }
        Ok(())
    })?;
    // After the topics: a row then has its raw record.
    let mut snapshot = Snapshot::open(&args.database).await?;
    progress.begin("rows", 0);
    snapshot
        .each(&mut |position, kept| {
            progress.step();
            work.add_kept(position, kept)
        })
        .await
        .context("cannot read persistence's tables")?;
    drop(snapshot);
    let schemas = work.schemas(args).await?;
    let now = tokio::task::block_in_place(|| reader.ends(&args.topic_raw))?;
    let Judged {
        mut found,
        counts,
        raw,
    } = tokio::task::block_in_place(|| {
        let ends = (&ends, now.unwrap_or_default());
        work.judge(args, &names, ends, schemas.as_ref(), &progress)
    })?;

    let mut skipped: BTreeMap<Check, String> = BTreeMap::new();
    progress.begin("the audit's sums", 0);
    let not_audited = audit(args, &ends, &raw, &counts, &mut found).await?;
    not_audited.map(|why| skipped.insert(Check::AuditDiffers, why));
    let false_alarms = totals::false_alarms(&args.database, &mut found).await?;
    false_alarms.map(|why| skipped.insert(Check::AuditFalseAlarm, why));
    let not_timed = match args.clocks_within {
        None => Some("give --clocks-within"),
        Some(_) => (raw.epochs > 1).then_some("records of the raw topic are gone"),
    };
    not_timed.map(|why| skipped.insert(Check::AnsweredEarly, why.to_owned()));
    if args.metrics.is_empty() {
        skipped.insert(Check::CounterDiffers, "give --metrics".to_owned());
    } else {
        let records = counts.records.get(&args.topic_raw).copied().unwrap_or(0);
        totals::counters(
            &args.metrics,
            &counts,
            args.allow_others,
            records,
            &mut found,
        )
        .await?;
    }
    let mut show = Show {
        journals: &args.journal,
        names: &names,
        reader,
        snapshot: Snapshot::open(&args.database).await?,
    };
    let mut checks = Vec::new();
    for tally in found.into_checks() {
        let why = skipped.remove(&tally.0);
        checks.push(show.check(tally, why).await);
    }
    Ok(Report {
        clean: checks.iter().all(|check| check.failed == 0),
        counts,
        checks,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn names(args: &VerifyArgs) -> BTreeMap<Topic, String> {
    let pipeline = Pipeline::built_in();
    let retries = pipeline.replayable().map(|(_, retry)| retry.to_owned());
    let retries = (0..).map(Topic::Retry).zip(retries);
    [
        (Topic::Raw, args.topic_raw.clone()),
        (Topic::Validated, args.topic_validated.clone()),
        (Topic::Dead, args.topic_dlq.clone()),
    ]
    .into_iter()
    .chain(retries)
    .collect()
}

fn ends(reader: &Reader, names: &BTreeMap<Topic, String>) -> anyhow::Result<BTreeMap<Topic, Ends>> {
    let mut all = BTreeMap::new();
    for (topic, name) in names {
        match reader.ends(name)? {
            Some(ends) => drop(all.insert(*topic, ends)),
            // Nothing was ever replayed.
            None if matches!(topic, Topic::Retry(_)) => {}
            None => anyhow::bail!(
                "topic {name} does not exist; check --kafka-brokers and the names of the topics"
            ),
        }
    }
    Ok(all)
}

async fn audit(
    args: &VerifyArgs,
    ends: &BTreeMap<Topic, Ends>,
    raw: &RawTopic,
    counts: &Counts,
    found: &mut Findings,
) -> anyhow::Result<Option<String>> {
    if raw.epochs > 1 || counts.unseen > 0 {
        return Ok(Some("records of the raw topic are gone".to_owned()));
    }
    if let Some(path) = &args.audit {
        totals::printed_audit(path, counts, found)?;
        return Ok(None);
    }
    let topic = format!("{}{}", args.topic_raw, raw.epoch);
    let none = Ends::new();
    let ends = ends.get(&Topic::Raw).unwrap_or(&none);
    totals::kept_audit(&args.database, &topic, ends, args.within, counts, found).await
}
