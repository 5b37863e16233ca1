//! Refused requests in pages, in groups, and one of them whole.

use super::no_such_rejection;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{
    RefusedRequestRow, RejectionDetail, RejectionFilter, RejectionGroup, RejectionPage, Time,
};
use crate::query::{plain, select::with_timeout};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::webhook::refused::SignaturePart;
use serde::Deserialize;
use sqlx::{FromRow, Postgres, QueryBuilder};

/// Refused requests a page, unless the filter has a limit; and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
/// How similar a suggestion must be: 1 is the same.
const SIMILAR: f32 = 0.8;

macro_rules! columns {
    () => {
        "id, at, source, code, status, detail, scheme, peer, user_agent, skew_seconds, body_bytes, body_sha256, trace_id, left_out, \
         captured IS NOT NULL AS captured"
    };
}

/// Those of a filter, the newest first; `before` continues after a page.
///
/// # Errors
/// [`RecoveryError`]
pub async fn list(
    context: &Context,
    filter: &RejectionFilter,
    before: Option<i64>,
) -> Result<RejectionPage, RecoveryError> {
    check(context, filter).await?;
    let mut query = QueryBuilder::new(concat!("SELECT ", columns!(), " FROM rejections WHERE "));
    push_conditions(&mut query, filter);
    if let Some(before) = before {
        query.push(" AND id < ").push_bind(before);
    }
    let limit = filter.limit.unwrap_or(PAGE).min(MAX_PAGE);
    query
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(i64::from(limit));
    let mut connection = context.pool.acquire().await?;
    let rejections = with_timeout(&mut connection, query).await?;
    Ok(RejectionPage { rejections })
}

/// By source and code, the most refused first.
///
/// # Errors
/// [`RecoveryError`]
pub async fn groups(
    context: &Context,
    filter: &RejectionFilter,
) -> Result<Vec<RejectionGroup>, RecoveryError> {
    check(context, filter).await?;
    let mut query = QueryBuilder::new(
        "SELECT source, code, count(*) AS kept, (count(*) + sum(left_out))::bigint AS refused, count(DISTINCT peer) AS peers, \
         min(at) AS first_seen, max(at) AS last_seen, coalesce(max(id) FILTER (WHERE captured IS NOT NULL), max(id)) AS sample \
         FROM rejections WHERE ",
    );
    push_conditions(&mut query, filter);
    let limit = i64::from(filter.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE));
    query
        .push(" GROUP BY source, code ORDER BY refused DESC, source, code LIMIT ")
        .push_bind(limit);
    let mut connection = context.pool.acquire().await?;
    with_timeout(&mut connection, query).await
}

/// What a row has beyond what is listed.
#[derive(FromRow)]
struct DetailRow {
    #[sqlx(flatten)]
    rejection: RefusedRequestRow,
    parts: String,
    head: Option<String>,
    body: Option<Vec<u8>>,
    captured_until: Option<Time>,
}

/// Method, query and headers, as they were captured.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Head {
    pub(super) method: Option<String>,
    pub(super) query: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

/// One refused request, as it is kept.
pub(super) struct Kept {
    pub(super) rejection: RefusedRequestRow,
    pub(super) parts: Vec<SignaturePart>,
    pub(super) head: Option<Head>,
    pub(super) body: Option<Vec<u8>>,
    captured_until: Option<Time>,
}

/// # Errors
/// [`RecoveryError::NotFound`]
pub(super) async fn kept(context: &Context, id: i64) -> Result<Kept, RecoveryError> {
    let row: Option<DetailRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        ", parts::text AS parts, captured::text AS head, body, captured_until FROM rejections WHERE id = $1"
    ))
    .bind(id)
    .fetch_optional(&context.pool)
    .await?;
    let row = row.ok_or_else(|| no_such_rejection(id))?;
    // Past its time it is gone, whether retention has been there or not.
    let is_kept = row
        .captured_until
        .is_some_and(|until| until > Time::from(runtime::clock::now()));
    let head = row.head.filter(|_| is_kept);
    let mut rejection = row.rejection;
    rejection.captured = head.is_some();
    Ok(Kept {
        rejection,
        parts: serde_json::from_str(&row.parts).unwrap_or_default(),
        head: head.map(|head| serde_json::from_str(&head).unwrap_or_default()),
        body: row.body.filter(|_| is_kept),
        captured_until: row.captured_until.filter(|_| is_kept),
    })
}

/// Everything about one.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn show(context: &Context, id: i64) -> Result<RejectionDetail, RecoveryError> {
    let kept = kept(context, id).await?;
    let head = kept.head.unwrap_or_default();
    let text = kept
        .body
        .as_ref()
        .and_then(|body| std::str::from_utf8(body).ok())
        .filter(|text| !text.contains('\0'));
    let base64 = match text {
        Some(_) => None,
        None => kept.body.as_ref().map(|body| STANDARD.encode(body)),
    };
    Ok(RejectionDetail {
        body: text.map(str::to_owned),
        body_base64: base64,
        rejection: kept.rejection,
        parts: kept.parts,
        captured_until: kept.captured_until,
        method: head.method,
        query: head.query,
        headers: head.headers,
    })
}

fn push_conditions(query: &mut QueryBuilder<Postgres>, filter: &RejectionFilter) {
    query.push("true");
    for (column, values) in [(" AND source", &filter.source), (" AND code", &filter.code)] {
        if !values.is_empty() {
            query
                .push(column)
                .push(" = ANY(")
                .push_bind(values.clone())
                .push(")");
        }
    }
    if let Some(peer) = &filter.peer {
        query.push(" AND peer = ").push_bind(peer.clone());
    }
    for (condition, time) in [(" AND at >= ", filter.since), (" AND at < ", filter.until)] {
        if let Some(time) = time {
            query.push(condition).push_bind(time);
        }
    }
}

/// A filter that nothing can match is a typing error: it must not read as "nothing was refused".
async fn check(context: &Context, filter: &RejectionFilter) -> Result<(), RecoveryError> {
    let vendors = context.vendors.get();
    let sources = vendors.sources.as_ref();
    for (what, asked, kept) in [
        (
            "source",
            &filter.source,
            "SELECT DISTINCT source FROM rejections",
        ),
        ("code", &filter.code, "SELECT DISTINCT code FROM rejections"),
    ] {
        if asked.is_empty() {
            continue;
        }
        let kept: Vec<String> = sqlx::query_scalar(kept).fetch_all(&context.pool).await?;
        let configured = sources
            .into_iter()
            .flat_map(contracts::webhook::source::Sources::iter);
        let known: Vec<&str> = match what {
            "source" => configured.map(|source| source.name.as_str()).collect(),
            _ => Vec::new(),
        };
        let known: Vec<&str> = kept.iter().map(String::as_str).chain(known).collect();
        let Some(wrong) = asked.iter().find(|asked| !known.contains(&asked.as_str())) else {
            continue;
        };
        let meant = similar::get_close_matches(wrong.as_str(), &known, 1, SIMILAR)
            .first()
            .map_or_else(String::new, |known| format!("; did you mean {known}"));
        return Err(RecoveryError::Invalid(format!(
            "no refused request that is kept has the {what} {:?}{meant}; `eventflow rejections groups` lists what there is",
            plain(wrong, 60)
        )));
    }
    Ok(())
}
