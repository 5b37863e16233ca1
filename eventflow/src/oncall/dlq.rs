//! `eventflow dlq`.

use super::client::{Client, Connection, encoded, read};
use super::edit::{self, Edit};
use super::failure::Failure;
use super::{ask, note, page, query, say, say_bytes, say_json, with_letters};
use axum::http::Method;
use recovery::model::Selection;
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
    /// List dead letters, the newest first; open ones unless told
    #[command(
        after_help = "Examples: eventflow dlq ls --code invalid_amount --since 2h\n          eventflow dlq ls --state open,replaying --source payment-provider --json"
    )]
    Ls {
        #[command(flatten)]
        selection: Selection,
        /// Go on after this dead letter: the last of the page before
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
    },
    /// Show what dead letters have in common: the first thing to look at
    #[command(after_help = "Example: eventflow dlq groups --since 24h")]
    Groups(Selection),
    /// Show everything about one dead letter: value, headers, earlier failures, edits
    #[command(after_help = "Example: eventflow dlq show 17")]
    Show {
        /// Number of the dead letter
        letter: i64,
    },
    /// Show sums: how many, of what, since when
    #[command(after_help = "Example: eventflow dlq stats")]
    Stats,
    /// Change the value of one dead letter in $VISUAL or $EDITOR, or of many with a patch; the original stays
    #[command(
        after_help = "Examples: eventflow dlq edit 17\n          eventflow dlq edit 17 --set /payload/amount=12.50\n          eventflow dlq edit --group 3 --patch '[{\"op\":\"replace\",\"path\":\"/payload/currency\",\"value\":\"EUR\"}]' --yes"
    )]
    Edit(Edit),
    /// Give up dead letters for a reason: they are kept, but no longer open
    #[command(
        after_help = "Example: eventflow dlq discard 17 18 --reason \"test traffic of the vendor\""
    )]
    Discard {
        /// Numbers of dead letters
        letters: Vec<i64>,
        #[command(flatten)]
        selection: Selection,
        /// Why; kept with each and in the audit log
        #[arg(long)]
        reason: String,
        /// It is meant, however many they are
        #[arg(long, short)]
        yes: bool,
    },
    /// Write dead letters as JSON lines, value, key and headers verbatim
    #[command(after_help = "Example: eventflow dlq export --group 3 --to letters.jsonl")]
    Export {
        #[command(flatten)]
        selection: Selection,
        /// File; standard output without it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Show the audit log: who did what, when and why
    #[command(after_help = "Example: eventflow dlq log --letter 17")]
    Log {
        /// Of one dead letter
        #[arg(long, value_name = "NUMBER")]
        letter: Option<i64>,
        /// Of one replay
        #[arg(long)]
        job: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

pub(crate) async fn run(Dlq { connection, work }: Dlq) -> Result<(), Failure> {
    let as_json = connection.json;
    let client = Client::new(connection).await?;
    let show = |text: &str, page: fn(&str) -> Result<String, Failure>| {
        if as_json {
            say_json(text)
        } else {
            say(&page(text)?)
        }
    };
    match work {
        Work::Ls { selection, before } => {
            let mut words = query(&selection)?;
            words.extend(before.map(|before| ("before", before.to_string())));
            let text = client.get("/api/v1/dead-letters", &words).await?;
            if as_json {
                say_json(&text)
            } else {
                say(&page::letters(&read(&text)?, &selection))
            }
        }
        Work::Groups(selection) => {
            let text = client.get("/api/v1/groups", &query(&selection)?).await?;
            show(&text, page::groups)
        }
        Work::Show { letter } => show(
            &client
                .get(&format!("/api/v1/dead-letters/{letter}"), &[])
                .await?,
            page::letter,
        ),
        Work::Stats => show(&client.get("/api/v1/stats", &[]).await?, page::stats),
        Work::Edit(edit) => edit::run(&client, edit, as_json).await,
        Work::Discard {
            letters,
            selection,
            reason,
            yes,
        } => {
            let selection = with_letters(selection, letters);
            discard(&client, &selection, &reason, yes, as_json).await
        }
        Work::Export { selection, to } => export(&client, &selection, to).await,
        Work::Log { letter, job, limit } => {
            let words = [
                ("letter", letter.map(|letter| letter.to_string())),
                ("job", job),
                ("limit", Some(limit.to_string())),
            ];
            let words: Vec<_> = words
                .into_iter()
                .filter_map(|(word, value)| Some((word, value?)))
                .collect();
            show(&client.get("/api/v1/log", &words).await?, page::log)
        }
    }
}

/// The API says when it must be meant; a person is then asked, a script told.
async fn discard(
    client: &Client,
    selection: &Selection,
    reason: &str,
    yes: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let send = |yes: bool| {
        client_post(
            client,
            "/api/v1/dead-letters/discard",
            json!({"selection": selection, "reason": reason, "yes": yes}),
        )
    };
    let mut answer = send(yes).await;
    if let Err(failure) = &answer
        && failure.is("needs_confirmation")
        && !yes
        && ask(&format!("{failure}. Discard them?"))?
    {
        answer = send(true).await;
    }
    let text = answer?;
    if as_json {
        return say_json(&text);
    }
    let answer: Value = read(&text)?;
    match answer["discarded"].as_i64().unwrap_or_default() {
        0 => say("nothing to discard: none of them is open\n"),
        number => say(&format!(
            "discarded {}\n",
            super::words::count(number, "dead letter")
        )),
    }
}

async fn client_post(client: &Client, path: &str, body: Value) -> Result<String, Failure> {
    client.post(path, &body).await
}

async fn export(
    client: &Client,
    selection: &Selection,
    to: Option<PathBuf>,
) -> Result<(), Failure> {
    let words: Vec<String> = query(selection)?
        .into_iter()
        .map(|(word, value)| format!("{word}={}", encoded(&value)))
        .collect();
    let mut answer = client
        .open(
            Method::GET,
            &format!("/api/v1/export?{}", words.join("&")),
            None,
            None,
        )
        .await?;
    let Some(to) = to else {
        let mut rest = Vec::new();
        while let Some(piece) = answer.piece().await? {
            rest.extend_from_slice(&piece);
            // Whole lines only, so that no character is cut where it is made safe.
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            say_bytes(super::words::json(&String::from_utf8_lossy(&rest[..=end])).as_bytes())?;
            rest.drain(..=end);
        }
        return say_bytes(&rest);
    };
    let wrong =
        |error: std::io::Error| Failure::failed(format!("cannot write {}: {error}", to.display()));
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| ".".as_ref());
    // Under its name only when whole: half an export looks like a small one.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(wrong)?;
    let mut lines = 0;
    while let Some(piece) = answer.piece().await? {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        std::io::Write::write_all(&mut file, &piece).map_err(wrong)?;
    }
    file.persist(&to).map_err(|error| wrong(error.error))?;
    note(&format!(
        "{} in {}",
        super::words::count(lines as i64, "dead letter"),
        to.display()
    ));
    Ok(())
}
