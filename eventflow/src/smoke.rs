//! `eventflow smoke`: one command against any running stack. It plays a vendor at the edge, with sound, forged, stale and broken webhooks,
//! and then looks up what became of each, through recovery's API or in its database.
//!
//! Everything is sent first and awaited together, so that one deadline is enough for all, and what is missing tells where to look: a dead
//! letter without a row is another fault than neither.

mod edge;
mod event;
mod fates;
mod report;

use crate::oncall::{Connection, Failure};
use clap::ArgMatches;
use clap::parser::ValueSource;
use edge::{Edge, Posted, WrongAnswer};
use event::Run;
use fates::{Books, Fates, Why};
use report::{Check, Millis, Report, Verdict};
use std::time::Duration;
use tokio::time::Instant;

/// Fresh webhooks of the first check: enough for a median.
const WEBHOOKS: usize = 5;
/// Most events of the batch: what an edge takes at once by default.
const MOST_EVENTS: u16 = 1000;
/// Why checks of fates were skipped, and what to do.
const NO_SIGHT: &str = "give --recovery-url, or --database-url";

/// What to prove, and of whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// The edge: its base URL, or a whole webhook URL
    #[arg(long)]
    url: String,
    /// Source the webhooks are sent to; of a whole webhook URL it is the last part [default: payment-authorized]
    #[arg(long)]
    source: Option<String>,
    /// Events of the batch
    #[arg(long, default_value_t = 20, value_name = "EVENTS", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_EVENTS)))]
    batch: u16,
    /// The whole run takes no longer, as 60s or 2m
    #[arg(long, default_value = "60s", value_parser = simulator::load::parse_duration)]
    deadline: Duration,
    /// Fail when a fate cannot be looked up, instead of skipping the check: for pipelines
    #[arg(long)]
    require_fates: bool,
    #[command(flatten)]
    connection: Connection,
    #[arg(skip)]
    sight: Sight,
}

/// How fates are looked up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sight {
    #[default]
    None,
    Api,
    Database,
}

const AFTER_HELP: &str = "\
Checks: ready (the edge is), accepted (fresh signed webhooks: 200), tampered (one byte changed after signing: 401), stale (signed ten \
minutes ago: 401), stored (each of the fresh ones is a row), duplicate (one of them again: 200, still one row), corrupted (authentic, \
without a required field: a dead letter missing_field, which is then discarded), batch (all of it is rows), audit (no record since the \
start of this run is unaccounted for). What became of webhooks is looked up in recovery's API or database; without either those checks \
are skipped, and say so.

It signs as the built-in source does (scheme eventflow) with EVENTFLOW_WEBHOOK_SIGNING_SECRET. It leaves behind what it sent: some \
payments of 0.01 EUR whose ids begin with smoke-, and a discarded dead letter. A token that may only read leaves that letter open.

Example: eventflow smoke --url https://events.example.com --recovery-url https://recovery.example.com --require-fates --json

Exit codes: 0 every check that was asked for passed; 1 a check failed; 2 wrong usage or configuration, nothing was sent.";

/// Flags of the connection that most people need.
const SHORT: [&str; 12] = [
    "url",
    "source",
    "batch",
    "deadline",
    "require_fates",
    "json",
    "api_url",
    "token_file",
    "ca_file",
    "direct",
    "database_url",
    "webhook_signing_secret",
];

/// What derive cannot say: recovery is one of two things that are reached here, so its flags say which they mean.
pub(crate) fn polish(command: clap::Command) -> clap::Command {
    command.mut_subcommand("smoke", |command| {
        let command = command.mut_args(|argument| {
            let own = SHORT.contains(&argument.get_id().as_str());
            if own { argument } else { argument.hide_short_help(true).help_heading("Straight on the database") }
        });
        command
            .mut_arg("json", |json| json.help("Answer with one JSON document"))
            .mut_arg("api_url", |url| url.long("recovery-url").visible_alias("api-url").hide_default_value(true))
            .mut_arg("ca_file", |file| {
                file.visible_alias("ca")
                    .help("Certificate authority of the edge and of recovery's API (PEM), besides those of the machine")
            })
            .mut_arg("direct", |direct| direct.help("Look fates up in the database of EVENTFLOW_DATABASE_URL"))
            .mut_arg("database_url", |url| url.help_heading("How recovery is reached").hide_default_value(true))
            .mut_arg("webhook_signing_secret", |secret| secret.help("Secret webhooks are signed with; better in the environment"))
            .after_long_help(AFTER_HELP)
            .after_help("Example: eventflow smoke --url http://127.0.0.1:8000 --recovery-url http://127.0.0.1:8004")
    })
}

