//! The vendor's side: what is posted to the edge and what it answers. An error is a sentence: what was wrong and what to do.

use super::event::Event;
use super::report::CheckResult;
use crate::oncall::{CommandError, line, reason, trusting};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, SignatureError, Verifier};
use reqwest::{StatusCode, Url};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const WEBHOOKS: &str = "/api/webhooks/";
const SOURCE: &str = "payment-authorized";
/// One request may take no longer.
const REQUEST: Duration = Duration::from_secs(10);
/// Tries when the edge is busy (429, 503), as vendors do.
const MAX_TRIES: usize = 3;
/// Longest retry-after that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Between two queries of an edge that is not ready yet.
const POLL: Duration = Duration::from_millis(250);
/// Twice what the scheme tolerates.
const STALE_SECONDS: i64 = 600;

/// An edge and who posts to it.
pub(super) struct Edge {
    http: reqwest::Client,
    pub(super) base: String,
    pub(super) source: String,
    verifier: Verifier,
    end: Instant,
}

/// Events the edge took.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) events: Vec<Event>,
    pub(super) took: Duration,
}

impl Posted {
    pub(super) fn ids(&self) -> Vec<String> {
        self.events.iter().map(|event| event.id.clone()).collect()
    }
}

pub(super) struct Ready {
    pub(super) verdict: CheckResult,
    pub(super) detail: String,
    /// There was an answer: it makes sense to go on
    pub(super) answers: bool,
}

struct Answer {
    status: StatusCode,
    body: Value,
    took: Duration,
    retry_after: Option<Duration>,
}

