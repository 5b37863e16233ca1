//! Every stable code: what the edge and recovery's API answer, why a record is dead-lettered, why a stage waits or stops.

use super::source::{self, codes_in, first_literals};
use super::{code, page, table};
use axum::response::IntoResponse;
use contracts::webhook::diagnose::Mistake;
use contracts::webhook::signature::SignatureError;
use contracts::{Rejection, RejectionCode};
use producer::error::ApiError as EdgeError;
use recovery::error::RecoveryError;
use recovery::http::TokenRole;
use recovery::http::problem::ApiProblem;
use recovery::replay::codes::ITEM_CODES;
use runtime::publisher::PublishError;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn codes_page_has_every_code_there_is() {
    let mut text = String::from(
        "A code is stable: it is the `code` of a problem document, the label of a metric, the header `ef.dlq.code` of a dead letter and \
         the word in logs.\n",
    );
    text += &edge();
    text += &mistakes();
    text += &rejections();
    text += &waits_and_stops();
    text += &api();
    text += &items();
    page("codes.md", "Codes", &text);
}

/// One of every answer of the edge that is not 200.
fn edge_errors() -> Vec<EdgeError> {
    use SignatureError::{
        DuplicateHeader, InFuture, MalformedHeader, Mismatch, MissingHeader, SecretExpired, TooOld,
    };
    let text = String::new;
    let signatures = [
        MissingHeader,
        DuplicateHeader,
        MalformedHeader,
        Mismatch,
        TooOld,
        InFuture,
        SecretExpired,
    ];
    let publishing = [
        PublishError::NotAcknowledged(text()),
        PublishError::QueueFull,
        PublishError::Refused(text()),
        PublishError::TooLarge,
    ];
    let waited = std::time::Duration::from_millis(4500);
    let others = [
        EdgeError::BatchesOff,
        EdgeError::EmptyBody,
        EdgeError::BrokenBody,
        EdgeError::AmbiguousLength,
        EdgeError::MalformedBatch("expected value at line 1 column 1".to_owned()),
        EdgeError::MalformedGzip,
        EdgeError::NoHandshake,
        EdgeError::SignedAsBatch,
        EdgeError::TooManyEvents(1000),
        EdgeError::MalformedPayload,
        EdgeError::BadApiKey,
        EdgeError::IngestClosed,
        EdgeError::UnknownSource,
        EdgeError::NotFound,
        EdgeError::MethodNotAllowed,
        EdgeError::BodyTimeout,
        EdgeError::BodyTooSlow,
        EdgeError::BodyTooLarge(256 << 10),
        EdgeError::EventTooLarge(256 << 10),
        EdgeError::UnsupportedEncoding,
        EdgeError::OverQuota {
            retry_after_seconds: 1,
        },
        EdgeError::OverUnprovenQuota {
            retry_after_seconds: 1,
        },
        EdgeError::RepeatedTooOften {
            retry_after_seconds: 1,
        },
        EdgeError::TooManyFailures {
            retry_after_seconds: 1,
        },
        EdgeError::PeerOverShare,
        EdgeError::BodyBudgetFull,
        EdgeError::Overloaded,
        EdgeError::Draining,
    ];
    signatures
        .map(EdgeError::Signature)
        .into_iter()
        .chain(others)
        .chain(publishing.map(|error| EdgeError::Publish { error, waited }))
        .collect()
}

fn edge() -> String {
    let errors = edge_errors();
    let listed: BTreeSet<_> = errors.iter().map(|error| error.code().to_owned()).collect();
    let declared = [
        "producer/src/error.rs",
        "contracts/src/webhook/signature.rs",
        "runtime/src/publisher/error.rs",
    ];
    let declared: BTreeSet<_> = declared.map(codes_in).into_iter().flatten().collect();
    assert_eq!(listed, declared, "the list above has every variant");
    let mut rows: Vec<_> = errors
        .into_iter()
        .map(|error| {
            let (name, detail) = (error.code(), public_detail(&error));
            let response = error.into_response();
            let again = response.headers().contains_key("retry-after");
            let status = response.status().as_u16();
            (status, again, name, detail)
        })
        .collect();
    rows.sort_by_key(|(status, ..)| *status);
    let rows = rows.into_iter().map(|(status, again, name, detail)| {
        let again = if again { "yes" } else { "" };
        vec![status.to_string(), code(name), again.to_owned(), detail]
    });
    format!(
        "\n## What the edge answers\n\n\
         200 `{{\"status\":\"accepted\",\"event_id\":…,\"source\":…}}` after the broker acknowledged; otherwise `application/problem+json` with one of these:\n\n{}",
        table(&["status", "code", "Retry-After", "detail"], rows)
    )
}

/// The detail as a vendor reads it, which says less than the error itself.
fn public_detail(error: &EdgeError) -> String {
    let problem = error.problem();
    problem["detail"].as_str().unwrap().to_owned()
}