impl Config {
    /// What only the matches tell: which of the ways to fates was chosen. What is typed goes before the environment.
    pub(crate) fn told(&mut self, matches: &ArgMatches) -> Result<(), Failure> {
        let Some(matches) = matches.subcommand_matches("smoke") else { return Ok(()) };
        let given = |name: &str, by: ValueSource| matches.value_source(name) == Some(by);
        let typed = |name: &str| given(name, ValueSource::CommandLine);
        let direct = typed("direct") || typed("database_url");
        if direct && typed("api_url") {
            return Err(Failure::usage(
                "--recovery-url and --database-url or --direct are two ways to the same: give one of them",
            ));
        }
        let api = given("api_url", ValueSource::EnvVariable) && !self.connection.api_url.trim().is_empty();
        self.sight = match (direct, typed("api_url") || api, given("database_url", ValueSource::EnvVariable)) {
            (true, ..) | (false, false, true) => Sight::Database,
            (false, true, _) => Sight::Api,
            (false, false, false) => Sight::None,
        };
        self.connection.direct = self.sight == Sight::Database;
        Ok(())
    }
}

/// Runs every check to its verdict.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    let Config { url, source, batch, deadline, require_fates, mut connection, sight } = config;
    if require_fates && sight == Sight::None {
        return Err(Failure::usage(format!("--require-fates: fates cannot be looked up: {NO_SIGHT}")));
    }
    let started = Instant::now();
    let end = started + deadline;
    let secret = connection.pipeline.webhook_signing_secret.take().filter(|secret| !secret.expose().is_empty());
    let secret = secret
        .ok_or_else(|| Failure::usage("EVENTFLOW_WEBHOOK_SIGNING_SECRET: the secret webhooks are signed with is not set"))?;
    let edge = Edge::new(&url, source.as_deref(), &secret, connection.ca_file.as_deref(), end)?;
    let as_json = connection.json;
    // In the audit log of a database that is looked into: who discarded.
    connection.name = connection.name.or_else(|| Some("smoke".to_owned()));
    // The last part of the time is for the audit, which says best which stage is behind.
    let reserve = (deadline / 6).min(Duration::from_secs(10));
    let fates = match sight {
        Sight::None => None,
        Sight::Api | Sight::Database => Some(Fates::open(connection, end - reserve).await?),
    };
    let looked_up = match sight {
        Sight::None => "none",
        Sight::Api => "recovery",
        Sight::Database => "database",
    };
    let mut smoke = Smoke { run: Run::new(), report: Report::new(&edge, looked_up, as_json), edge, end };
    smoke.report.begin(smoke.run.name())?;
    smoke.check(fates.as_ref(), usize::from(batch), deadline).await?;
    smoke.report.end(started.elapsed(), require_fates)
}

struct Smoke {
    run: Run,
    report: Report,
    edge: Edge,
    end: Instant,
}

/// What the edge said of the webhooks whose fates are looked up.
struct Sent {
    fresh: Vec<Posted>,
    again: Result<Posted, WrongAnswer>,
    broken: Result<Posted, WrongAnswer>,
    batch: Result<Posted, WrongAnswer>,
    /// When the last of them was answered
    last: Instant,
}

