//! What a request says: the words of its query, its JSON body, its path. All of it may be hostile; what is not known is refused by name.

use super::problem::ApiProblem;
use super::tokens::Who;
use crate::model::{Selection, parse_time};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::str::FromStr;
use time::format_description::well_known::Rfc3339;

/// The words of a selection, as the command line's flags have them.
pub(crate) const SELECTION: [&str; 13] = [
    "id",
    "group",
    "state",
    "code",
    "stage",
    "source",
    "event_type",
    "event_id",
    "entity_key",
    "since",
    "until",
    "contains",
    "limit",
];
/// Those that take several values, separated by commas or given several times.
const LISTS: [&str; 7] = [
    "id",
    "group",
    "state",
    "code",
    "stage",
    "source",
    "event_type",
];

fn bad(word: &str, problem: impl Into<String>) -> ApiProblem {
    ApiProblem::BadValue {
        word: word.to_owned(),
        problem: problem.into(),
    }
}

/// PostgreSQL's text cannot hold NUL.
pub(crate) fn without_nul(word: &str, text: &str) -> Result<(), ApiProblem> {
    if text.contains('\0') {
        Err(bad(word, "contains a NUL character; remove it"))
    } else {
        Ok(())
    }
}

/// A query string, taken apart word by word; what is left over at the end was not known.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

/// The selection that the query of a URI says; words that are no selection's are refused.
///
/// # Errors
/// Names the word.
pub fn selection(uri: &Uri) -> Result<Selection, ApiProblem> {
    let mut query = Query::of(uri)?;
    let selection = query.selection()?;
    query.end()?;
    Ok(selection)
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        Self::of(&parts.uri)
    }
}

impl Query {
    fn of(uri: &Uri) -> Result<Self, ApiProblem> {
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|error| bad("query", error.body_text()))?;
        pairs.iter().try_for_each(|(word, value)| {
            without_nul("query", word).and_then(|()| without_nul(word, value))
        })?;
        Ok(Self {
            pairs,
            known: Vec::new(),
        })
    }

    /// A word that is there once or not at all. Empty is as good as not there.
    pub(crate) fn text(&mut self, word: &'static str) -> Result<Option<String>, ApiProblem> {
        self.known.push(word);
        let mut found = None;
        while let Some(place) = self.pairs.iter().position(|(name, _)| name == word) {
            let (_, value) = self.pairs.swap_remove(place);
            if found.replace(value).is_some() {
                return Err(bad(word, "is given twice; give it once"));
            }
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    pub(crate) fn number<T: FromStr>(
        &mut self,
        word: &'static str,
    ) -> Result<Option<T>, ApiProblem> {
        self.text(word)?
            .map(|text| {
                text.parse()
                    .map_err(|_| bad(word, "must be a number in its range"))
            })
            .transpose()
    }

    pub(crate) fn time(
        &mut self,
        word: &'static str,
    ) -> Result<Option<crate::model::Time>, ApiProblem> {
        self.text(word)?
            .map(|text| parse_time(&text).map_err(|problem| bad(word, problem)))
            .transpose()
    }

    pub(crate) fn list(&mut self, word: &'static str) -> Vec<String> {
        self.known.push(word);
        let (these, others) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|(name, _)| name == word);
        self.pairs = others;
        let these: Vec<(String, String)> = these;
        these
            .iter()
            .flat_map(|(_, value)| value.split(','))
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A word that may be given several times, each value as it is.
    pub(crate) fn texts(&mut self, word: &'static str) -> Vec<String> {
        self.known.push(word);
        let (these, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|(name, _)| name == word);
        self.pairs = others;
        let values = these.into_iter().map(|(_, value)| value);
        values.filter(|value| !value.is_empty()).collect()
    }

    pub(crate) fn selection(&mut self) -> Result<Selection, ApiProblem> {
        let mut fields = Map::new();
        for word in SELECTION {
            let field = match word {
                "limit" => self.number::<u32>(word)?.map(Value::from),
                "since" | "until" => {
                    let text = self
                        .time(word)?
                        .map(|time| {
                            time.format(&Rfc3339)
                                .map_err(|error| bad(word, error.to_string()))
                        })
                        .transpose()?;
                    text.map(Value::from)
                }
                "id" | "group" => {
                    let numbers: Result<Vec<i64>, _> =
                        self.list(word).iter().map(|text| text.parse()).collect();
                    Some(
                        numbers
                            .map_err(|_| bad(word, "must be numbers separated by commas"))?
                            .into(),
                    )
                }
                word if LISTS.contains(&word) => Some(self.list(word).into()),
                word => self.text(word)?.map(Value::from),
            };
            if let Some(value) = field {
                fields.insert(word.to_owned(), value);
            }
        }
        serde_json::from_value(Value::Object(fields))
            .map_err(|error| bad("state", error.to_string()))
    }

    /// Refuses what nobody asked for: a mistyped filter must not select everything.
    pub(crate) fn end(self) -> Result<(), ApiProblem> {
        let Some((word, _)) = self.pairs.into_iter().next() else {
            return Ok(());
        };
        let known = if self.known.is_empty() {
            "none".to_owned()
        } else {
            self.known.join(", ")
        };
        Err(ApiProblem::UnknownWord { word, known })
    }
}

/// A body as JSON, whatever its content type; fields that are not known are refused.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| too_large_or_broken(&rejection))?;
        // An empty body is an empty object: many changes need no words.
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| ApiProblem::BadBody(error.to_string()))
    }
}