fn mistakes() -> String {
    let rows = Mistake::ALL.iter().map(|mistake| {
        vec![
            code(mistake.code()),
            mistake.meaning().to_owned(),
            mistake.advice().to_owned(),
        ]
    });
    format!(
        "\n## Why a signature failed\n\n`eventflow rejections explain` names the one that fits a refused request.\n\n{}",
        table(&["code", "meaning", "what to do"], rows)
    )
}

fn rejections() -> String {
    let rows = RejectionCode::ALL.iter().map(|rejection| {
        vec![
            code(rejection.code()),
            rejection.disposition().to_owned(),
            rejection.meaning().to_owned(),
        ]
    });
    format!(
        "\n## Why a record is dead-lettered\n\n`eventflow explain` says for one of them what to do next.\n\n{}",
        table(&["code", "disposition", "meaning"], rows)
    )
}

/// One of every refusal of recovery's API.
fn api_errors() -> Vec<ApiProblem> {
    let text = str::to_owned;
    let rejection = Rejection::new(RejectionCode::MissingField, None, "is required");
    let refused = [
        RecoveryError::Invalid(text("The request is invalid; nothing was changed")),
        RecoveryError::NotFound(text("No such dead letter, replay or event")),
        RecoveryError::WrongState(text("Its state does not allow this")),
        RecoveryError::NeedsConfirmation(text(
            "Too large, or without a filter: send it again, confirmed",
        )),
        RecoveryError::NeedsApproval(text("A second person must approve it")),
        RecoveryError::StillBroken(rejection),
        RecoveryError::Unavailable(text(
            "The database, the broker or the registry does not answer",
        )),
    ];
    let others = [
        ApiProblem::NoTokensConfigured,
        ApiProblem::BadToken,
        ApiProblem::RoleTooLow {
            who: text("NAME"),
            has: TokenRole::Viewer,
            needs: TokenRole::Operator,
        },
        ApiProblem::UnknownWord {
            word: text("sorce"),
            known: text("source"),
        },
        ApiProblem::BadValue {
            word: text("limit"),
            problem: text("must be a number"),
        },
        ApiProblem::BadBody(text("expected value at line 1 column 1")),
        ApiProblem::KeyRequired,
        ApiProblem::NoSuchRoute,
        ApiProblem::MethodNotAllowed,
        ApiProblem::BodyTooLarge(recovery::http::BODY_BYTES),
        ApiProblem::Overloaded,
        ApiProblem::TooSlow(60),
    ];
    refused
        .map(ApiProblem::Refused)
        .into_iter()
        .chain(others)
        .collect()
}

fn api() -> String {
    let errors = api_errors();
    let listed: BTreeSet<_> = errors.iter().map(|error| error.code().to_owned()).collect();
    let declared = ["recovery/src/http/problem.rs", "recovery/src/error.rs"];
    let declared: BTreeSet<_> = declared.map(codes_in).into_iter().flatten().collect();
    assert_eq!(listed, declared, "the list above has every variant");
    let mut rows: Vec<_> = errors
        .iter()
        .map(|error| (error.status().as_u16(), error.code(), error.to_string()))
        .collect();
    rows.sort_by_key(|(status, ..)| *status);
    let rows = rows
        .into_iter()
        .map(|(status, name, detail)| vec![status.to_string(), code(name), detail]);
    format!(
        "\n## What recovery's API answers\n\nProblem documents; the detail is an example. A value that is `still_broken` also has the \
         rejection's code, pointer and detail.\n\n{}",
        table(&["status", "code", "detail"], rows)
    )
}

fn items() -> String {
    let known: BTreeSet<_> = ITEM_CODES.iter().map(|(name, _)| *name).collect();
    // Every code an item is skipped or failed with is a literal of replays, or the publisher's.
    for (name, _) in ITEM_CODES {
        let literal = format!("\"{name}\"");
        let used = source::files().iter().any(|(path, text)| {
            (path.starts_with("recovery/src/replay/") && !path.ends_with("/codes.rs")
                || path == "runtime/src/publisher/error.rs")
                && text.contains(&literal)
        });
        assert!(used, "{name}");
    }
    let claim = source::text_of("recovery/src/replay/runner/claim.rs");
    let product = claim.split("#[cfg(test)]").next().unwrap();
    for skipped in first_literals(product, "Decision::Skip(") {
        assert!(known.contains(skipped), "{skipped}");
    }
    let rows = ITEM_CODES
        .iter()
        .map(|(name, meaning)| vec![code(name), (*meaning).to_owned()]);
    format!(
        "\n## Items of a replay\n\nAn item that failed again in its stage, and an event of a revalidation that a contract refuses, has the code of the rejection.\n\n{}",
        table(&["code", "meaning"], rows)
    )
}