impl Smoke {
    async fn check(&mut self, fates: Option<&Fates>, batch: usize, deadline: Duration) -> Result<(), Failure> {
        const AFTER_READY: [&str; 8] = ["accepted", "tampered", "stale", "stored", "duplicate", "corrupted", "batch", "audit"];
        let began = Instant::now();
        let ready = self.edge.ready((deadline / 4).min(Duration::from_secs(15))).await;
        let answers = ready.answers;
        self.report.add(Check::new("ready", began, ready.verdict, ready.detail))?;
        if !answers {
            return self.skip(&AFTER_READY, "the edge does not answer");
        }
        let began = Instant::now();
        let mut fresh = Vec::new();
        for number in 1..=WEBHOOKS {
            let event = self.run.event(&format!("accepted-{number}"));
            match self.edge.accept(&event).await {
                Ok(posted) => fresh.push(posted),
                Err(wrong) => {
                    let failed = Check::new("accepted", began, Verdict::Failed, wrong.0)
                        .of(vec![self.run.id(&format!("accepted-{number}"))]);
                    self.report.add(failed)?;
                    return self.skip(&AFTER_READY[1..], "needs accepted");
                }
            }
        }
        let detail = format!("{WEBHOOKS} signed webhooks, each answered 200 with its event id");
        self.report.add(Check::new("accepted", began, Verdict::Passed, detail).of(ids(&fresh)))?;
        self.refusals().await?;

        let again = self.edge.accept(&fresh[0].events[0]).await;
        let broken = self.edge.accept(&self.run.broken("corrupted")).await;
        let events: Vec<_> = (1..=batch).map(|number| self.run.event_of_batch(number)).collect();
        let whole = self.edge.accept_batch(events).await;
        let sent = Sent { fresh, again, broken, batch: whole, last: Instant::now() };
        let answered = sent.fresh.iter().chain(&sent.again).chain(&sent.broken).map(|posted| posted.took);
        self.report.latency.webhook_to_answer_ms = Millis::of(answered.collect());
        match fates {
            Some(fates) => self.fates(fates, sent).await,
            None => self.without_fates(sent),
        }
    }

    /// What is forged or old is refused, and for that reason.
    async fn refusals(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let event = self.run.event("tampered");
        let outcome = self.edge.tampered(&event).await;
        self.verdict("tampered", began, outcome, vec![event.id])?;
        let began = Instant::now();
        let event = self.run.event("stale");
        let outcome = self.edge.stale(&event).await;
        self.verdict("stale", began, outcome, vec![event.id])
    }

    fn verdict(
        &mut self,
        name: &'static str,
        began: Instant,
        outcome: Result<String, WrongAnswer>,
        ids: Vec<String>,
    ) -> Result<(), Failure> {
        let (verdict, detail) = match outcome {
            Ok(detail) => (Verdict::Passed, detail),
            Err(wrong) => (Verdict::Failed, wrong.0),
        };
        self.report.add(Check::new(name, began, verdict, detail).of(ids))
    }

