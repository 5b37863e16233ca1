//! What a vendor wants to hear when its event was accepted.

use http::{HeaderValue, StatusCode};
use serde::Deserialize;

/// Longest body, in bytes.
const MOST_BYTES: usize = 1024;

/// The success answer of a source that does not take EventFlow's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessAnswer {
    /// 200, 202 or 204
    pub status: StatusCode,
    /// As written in the configuration; nothing of the request
    pub body: String,
    /// `None` without a body
    pub content_type: Option<HeaderValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    content_type: Option<String>,
}

impl SuccessAnswer {
    /// Reads `answer = { status = 202, body = "[accepted]", content_type = "text/plain" }`; each may be left out.
    ///
    /// # Errors
    /// Names the key and what it may be.
    pub(crate) fn parse(value: toml::Value) -> Result<Self, String> {
        let fields: Fields = value
            .try_into()
            .map_err(|error| error.to_string().trim_end().replace('\n', ", "))?;
        let status = match fields.status {
            None | Some(200) => StatusCode::OK,
            Some(202) => StatusCode::ACCEPTED,
            Some(204) => StatusCode::NO_CONTENT,
            Some(other) => return Err(format!("status: {other} is none of 200, 202, 204")),
        };
        if fields.body.len() > MOST_BYTES {
            return Err(format!("body: must have at most {MOST_BYTES} bytes"));
        }
        if fields.body.is_empty() {
            return match fields.content_type {
                Some(_) => Err("content_type: there is no body; remove it".to_owned()),
                None => Ok(Self {
                    status,
                    body: fields.body,
                    content_type: None,
                }),
            };
        }
        if status == StatusCode::NO_CONTENT {
            return Err("body: 204 has none; use 200 or 202".to_owned());
        }
        let content_type = fields
            .content_type
            .as_deref()
            .unwrap_or("text/plain; charset=utf-8");
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|_| "content_type: is no header value".to_owned())?;
        Ok(Self {
            status,
            body: fields.body,
            content_type: Some(content_type),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SuccessAnswer, String> {
        let mut table: toml::Table = toml::from_str(&format!("answer = {text}")).unwrap();
        SuccessAnswer::parse(table.remove("answer").unwrap())
    }

    #[test]
    fn what_is_written_is_answered() {
        for (text, status, body, content_type) in [
            ("{}", 200, "", None),
            ("{ status = 204 }", 204, "", None),
            (
                "{ body = \"[accepted]\" }",
                200,
                "[accepted]",
                Some("text/plain; charset=utf-8"),
            ),
            (
                "{ status = 202, body = \"<Response/>\", content_type = \"text/xml\" }",
                202,
                "<Response/>",
                Some("text/xml"),
            ),
        ] {
            let answer = parse(text).unwrap();
            let kind = answer
                .content_type
                .as_ref()
                .map(|kind| kind.to_str().unwrap());
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str(), kind),
                (status, body, content_type),
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_an_answer_is_refused_by_its_key() {
        let long = format!("{{ body = \"{}\" }}", "x".repeat(MOST_BYTES + 1));
        for (text, problem) in [
            ("{ status = 201 }", "status: 201"),
            ("{ status = 204, body = \"x\" }", "body: 204"),
            (
                "{ content_type = \"text/plain\" }",
                "content_type: there is no body",
            ),
            (
                "{ body = \"x\", content_type = \"a\\nb\" }",
                "content_type: is no",
            ),
            ("{ text = \"x\" }", "unknown field"),
            ("\"ok\"", "invalid type"),
            (&long, "body: must have at most"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(problem), "{text:.60}: {refused}");
        }
    }
}
