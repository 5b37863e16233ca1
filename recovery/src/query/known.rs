//! A filter that nothing can match is a typing error: it must not read as "nothing is wrong". Checked are the filters whose values are a
//! closed set, codes and stages. What a former version or another system left in the index is known too.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::index::row::clean;
use crate::model::Selection;
use contracts::RejectionCode;

/// How similar a suggestion must be: 1 is the same.
const SIMILAR: f32 = 0.8;

const CODES: &str = "SELECT DISTINCT code FROM groups";
const STAGES: &str = "SELECT DISTINCT stage FROM groups";

/// Refuses a code or stage of a selection that no dead letter has or could have.
///
/// # Errors
/// [`RecoveryError::Invalid`], with what was probably meant.
pub(crate) async fn check(context: &Context, selection: &Selection) -> Result<(), RecoveryError> {
    let codes = RejectionCode::ALL.iter().map(|code| code.code());
    let stages = context.pipeline.stages.iter().map(|stage| &*stage.name);
    check_one(context, "code", &selection.code, codes.collect(), CODES).await?;
    check_one(context, "stage", &selection.stage, stages.collect(), STAGES).await
}

async fn check_one(
    context: &Context,
    what: &str,
    asked: &[String],
    known: Vec<&str>,
    in_index: &'static str,
) -> Result<(), RecoveryError> {
    let is_known = |value: &&String| known.contains(&value.as_str());
    if asked.iter().all(|value| is_known(&value)) {
        return Ok(());
    }
    let in_index: Vec<String> = sqlx::query_scalar(in_index)
        .fetch_all(&context.pool)
        .await?;
    let is_there = |value: &String| in_index.contains(&clean(value.into()).into_owned());
    let wrong = asked
        .iter()
        .find(|value| !is_known(value) && !is_there(value));
    let Some(wrong) = wrong else { return Ok(()) };
    let all: Vec<&str> = known
        .into_iter()
        .chain(in_index.iter().map(String::as_str))
        .collect();
    let meant = similar::get_close_matches(wrong.as_str(), &all, 1, SIMILAR)
        .first()
        .map_or_else(String::new, |known| format!("; did you mean {known}"));
    Err(RecoveryError::Invalid(format!(
        "there is no {what} {:?}{meant}; `eventflow dlq groups` lists what there is",
        super::plain(wrong, 60)
    )))
}
