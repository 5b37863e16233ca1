//! `eventflow dlq`.

use super::client::{Client, read};
use super::connection::Connection;
use super::edit::{self, EditArgs};
use super::error::CommandError;
use super::{confirm, note, print, print_bytes, print_json, render, with_ids};
use axum::http::Method;
use recovery::model::{AuditLogCheck, Selection};
use runtime::text::encoded;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Dead letters.
#[derive(Debug, clap::Args)]
pub(crate) struct Dlq {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// List dead letters, newest first; only open ones by default
    #[command(
        after_help = "Examples: eventflow dlq ls --code invalid_amount --since 2h\n          eventflow dlq ls --state open,replaying --source payment-provider --json"
    )]
    Ls {
        #[command(flatten)]
        selection: Selection,
        /// Continue after this dead letter: the last one of the previous page
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
    },
    /// Group dead letters by stage, code, source and event type: start here
    #[command(after_help = "Example: eventflow dlq groups --since 24h")]
    Groups(Selection),
    /// Show everything about one dead letter: value, headers, earlier failures, edits
    #[command(after_help = "Example: eventflow dlq show 17")]
    Show {
        /// Number of the dead letter
        letter: i64,
    },
    /// Show totals by state, code, stage and source
    #[command(after_help = "Example: eventflow dlq stats")]
    Stats,
    /// Change the value of one dead letter in $VISUAL or $EDITOR, or of many with a patch; the original is kept
    #[command(
        after_help = "Examples: eventflow dlq edit 17\n          eventflow dlq edit 17 --set /payload/amount=12.50\n          eventflow dlq edit --group 3 --patch '[{\"op\":\"replace\",\"path\":\"/payload/currency\",\"value\":\"EUR\"}]' --yes"
    )]
    Edit(EditArgs),
    /// Discard dead letters, with a reason: they are kept, but no longer open
    #[command(
        after_help = "Example: eventflow dlq discard 17 18 --reason \"test traffic of the vendor\""
    )]
    Discard {
        /// Numbers of dead letters
        letters: Vec<i64>,
        #[command(flatten)]
        selection: Selection,
        /// Reason, kept with each dead letter and in the audit log
        #[arg(long)]
        reason: String,
        /// Discard without asking for confirmation, however many are selected
        #[arg(long, short)]
        yes: bool,
    },
    /// Say that the vendor sent unverified dead letters, with a reason: only then can they be replayed
    #[command(
        after_help = "Example: eventflow dlq genuine 17 18 --reason \"both are in the vendor's delivery log\""
    )]
    Genuine {
        /// Numbers of dead letters
        letters: Vec<i64>,
        #[command(flatten)]
        selection: Selection,
        /// How you know, kept with each dead letter and in the audit log
        #[arg(long)]
        reason: String,
        /// Say so without asking for confirmation, however many are selected
        #[arg(long, short)]
        yes: bool,
    },
    /// Write dead letters as JSON lines, with value, key and headers verbatim
    #[command(after_help = "Example: eventflow dlq export --group 3 --to letters.jsonl")]
    Export {
        #[command(flatten)]
        selection: Selection,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Show the audit log: who did what, when and why; or check that nobody changed it
    #[command(
        alias = "log",
        after_help = "Examples: eventflow dlq audit-log --letter 17\n          eventflow dlq audit-log --verify"
    )]
    AuditLog {
        /// Check that every entry is as it was written; exit 1, naming the first that is not. The number and hash of the last entry are printed:
        /// compare them with what the role logged
        #[arg(long, conflicts_with_all = ["letter", "job", "before", "limit"])]
        verify: bool,
        /// Only entries about this dead letter
        #[arg(long, value_name = "NUMBER")]
        letter: Option<i64>,
        /// Only entries about this replay
        #[arg(long)]
        job: Option<String>,
        /// Only entries before this one: continues after a list
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
        /// Maximum entries to show
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

pub(crate) async fn run(Dlq { connection, work }: Dlq) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let show = |text: &str, render: fn(&str) -> Result<String, CommandError>| {
        if as_json {
            print_json(text)
        } else {
            print(&render(text)?)
        }
    };
    match work {
        Work::Ls { selection, before } => {
            let mut parameters = selection.to_query();
            parameters.extend(before.map(|before| ("before", before.to_string())));
            let text = client.get("/api/v1/dead-letters", &parameters).await?;
            if as_json {
                print_json(&text)
            } else {
                print(&render::dead_letters(&read(&text)?, &selection))
            }
        }
        Work::Groups(selection) => {
            let text = client.get("/api/v1/groups", &selection.to_query()).await?;
            show(&text, render::groups)
        }
        Work::Show { letter } => show(
            &client
                .get(&format!("/api/v1/dead-letters/{letter}"), &[])
                .await?,
            render::dead_letter,
        ),
        Work::Stats => show(&client.get("/api/v1/stats", &[]).await?, render::stats),
        Work::Edit(edit) => edit::run(&client, edit, as_json).await,
        Work::Discard {
            letters,
            selection,
            reason,
            yes,
        } => {
            let selection = with_ids(selection, letters);
            decide(&client, &DISCARD, &selection, &reason, yes, as_json).await
        }
        Work::Genuine {
            letters,
            selection,
            reason,
            yes,
        } => {
            let selection = with_ids(selection, letters);
            decide(&client, &GENUINE, &selection, &reason, yes, as_json).await
        }
        Work::Export { selection, to } => export(&client, &selection, to).await,
        Work::AuditLog { verify: true, .. } => verify(&client, as_json).await,
        Work::AuditLog {
            letter,
            job,
            before,
            limit,
            ..
        } => {
            let parameters = [
                ("letter", letter.map(|letter| letter.to_string())),
                ("job", job),
                ("before", before.map(|entry| entry.to_string())),
                ("limit", Some(limit.to_string())),
            ];
            let parameters: Vec<_> = parameters
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
            show(&client.get("/api/v1/log", &parameters).await?, render::log)
        }
    }
}

