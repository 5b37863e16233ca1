//! Reads journals: requests with their answers, one at a time.

use crate::json;
use crate::piece::{Answer, Expect, Place, Sent};
use crate::report::Counts;
use anyhow::{Context, bail};
use base64::Engine;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    n: u64,
    at_micros: Option<i64>,
    status: Option<Status>,
    source: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    items: Option<String>,
    expect: Option<String>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Code(u16),
    Word(String),
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    event_id: String,
}

/// A request without its answer yet.
struct Request {
    at: u64,
    line: Line,
}

/// Reads a journal, and calls this with each event of each request and the bytes that its raw record must have. Only requests without an
/// answer are kept: of a client, those in progress.
pub(crate) fn read(
    path: &Path,
    file: u32,
    counts: &mut Counts,
    take: &mut dyn FnMut(Sent, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = path.display();
    let opened = File::open(path).with_context(|| format!("cannot read the journal {name}"))?;
    let mut lines = BufReader::with_capacity(1 << 20, opened);
    let mut waiting: HashMap<u64, Request> = HashMap::new();
    let (mut at, mut number, mut text) = (0_u64, 0_u64, Vec::new());
    loop {
        text.clear();
        let read = lines.read_until(b'\n', &mut text)?;
        if read == 0 {
            break;
        }
        let begins = at;
        at += read as u64;
        number += 1;
        let line: Line = match serde_json::from_slice(&text) {
            Ok(line) => line,
            // The client was killed while it wrote: what the line is about was not sent, or has no answer.
            Err(error) if error.is_eof() => {
                counts.torn_lines += 1;
                continue;
            }
            Err(error) => bail!("{name}, line {number}: not a line of a journal: {error}"),
        };
        let n = line.n;
        let problem = || format!("{name}, line {number}");
        match &line.status {
            None => {
                let request = Request { at: begins, line };
                if waiting.insert(n, request).is_some() {
                    bail!("{}: two requests have the number {n}", problem());
                }
            }
            Some(status) => {
                let answer = answer(status).with_context(problem)?;
                let request = waiting.remove(&n);
                let request = request
                    .with_context(|| format!("{}: an answer to no request, {n}", problem()))?;
                let answer = (answer, line.at_micros);
                each(request, answer, file, counts, take).with_context(problem)?;
            }
        }
    }
    for request in waiting.into_values() {
        let begins = request.at;
        let problem = || format!("{name}, the line at byte {begins}");
        let none = (Answer::Unknown, None);
        each(request, none, file, counts, take).with_context(problem)?;
    }
    Ok(())
}

/// A 4xx is answered before anything is published. After a 5xx, or none, the record may be in the topic.
fn answer(status: &Status) -> anyhow::Result<Answer> {
    Ok(match status {
        Status::Code(200..=299) => Answer::Accepted,
        Status::Code(400..=499) => Answer::Refused,
        Status::Code(_) => Answer::Unknown,
        Status::Word(word) if word == "error" => Answer::Unknown,
        Status::Word(word) => bail!("status {word:?}; write a number, or \"error\""),
    })
}

fn each(
    request: Request,
    (answer, answered_at_micros): (Answer, Option<i64>),
    file: u32,
    counts: &mut Counts,
    take: &mut dyn FnMut(Sent, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Request { at, line } = request;
    let source = line.source.context("the request has no source")?;
    let expect = expect(line.expect.as_deref())?;
    let body = match (line.body, line.body_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .context("body_base64")?,
        (_, _) => bail!("a request has body or body_base64"),
    };
    let parts: Vec<&[u8]> = match &line.items {
        None => vec![&body],
        Some(lines) if lines == "lines" => body
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
            .collect(),
        Some(pointer) => {
            let text = std::str::from_utf8(&body).context("a body with items is not UTF-8")?;
            let items = json::items(text, pointer);
            let items = items.with_context(|| format!("the body has no array at {pointer:?}"))?;
            items.into_iter().map(str::as_bytes).collect()
        }
    };
    counts.requests += 1;
    for (index, part) in parts.iter().enumerate() {
        match answer {
            Answer::Accepted => counts.accepted += 1,
            Answer::Unknown => counts.unknown += 1,
            Answer::Refused => {}
        }
        let event = line.events.get(index);
        let sent = Sent {
            place: Place::Line { file, at },
            source: source.clone(),
            expect: expect.clone(),
            answer,
            answered_at_micros,
            event_id: event.map_or_else(String::new, |event| event.event_id.clone()),
            headers: line.headers.clone(),
        };
        take(sent, part)?;
    }
    Ok(())
}

fn expect(text: Option<&str>) -> anyhow::Result<Expect> {
    let Some(text) = text else {
        return Ok(Expect::Any);
    };
    Ok(match text.split_once(' ') {
        None if text == "stored" || text == "duplicate" => Expect::Good,
        Some(("dead_lettered", code)) => Expect::Dead(code.to_owned()),
        Some(("refused", _)) => Expect::Refused,
        _ => bail!(
            "expect {text:?}; write stored, duplicate, dead_lettered CODE or refused CODE, or leave it out"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> anyhow::Result<(Vec<(Sent, String)>, Counts)> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        let (mut all, mut counts) = (Vec::new(), Counts::default());
        read(file.path(), 3, &mut counts, &mut |sent, part| {
            all.push((sent, String::from_utf8_lossy(part).into_owned()));
            Ok(())
        })?;
        Ok((all, counts))
    }

    const SENT: &str = r#"{"at_micros":1,"n":1,"source":"s","url":"http://e","body":"{}","headers":[["a","b"]],"expect":"stored","events":[{"event_id":"e","event_type":"t"}]}"#;

    #[test]
    fn a_request_and_its_answer_are_one() {
        for (status, answer) in [
            ("200", Answer::Accepted),
            ("503", Answer::Unknown),
            ("\"error\"", Answer::Unknown),
            ("429", Answer::Refused),
        ] {
            let text = format!("{SENT}\n{{\"at_micros\":2,\"n\":1,\"status\":{status}}}\n");
            let (all, counts) = sent(&text).unwrap();
            let (one, part) = &all[0];
            assert_eq!(
                (one.answer, part.as_str(), &*one.event_id),
                (answer, "{}", "e")
            );
            assert_eq!((one.expect.clone(), counts.requests), (Expect::Good, 1));
        }
    }

    #[test]
    fn a_killed_client_leaves_requests_without_answers_and_half_a_line() {
        let half = &SENT.replace("\"n\":1", "\"n\":2")[..40];
        let again = SENT.replace("\"n\":1", "\"n\":3");
        let (all, counts) = sent(&format!(
            "{SENT}\n{half}\n{again}\n{{\"n\":3,\"status\":200}}\n{half}"
        ))
        .unwrap();
        let mut answers: Vec<_> = all.iter().map(|(one, _)| one.answer).collect();
        answers.sort_by_key(|answer| *answer as u8);
        assert_eq!(answers, [Answer::Accepted, Answer::Unknown]);
        assert_eq!(
            (counts.torn_lines, counts.accepted, counts.unknown),
            (2, 1, 1)
        );
    }

    #[test]
    fn the_events_of_a_body_are_where_it_says() {
        let with = |items: &str, body: &str| {
            let body = serde_json::to_string(body).unwrap();
            let text = SENT.replace(
                "\"body\":\"{}\"",
                &format!("\"items\":{items},\"body\":{body}"),
            );
            sent(&text)
                .unwrap()
                .0
                .into_iter()
                .map(|(_, part)| part)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            with("\"lines\"", "{\"a\":1}\r\n{\"a\": 2}\n"),
            ["{\"a\":1}", "{\"a\": 2}"]
        );
        assert_eq!(
            with("\"/x\"", "{\"x\": [ {\"a\": 1.50 },2]}"),
            ["{\"a\": 1.50 }", "2"]
        );
    }

    #[test]
    fn what_is_no_journal_is_refused_with_its_line() {
        for (text, problem) in [
            ("hello\n", "line 1: not a line"),
            ("{\"n\":1,\"status\":200}\n", "an answer to no request"),
            (&format!("{SENT}\n{SENT}\n"), "line 2: two requests"),
            (&SENT.replace("stored", "lost"), "expect \"lost\""),
            (&SENT.replace("\"body\":\"{}\",", ""), "body or body_base64"),
        ] {
            let error = format!("{:#}", sent(text).unwrap_err());
            assert!(error.contains(problem), "{error}");
        }
    }
}