pub(crate) fn too_large_or_broken(rejection: &BytesRejection) -> ApiProblem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiProblem::BodyTooLarge(super::BODY_BYTES);
    }
    ApiProblem::BadBody(rejection.body_text())
}

/// The part of the path in braces.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Named<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| bad("path", error.body_text()))?;
        without_nul("path", &text)?;
        text.parse()
            .map(Self)
            .map_err(|_| bad("path", "must be the number of a dead letter"))
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(ApiProblem::BadToken)
    }
}

/// The request's idempotency key.
#[derive(Debug)]
pub(crate) struct Key(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        let key = parts
            .headers
            .get("idempotency-key")
            .and_then(|key| key.to_str().ok())
            .map(str::trim);
        match key {
            Some(key) if (1..=200).contains(&key.len()) => Ok(Self(key.to_owned())),
            _ => Err(ApiProblem::KeyRequired),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use crate::model::DeadLetterState;

    fn query(text: &str) -> Query {
        let uri = format!("/?{text}").parse().unwrap();
        let axum::extract::Query(pairs) = axum::extract::Query::try_from_uri(&uri).unwrap();
        Query {
            pairs,
            known: Vec::new(),
        }
    }

    #[test]
    fn a_query_says_what_the_command_line_says() {
        let mut asked = query(
            "code=not_json,too_deep&code=conflict&state=open,resolved&id=1,2&contains=a%2Cb&limit=5&since=2026-01-01T00:00:00Z",
        );
        let selection = asked.selection().unwrap();
        asked.end().unwrap();
        assert_eq!(selection.code, ["not_json", "too_deep", "conflict"]);
        assert_eq!(
            selection.state,
            [DeadLetterState::Open, DeadLetterState::Resolved]
        );
        assert_eq!(
            (selection.id, selection.limit, selection.contains.as_deref()),
            (vec![1, 2], Some(5), Some("a,b"))
        );
        assert_eq!(selection.since.unwrap().unix_timestamp(), 1_767_225_600);
    }

    #[test]
    fn every_field_of_a_selection_is_a_word_of_the_query() {
        use clap::Args;
        let flags = Selection::augment_args(clap::Command::new("x"));
        let mut flags: Vec<String> = flags
            .get_arguments()
            .filter_map(|flag| flag.get_long())
            .map(|long| long.replace('-', "_"))
            .collect();
        let mut words = SELECTION.to_vec();
        flags.sort_unstable();
        words.sort_unstable();
        assert_eq!(flags, words);
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_refused_by_name() {
        for (text, code, says) in [
            ("cod=x", "unknown_word", "\"cod\""),
            ("id=1;drop", "bad_value", "id"),
            ("limit=-1", "bad_value", "limit"),
            ("limit=1&limit=2", "bad_value", "twice"),
            ("since=yesterday", "bad_value", "since"),
            ("state=opn", "bad_value", "opn"),
        ] {
            let mut asked = query(text);
            let error = asked.selection().and_then(|_| asked.end()).unwrap_err();
            assert!(
                error.code() == code && error.to_string().contains(says),
                "{text}: {error}"
            );
        }
    }
}
