//! Why a request was refused: the mistake that fits its signature, tried on what was captured with the secrets of the sources.

use super::list::{Head, Kept, kept};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::RejectionExplanation;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use contracts::webhook::diagnose::{Diagnosis, Evidence, Verdict, diagnose};
use contracts::webhook::refused::UNKNOWN_SOURCE;
use contracts::webhook::source::Sources;

/// Codes of a signature that failed: what can be tried.
const OF_SIGNATURES: [&str; 8] = [
    "missing_signature_header",
    "duplicate_signature_header",
    "malformed_signature_header",
    "signature_mismatch",
    "timestamp_too_old",
    "timestamp_in_future",
    "secret_expired",
    "too_many_failures",
];

/// Explains one.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn explain(context: &Context, id: i64) -> Result<RejectionExplanation, RecoveryError> {
    let kept = kept(context, id).await?;
    let mut explanation = RejectionExplanation {
        rejection: kept.rejection.id,
        source: kept.rejection.source.clone(),
        code: kept.rejection.code.clone(),
        detail: kept.rejection.detail.clone(),
        mistake: None,
        meaning: None,
        shown_by: None,
        certain: false,
        tried: Vec::new(),
        limits: Vec::new(),
        next: Vec::new(),
    };
    if !OF_SIGNATURES.contains(&kept.rejection.code.as_str()) {
        let next = match kept.rejection.source.as_str() {
            UNKNOWN_SOURCE => {
                "The URL's last part must be the name of a source in sources.toml; a stranger's guesses need nothing"
            }
            _ => "Nothing is wrong with a signature: the detail says what to do",
        };
        explanation.next.push(next.to_owned());
        return Ok(explanation);
    }
    let vendors = context.vendors.get();
    if vendors.sources.is_none() {
        explanation.limits.push(
            "this recovery has no sources: start it with the producer's --sources, and with the secrets that it names".to_owned(),
        );
        by_facts(&kept, &mut explanation);
        return Ok(explanation);
    };
    // Up to a second of signing: not on a thread that serves others.
    let diagnosed = tokio::task::spawn_blocking(move || {
        let known = vendors.sources.as_ref();
        let diagnosis = known.and_then(|sources| diagnosis(&kept, sources));
        (kept, diagnosis)
    });
    let (kept, diagnosis) = diagnosed
        .await
        .map_err(|error| RecoveryError::Unavailable(error.to_string()))?;
    match diagnosis {
        Some(diagnosis) => tell(&kept, diagnosis, &mut explanation),
        None if kept.head.is_none() => {
            explanation.limits.push(no_body(&kept));
            by_facts(&kept, &mut explanation);
        }
        None => {
            let source = &kept.rejection.source;
            explanation.limits.push(format!(
                "this recovery's sources have no {source:?}: give it the sources.toml of the producer"
            ));
            by_facts(&kept, &mut explanation);
        }
    }
    Ok(explanation)
}

/// `None` where the source is not known.
fn diagnosis(kept: &Kept, sources: &Sources) -> Option<Diagnosis> {
    let source = sources.get(&kept.rejection.source)?;
    let nothing = Head::default();
    let head = kept.head.as_ref().unwrap_or(&nothing);
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    kept.head.as_ref()?;
    let evidence = Evidence {
        method: head.method.as_deref().unwrap_or("POST"),
        query: head.query.as_deref(),
        headers: &headers,
        body: kept.body.as_deref(),
        received_at: kept.rejection.at.unix_timestamp(),
    };
    Some(diagnose(source, sources, &evidence))
}

fn tell(kept: &Kept, diagnosis: Diagnosis, explanation: &mut RejectionExplanation) {
    explanation.tried = diagnosis.tried.into_iter().map(str::to_owned).collect();
    if kept.body.is_none() {
        explanation.limits.push(no_body(kept));
    }
    if diagnosis.is_cut_short {
        explanation
            .limits
            .push("the body is large: not everything was tried".to_owned());
    }
    match (diagnosis.found, diagnosis.verdict) {
        (Some(found), _) => {
            explanation.mistake = Some(found.mistake.code().to_owned());
            explanation.meaning = Some(found.mistake.meaning().to_owned());
            explanation.shown_by = Some(found.detail);
            explanation.certain = found.is_certain;
            explanation.next.push(found.mistake.advice().to_owned());
        }
        (None, Verdict::Genuine { secret_id }) => {
            explanation.shown_by = Some(format!(
                "it is genuine by the secret {secret_id:?} that this recovery has now"
            ));
            explanation.next.push(
                "Give the edge the same sources and secrets as this recovery; then have it sent again".to_owned(),
            );
        }
        (None, Verdict::Refused(_) | Verdict::Unknown) => by_facts(kept, explanation),
    }
}

fn no_body(kept: &Kept) -> String {
    let source = &kept.rejection.source;
    match (&kept.head, kept.rejection.body_bytes) {
        (Some(_), Some(bytes)) => format!(
            "its body of {bytes} bytes was not captured: raise capture_rejected.bytes of the source {source:?}"
        ),
        (Some(_), None) => "its body was not read: what is wrong shows in its headers".to_owned(),
        (None, _) => format!(
            "nothing of it was captured, or no longer is: set capture_rejected = {{ bytes = 65536, hours = 24 }} for the source {source:?}, \
             and have it sent again. Offline: eventflow sources verify --source {source} --request FILE"
        ),
    }
}

/// What the facts alone say.
fn by_facts(kept: &Kept, explanation: &mut RejectionExplanation) {
    let absent: Vec<_> = kept
        .parts
        .iter()
        .filter(|part| part.times == 0)
        .map(|part| part.header.as_str())
        .collect();
    let doubled = kept.parts.iter().filter(|part| part.times > 1);
    let doubled: Vec<_> = doubled.map(|part| part.header.as_str()).collect();
    let mut shown = Vec::new();
    if !absent.is_empty() {
        shown.push(format!("missing: {}", absent.join(", ")));
    }
    if !doubled.is_empty() {
        shown.push(format!("more than once: {}", doubled.join(", ")));
    }
    if let Some(skew) = kept.rejection.skew_seconds.filter(|skew| skew.abs() > 60) {
        let side = if skew < 0 { "behind" } else { "ahead of" };
        shown.push(format!("its time is {} s {side} ours", skew.unsigned_abs()));
    }
    if !shown.is_empty() {
        explanation.shown_by = Some(shown.join("; "));
    }
    if explanation.next.is_empty() {
        explanation.next.push(
            "Compare what the sender signs with the source's scheme (eventflow sources show), and its secret with the source's".to_owned(),
        );
    }
}