/// Follows the chain of the audit log.
async fn verify(client: &Client, as_json: bool) -> Result<(), CommandError> {
    let text = client.get("/api/v1/log/verify", &[]).await?;
    let check: AuditLogCheck = read(&text)?;
    if as_json {
        print_json(&text)?;
    } else {
        print(&render::log_check(&check))?;
    }
    match check.broken {
        None => Ok(()),
        Some(broken) => Err(CommandError::failed(format!(
            "entry {} of the audit log: {}; keep the database as it is, and call the owner of EventFlow",
            broken.seq, broken.problem
        ))),
    }
}

/// What a person decides of a selection.
struct Decision {
    path: &'static str,
    question: &'static str,
    /// Of the answer: how many
    field: &'static str,
    none: &'static str,
    done: &'static str,
}

const DISCARD: Decision = Decision {
    path: "/api/v1/dead-letters/discard",
    question: "Discard them?",
    field: "discarded",
    none: "nothing to discard: none of them is open\n",
    done: "discarded",
};

const GENUINE: Decision = Decision {
    path: "/api/v1/dead-letters/genuine",
    question: "Call them genuine?",
    field: "genuine",
    none: "nothing to say: none of them is open, unverified and without somebody's word\n",
    done: "called genuine:",
};

/// When the API wants confirmation, a person at a terminal is asked; a script gets exit code 3.
async fn decide(
    client: &Client,
    decision: &Decision,
    selection: &Selection,
    reason: &str,
    yes: bool,
    as_json: bool,
) -> Result<(), CommandError> {
    let send = |yes: bool| {
        client_post(
            client,
            decision.path,
            json!({"selection": selection, "reason": reason, "yes": yes}),
        )
    };
    let mut answer = send(yes).await;
    if let Err(error) = &answer
        && error.is("needs_confirmation")
        && !yes
        && confirm(&format!("{error}. {}", decision.question))?
    {
        answer = send(true).await;
    }
    let text = answer?;
    if as_json {
        return print_json(&text);
    }
    let answer: Value = read(&text)?;
    match answer[decision.field].as_i64().unwrap_or_default() {
        0 => print(decision.none),
        number => print(&format!(
            "{} {}\n",
            decision.done,
            super::text::count(number, "dead letter")
        )),
    }
}

async fn client_post(client: &Client, path: &str, body: Value) -> Result<String, CommandError> {
    client.post(path, &body).await
}

async fn export(
    client: &Client,
    selection: &Selection,
    to: Option<PathBuf>,
) -> Result<(), CommandError> {
    let parameters: Vec<String> = selection
        .to_query()
        .into_iter()
        .map(|(name, value)| format!("{name}={}", encoded(&value)))
        .collect();
    let mut answer = client
        .open(
            Method::GET,
            &format!("/api/v1/export?{}", parameters.join("&")),
            None,
            None,
        )
        .await?;
    let Some(to) = to else {
        let mut unprinted = Vec::new();
        while let Some(piece) = answer.piece().await? {
            unprinted.extend_from_slice(&piece);
            // Whole lines only, so that no character is cut where it is made safe.
            let Some(end) = unprinted.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            print_bytes(
                super::text::json(&String::from_utf8_lossy(&unprinted[..=end])).as_bytes(),
            )?;
            unprinted.drain(..=end);
        }
        return print_bytes(&unprinted);
    };
    let failed = |error: std::io::Error| {
        CommandError::failed(format!(
            "cannot write {}: {error}; give another file with --to",
            to.display()
        ))
    };
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| ".".as_ref());
    // Renamed when complete: half an export looks like a small one.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let mut lines = 0;
    while let Some(piece) = answer.piece().await? {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        std::io::Write::write_all(&mut file, &piece).map_err(failed)?;
    }
    file.persist(&to).map_err(|error| failed(error.error))?;
    note(&format!(
        "wrote {} to {}",
        super::text::count(lines as i64, "dead letter"),
        to.display()
    ));
    Ok(())
}