    fn skip(&mut self, names: &[&'static str], why: &str) -> Result<(), Failure> {
        names.iter().try_for_each(|name| self.report.add(Check::new(name, Instant::now(), Verdict::Skipped, why.to_owned())))
    }

    /// Only what the edge said can be judged.
    fn without_fates(&mut self, sent: Sent) -> Result<(), Failure> {
        let now = Instant::now();
        let skipped = |name, posted: Result<Posted, WrongAnswer>| match posted {
            Ok(posted) => Check::new(name, now, Verdict::Skipped, format!("answered 200; its fate is not looked up: {NO_SIGHT}"))
                .of(posted.ids()),
            Err(wrong) => Check::new(name, now, Verdict::Failed, wrong.0),
        };
        self.report.add(Check::new("stored", now, Verdict::Skipped, NO_SIGHT.to_owned()).of(ids(&sent.fresh)))?;
        self.report.add(skipped("duplicate", sent.again))?;
        self.report.add(skipped("corrupted", sent.broken))?;
        self.report.add(skipped("batch", sent.batch))?;
        self.report.add(Check::new("audit", now, Verdict::Skipped, NO_SIGHT.to_owned()))
    }

    /// Waits for all fates at once, then closes the books.
    async fn fates(&mut self, fates: &Fates, sent: Sent) -> Result<(), Failure> {
        report::waiting(fates.left());
        let began = Instant::now();
        let stored = async { (fates.rows_of_each(&sent.fresh).await, began.elapsed()) };
        let duplicate = async { (look(&sent.again, |posted| fates.one_row(posted)).await, began.elapsed()) };
        let letter = async { (look(&sent.broken, |posted| fates.letter(posted)).await, began.elapsed()) };
        let batch = async { (look(&sent.batch, |posted| fates.rows_of_batch(posted)).await, began.elapsed()) };
        let (stored, duplicate, letter, batch) = tokio::join!(stored, duplicate, letter, batch);

        // Which fates are there tells which stage is not.
        let look_at = match letter.0 {
            Ok(_) => "the validator works, it dead-letters: look at the /ready and log of persistence",
            Err(_) => "look at the /ready and log of validator, persistence and recovery, in this order",
        };
        let late = |what: &str, look_at: &str| {
            let (what, look_at, seconds) = (what.to_owned(), look_at.to_owned(), began.elapsed().as_secs());
            move |id: &str, told: Option<&str>| match told {
                Some(told) => format!("{what} {id} within {seconds} s; {told}"),
                None => format!("{what} {id} within {seconds} s; {look_at}"),
            }
        };
        let said = match &stored.0 {
            Ok(rows) => Ok(format!("{} of {WEBHOOKS} are rows, one each", rows.len())),
            Err(why) => Err(why.text(late("no row of", look_at))),
        };
        self.report.latency.webhook_to_row_ms = stored.0.ok().and_then(|rows| Millis::of(rows.into_iter().flatten().collect()));
        self.fate("stored", stored.1, said, ids(&sent.fresh))?;
        let said = match duplicate.0 {
            Ok(copies) => Ok(format!("answered 200, noted as a duplicate ({copies}), still one row")),
            Err(why) => Err(why.text(late("answered 200, but no duplicate of", look_at))),
        };
        self.fate("duplicate", duplicate.1, said, ids_of(&sent.again))?;
        let said = letter.0.map_err(|why| {
            why.text(late(
                "answered 200, but no dead letter of",
                "look at the /ready and log of validator, then of recovery, which indexes them",
            ))
        });
        self.fate("corrupted", letter.1, said, ids_of(&sent.broken))?;
        let said = match batch.0 {
            Ok(rows) => Ok(format!("answered 200, all {} events are rows", rows.len())),
            Err(why) => Err(why.text(late("answered 200, but no row of", look_at))),
        };
        self.fate("batch", batch.1, said, ids_of(&sent.batch))?;

        let began = Instant::now();
        let (verdict, detail) = match fates.books(self.run.began(), sent.last, self.end).await {
            Books::Closed(detail) => (Verdict::Passed, detail),
            Books::Open(detail) => (Verdict::Failed, detail),
            Books::Unread(detail) => (Verdict::Skipped, detail),
        };
        self.report.add(Check::new("audit", began, verdict, detail))
    }

    fn fate(
        &mut self,
        name: &'static str,
        took: Duration,
        outcome: Result<String, String>,
        ids: Vec<String>,
    ) -> Result<(), Failure> {
        let (verdict, detail) = match outcome {
            Ok(detail) => (Verdict::Passed, detail),
            Err(detail) => (Verdict::Failed, detail),
        };
        self.report.add(Check { name, verdict, seconds: took.as_secs_f64(), detail, event_ids: ids })
    }
}

/// Looks a fate up, unless the edge already failed the check.
async fn look<'p, T, F: Future<Output = Result<T, Why>>>(
    posted: &'p Result<Posted, WrongAnswer>,
    look: impl FnOnce(&'p Posted) -> F,
) -> Result<T, Why> {
    match posted {
        Ok(posted) => look(posted).await,
        Err(wrong) => Err(Why::Said(wrong.0.clone())),
    }
}

fn ids(posted: &[Posted]) -> Vec<String> {
    posted.iter().flat_map(Posted::ids).collect()
}

fn ids_of(posted: &Result<Posted, WrongAnswer>) -> Vec<String> {
    posted.as_ref().map(Posted::ids).unwrap_or_default()
}