/// Codes of waits and stops with their meaning.
const WAITS_AND_STOPS: [(&str, &str); 26] = [
    (
        "bad_configuration",
        "A setting is wrong; the last line names it",
    ),
    (
        "database_encoding",
        "The database is not in UTF-8, so some texts could not be stored; use one that is",
    ),
    (
        "database_error",
        "PostgreSQL refused a statement, or its answer was not as expected, and a retry cannot fix it; the reason says what",
    ),
    (
        "database_pooler",
        "A pooler such as pgbouncer is in between and drops a connection's settings; connect to PostgreSQL itself",
    ),
    (
        "database_read_only",
        "The server only reads: a standby, or a primary that was replaced; the role continues when it reaches the primary",
    ),
    (
        "database_schema",
        "A table, a column or a privilege is missing; check that no newer version has migrated the database, and the user's privileges",
    ),
    (
        "database_timeout",
        "PostgreSQL does not answer, or needs too long for a statement or a lock; the next attempt is for half as many records",
    ),
    (
        "database_unavailable",
        "PostgreSQL is down, refuses the login, or could not finish the transaction; the reason says which",
    ),
    (
        "group_vanished",
        "A group of dead letters was deleted while recovery wrote the index",
    ),
    (
        "handler_contract",
        "A bug: the stage's handler broke a rule of the trait `Handler`",
    ),
    ("kafka_unavailable", "No broker answered"),
    (
        "membership_lost",
        "The group has replaced this instance, as after a pause of its process; its batch is released, and it rejoins",
    ),
    (
        "migration_failed",
        "The migrations in the database do not match this version; check that no newer version has migrated it",
    ),
    (
        "offset_behind",
        "The offset in the database was set back; the restarted process reads from there",
    ),
    (
        "offset_contended",
        "Another instance is moving the same offset in the database",
    ),
    (
        "other_kafka_cluster",
        "The database holds the offsets of another Kafka cluster; the reason says what to do",
    ),
    (
        "other_raw_topic",
        "Persistence's rows and recovery's index began with different raw topics of the same name; the reason says what to do",
    ),
    (
        "postgresql_failed",
        "A program of the demo's private PostgreSQL failed",
    ),
    (
        "postgresql_io",
        "A file of the demo's private PostgreSQL cannot be read or written",
    ),
    (
        "postgresql_not_installed",
        "PostgreSQL's server programs are not on this machine",
    ),
    (
        "registry_unavailable",
        "The schema registry does not answer, or answers with an error",
    ),
    (
        "row_taken",
        "Another instance stored an event of the batch meanwhile",
    ),
    ("row_vanished", "A row was deleted while a batch was stored"),
    (
        "schema_not_found",
        "The registry has no schema with the id that a record names: it is another registry, was restored, or lags behind",
    ),
    (
        "transaction_failed",
        "A Kafka transaction of exactly-once delivery failed; the same batch is sent again once it is known not to be committed",
    ),
    (
        "unusable_schema",
        "The registry's schema with the id that a record names is not one of EventFlow's: it is another registry",
    ),
];

fn waits_and_stops() -> String {
    let files = source::files();
    let declaring: BTreeSet<_> = files
        .iter()
        .filter(|(_, text)| text.contains("pub fn code("))
        .map(|(path, _)| path.as_str())
        .collect();
    let read = [
        "contracts/src/rejection.rs",
        "contracts/src/webhook/diagnose/mistake.rs",
        "contracts/src/webhook/signature.rs",
        "producer/src/error.rs",
        "recovery/src/error.rs",
        "recovery/src/http/problem.rs",
        "runtime/src/config_error.rs",
        "runtime/src/consumer/handler.rs",
        "runtime/src/publisher/error.rs",
        "runtime/src/registry.rs",
        "sandbox/src/postgres.rs",
    ];
    assert_eq!(
        declaring,
        BTreeSet::from(read),
        "every file that declares codes is read by these tests"
    );
    // What the process does, and the code.
    let mut known: BTreeSet<(&str, String)> = BTreeSet::new();
    for (_, text) in &files {
        for (happens, call) in [
            ("waits and retries", "StageError::wait("),
            ("ends, exit code 1", "StageError::stop("),
        ] {
            for name in first_literals(text, call) {
                known.insert((happens, name.to_owned()));
            }
        }
    }
    for (happens, file) in [
        ("waits and retries", "runtime/src/registry.rs"),
        ("ends, exit code 2", "runtime/src/config_error.rs"),
        ("the demo ends, exit code 2", "sandbox/src/postgres.rs"),
    ] {
        for name in codes_in(file) {
            known.insert((happens, name));
        }
    }
    let meanings = BTreeMap::from(WAITS_AND_STOPS);
    let found: BTreeSet<_> = known.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(
        found,
        meanings.keys().copied().collect::<BTreeSet<_>>(),
        "every code of the sources has a meaning in WAITS_AND_STOPS"
    );
    let rows = known.iter().map(|(happens, name)| {
        let meaning = meanings[name.as_str()];
        vec![code(name), (*happens).to_owned(), meaning.to_owned()]
    });
    format!(
        "\n## Why a stage waits or a process ends\n\nIn `/ready`, in logs and in `eventflow_consumer_waits_total`. A stage also waits with \
         the codes `publish_…` of the edge's table, when what it publishes is not acknowledged.\n\n{}",
        table(&["code", "the process", "meaning"], rows)
    )
}