impl Edge {
    pub(super) fn new(
        url: &str,
        source: Option<&str>,
        secret: &Secret,
        ca: Option<&Path>,
        end: Instant,
    ) -> Result<Self, CommandError> {
        let bad = |problem: &str| CommandError::usage(format!("--url: {problem}"));
        let parsed = Url::parse(url)
            .map_err(|_| bad("not a URL; expected https://host or a whole webhook URL"))?;
        if !matches!(parsed.scheme(), "http" | "https")
            || !parsed.username().is_empty()
            || parsed.password().is_some()
        {
            return Err(bad(
                "expected https://host or http://host:port, without user and password",
            ));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(bad("remove the query and the fragment"));
        }
        let (base, named) = match parsed.as_str().trim_end_matches('/').split_once(WEBHOOKS) {
            Some((base, named)) => (base.to_owned(), Some(named.to_owned())),
            None => (parsed.as_str().trim_end_matches('/').to_owned(), None),
        };
        let source = match (source, named) {
            (Some(asked), Some(named)) if asked != named => {
                return Err(CommandError::usage(format!(
                    "--source: {asked} differs from the source in --url, {named}: give one of them"
                )));
            }
            (Some(asked), _) => asked.to_owned(),
            (None, Some(named)) => named,
            (None, None) => SOURCE.to_owned(),
        };
        if source.is_empty()
            || !source
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err(CommandError::usage(
                "--url, --source: not a source name; use letters, digits, dots, underscores and hyphens",
            ));
        }
        let mut http = runtime::http_client::builder()
            .timeout(REQUEST)
            // A redirected POST becomes a GET, and its 200 would pass for an acceptance.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca {
            http = trusting(http, path)?;
        }
        let http = http.build().map_err(|error| {
            CommandError::failed(format!("cannot create an HTTP client: {error}"))
        })?;
        let scheme = Scheme::preset("eventflow")
            .ok_or_else(|| CommandError::failed("the built-in signature scheme is missing"))?;
        let key = Key {
            id: "smoke".to_owned(),
            secret: secret.clone(),
            not_after: None,
        };
        let verifier = Verifier::new(scheme, vec![key], None).map_err(|error| {
            CommandError::usage(format!("EVENTFLOW_WEBHOOK_SIGNING_SECRET: {error}"))
        })?;
        Ok(Self {
            http,
            base,
            source,
            verifier,
            end,
        })
    }

    /// Waits a little while until the edge is ready: it may just be starting.
    pub(super) async fn ready(&self, timeout: Duration) -> Ready {
        let until = self.end.min(Instant::now() + timeout);
        loop {
            let seen = match self
                .send(self.http.get(format!("{}/ready", self.base)))
                .await
            {
                Ok(answer) if answer.status == StatusCode::OK && answer.body["ready"] == true => {
                    return Ready {
                        verdict: CheckResult::Passed,
                        detail: "the edge reports that it is ready".to_owned(),
                        answers: true,
                    };
                }
                // A proxy in front of the edge may let nothing but webhooks through.
                Ok(Answer { status, .. }) if status.is_success() || status.is_client_error() => {
                    let detail = format!(
                        "the proxy in front of the edge does not expose /ready ({})",
                        status.as_u16()
                    );
                    return Ready {
                        verdict: CheckResult::Skipped,
                        detail,
                        answers: true,
                    };
                }
                Ok(answer) => {
                    let detail = format!(
                        "not ready within {} s: {}",
                        timeout.as_secs(),
                        not_ready(&answer)
                    );
                    Ready {
                        verdict: CheckResult::Failed,
                        detail,
                        answers: true,
                    }
                }
                Err(wrong) => Ready {
                    verdict: CheckResult::Failed,
                    detail: wrong,
                    answers: false,
                },
            };
            if Instant::now() + POLL >= until {
                return seen;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// One event, accepted under its own id.
    pub(super) async fn accept(&self, event: &Event) -> Result<Posted, String> {
        let answer = self.post("", &event.body, &event.body, 0).await?;
        expect(&answer, StatusCode::OK, None)?;
        if answer.body["event_id"] != event.id.as_str() {
            return Err(format!(
                "answered 200, but not with the event id {}; check that --url is an EventFlow edge",
                event.id
            ));
        }
        Ok(Posted {
            events: vec![event.clone()],
            took: answer.took,
        })
    }

    /// Many under one signature; none of them where the source sends no batches.
    pub(super) async fn accept_batch(&self, events: Vec<Event>) -> Result<Posted, String> {
        let bodies: Vec<&str> = events.iter().map(|event| event.body.as_str()).collect();
        let array = format!("[{}]", bodies.join(","));
        let answer = self.post("/batch", &array, &array, 0).await?;
        if code(&answer) == Some("batches_off") {
            return Ok(Posted {
                events: Vec::new(),
                took: answer.took,
            });
        }
        expect(&answer, StatusCode::OK, None)?;
        match answer.body["accepted"].as_u64() {
            Some(accepted) if accepted == events.len() as u64 => Ok(Posted {
                events,
                took: answer.took,
            }),
            _ => Err(format!(
                "answered 200, but did not accept {} events; check that --url is an EventFlow edge",
                events.len()
            )),
        }
    }

    /// A body that is not the signed one.
    pub(super) async fn tampered(&self, event: &Event) -> Result<String, String> {
        let answer = self.post("", &event.body, &event.tampered(), 0).await?;
        let accepted = "ACCEPTED a body changed after signing, so webhooks can be forged: check this source's signature scheme";
        refused(&answer, SignatureError::Mismatch, accepted)
    }

    /// A signature made too long ago.
    pub(super) async fn stale(&self, event: &Event) -> Result<String, String> {
        let answer = self
            .post("", &event.body, &event.body, STALE_SECONDS)
            .await?;
        let accepted = "ACCEPTED a signature of ten minutes ago, so recorded webhooks can be posted again: check this source's tolerance";
        refused(&answer, SignatureError::TooOld, accepted)
    }

    /// Posts `body` under the signature of `signed`, made `seconds_ago`. A busy edge is asked again.
    async fn post(
        &self,
        to: &str,
        signed: &str,
        body: &str,
        seconds_ago: i64,
    ) -> Result<Answer, String> {
        let mut tries = 1;
        loop {
            let now = runtime::clock::now_micros() / 1_000_000 - seconds_ago;
            let mut request = self
                .http
                .post(format!("{}{WEBHOOKS}{}{to}", self.base, self.source));
            for (name, value) in self.verifier.sign(None, now, signed.as_bytes(), 0) {
                request = request.header(name, value);
            }
            let answer = self
                .send(
                    request
                        .header("content-type", "application/json")
                        .body(body.to_owned()),
                )
                .await?;
            let busy = matches!(
                answer.status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            );
            let pause = answer.retry_after.unwrap_or(POLL).min(MAX_RETRY_AFTER);
            if !busy || tries == MAX_TRIES || Instant::now() + pause >= self.end {
                return Ok(answer);
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        let began = Instant::now();
        let exchange = async {
            let response = request.send().await?;
            let status = response.status();
            let retry_after = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let body = response.bytes().await?;
            Ok::<_, reqwest::Error>((status, retry_after, body))
        };
        match tokio::time::timeout_at(self.end, exchange).await {
            Ok(Ok((status, retry_after, body))) => Ok(Answer {
                status,
                took: began.elapsed(),
                retry_after: retry_after.map(Duration::from_secs),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            }),
            Ok(Err(error)) => Err(self.unreachable(&reason(&error))),
            Err(_) => Err(self.unreachable("no answer before the deadline")),
        }
    }

    fn unreachable(&self, reason: &str) -> String {
        let next = if reason.contains("certificate") {
            "give --ca-file if its authority is private; the certificate must name this host"
        } else {
            "check --url, that the edge is running (eventflow producer), and that this machine can reach it"
        };
        line(&format!("cannot reach {}: {reason}; {next}", self.base))
    }
}

/// The failing checks that `/ready` names.
fn not_ready(answer: &Answer) -> String {
    let reasons = answer.body["reasons"].as_array().into_iter().flatten();
    let failing: Vec<String> = reasons
        .filter_map(|reason| {
            Some(format!(
                "{}: {}",
                reason["check"].as_str()?,
                reason["reason"].as_str()?
            ))
        })
        .collect();
    if failing.is_empty() {
        answered(answer)
    } else {
        line(&failing.join("; "))
    }
}

fn code(answer: &Answer) -> Option<&str> {
    answer.body["code"].as_str()
}

/// What was answered, in one line.
fn answered(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    match (code(answer), answer.body["detail"].as_str()) {
        (Some(code), Some(detail)) => line(&format!("answered {status} {code} ({detail})")),
        (Some(code), None) => line(&format!("answered {status} {code}")),
        (None, _) if answer.status.is_redirection() => {
            format!("answered {status}, a redirect: give the URL it points to")
        }
        (None, _) => format!("answered {status}, unlike an EventFlow edge"),
    }
}

fn expect(answer: &Answer, status: StatusCode, wanted: Option<&str>) -> Result<(), String> {
    if answer.status == status && code(answer) == wanted {
        return Ok(());
    }
    let what = match code(answer).unwrap_or_default() {
        "signature_mismatch" => {
            "the edge's secret differs from EVENTFLOW_WEBHOOK_SIGNING_SECRET here"
        }
        "secret_expired" => "EVENTFLOW_WEBHOOK_SIGNING_SECRET is an expired secret of this source",
        "timestamp_too_old" | "timestamp_in_future" => {
            "set the clocks: this machine's and the edge's are minutes apart"
        }
        "unknown_source" => "give a source of the edge's sources.toml with --source",
        "missing_signature_header" | "malformed_signature_header" => {
            "this source's signature scheme must be eventflow"
        }
        "over_quota" | "too_many_failures" | "peer_over_share" | "body_budget_full"
        | "overloaded" | "draining" => "the edge is busy: retry later",
        "too_many_events" => "give a smaller --batch",
        word if word.starts_with("publish_") => {
            "the edge cannot publish: check its /ready, then Kafka"
        }
        _ => "check --url, and any proxy in front of the edge",
    };
    Err(format!("{}: {what}", answered(answer)))
}

fn refused(answer: &Answer, why: SignatureError, accepted: &str) -> Result<String, String> {
    if answer.status.is_success() {
        return Err(accepted.to_owned());
    }
    expect(answer, StatusCode::UNAUTHORIZED, Some(why.code()))?;
    Ok(format!("refused: 401 {}", why.code()))
}
