//! The signed string: literals and parts of the request, in the order a vendor signs them.

use super::scheme::PARTS;
use crate::event::locator::parse_pointer;
use http::HeaderName;

/// A piece of the signed string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Id,
    Timestamp,
    Method,
    /// The configured URL, with the query of the request
    Url,
    Body,
    /// The body's digest in lower-case hexadecimal
    BodySha256,
    /// The body's CRC-32 in decimal digits
    BodyCrc32,
    /// The decoded fields of a form, sorted by name, without anything between them
    Form,
    WebhookId,
    Header(HeaderName),
    /// The decoded value of a form's field
    Field(String),
    /// A string, number or boolean of the body; nothing where it is not there
    Json {
        path: Vec<String>,
        /// It may have the literals beside it: at most one part of a template may
        any: bool,
    },
}

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
    /// For each part, what its text may not contain: the literals beside it. A text that contains one could move the border between itself
    /// and its neighbour, so that one signed string reads as two different requests.
    borders: Vec<Vec<String>>,
}

impl Template {
    /// Compiles `{id}.{timestamp}.{body}`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            let close = rest[open..]
                .find('}')
                .ok_or("the template has a { without }")?
                + open;
            parts.push(Part::parse(&rest[open + 1..close])?);
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let whole = |part: &&Part| {
            matches!(
                part,
                Part::Body | Part::BodySha256 | Part::BodyCrc32 | Part::Form
            )
        };
        let of_the_body = |part: &Part| matches!(part, Part::Json { .. } | Part::Field(_));
        match parts.iter().filter(whole).count() {
            0 if parts.iter().any(of_the_body) => {}
            0 => return Err("the template signs nothing of the body: it must have {body} exactly once, or {body-sha256}, {body-crc32}, {form} or fields of the body".to_owned()),
            1 => {}
            _ => return Err("the template must have {body} exactly once, and no other form of it".to_owned()),
        }
        let any = |part: &&Part| matches!(part, Part::Json { any: true, .. });
        if parts.iter().filter(any).count() > 1 {
            return Err("the template may have {any-json:…} once: of two, the border between them is not signed".to_owned());
        }
        let borders = (0..parts.len()).map(|at| borders(&parts, at)).collect();
        Ok(Self { parts, borders })
    }

    /// The template of what signs nothing.
    pub(crate) fn nothing() -> Self {
        Self {
            parts: Vec::new(),
            borders: Vec::new(),
        }
    }

    pub(crate) fn has(&self, part: &Part) -> bool {
        self.parts.contains(part)
    }

    /// Its parts, each with what its text may not contain.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Part, &[String])> {
        self.parts
            .iter()
            .zip(self.borders.iter().map(Vec::as_slice))
    }

    /// Whether the text of this part borders on another part without a literal between them. Then only its fixed length is a border.
    pub(crate) fn touches(&self, part: &Part) -> bool {
        let is_open = |other: &Part| !matches!(other, Part::Literal(_));
        self.parts.windows(2).any(|pair| {
            (pair[0] == *part && is_open(&pair[1])) || (pair[1] == *part && is_open(&pair[0]))
        })
    }
}

/// Only what has no border of its own is bound by the literals beside it.
fn borders(parts: &[Part], at: usize) -> Vec<String> {
    match &parts[at] {
        Part::Id | Part::Header(_) | Part::Field(_) | Part::Json { any: false, .. } => {}
        Part::Literal(_)
        | Part::Timestamp
        | Part::Method
        | Part::Url
        | Part::Body
        | Part::BodySha256
        | Part::BodyCrc32
        | Part::Form
        | Part::WebhookId
        | Part::Json { any: true, .. } => return Vec::new(),
    }
    let beside = [
        at.checked_sub(1).and_then(|before| parts.get(before)),
        parts.get(at + 1),
    ];
    let literal = |part: &Part| match part {
        Part::Literal(text) => Some(text.clone()),
        _ => None,
    };
    beside.into_iter().flatten().filter_map(literal).collect()
}

impl Part {
    fn parse(name: &str) -> Result<Self, String> {
        let unknown = || format!("the template has {{{name}}}; known are {PARTS}");
        Ok(match name {
            "id" => Self::Id,
            "timestamp" => Self::Timestamp,
            "method" => Self::Method,
            "url" => Self::Url,
            "body" => Self::Body,
            "body-sha256" => Self::BodySha256,
            "body-crc32" => Self::BodyCrc32,
            "form" => Self::Form,
            "webhook_id" => Self::WebhookId,
            other => match other.split_once(':').ok_or_else(unknown)? {
                ("header", name) => {
                    Self::Header(HeaderName::try_from(name).map_err(|_| unknown())?)
                }
                ("field", name) if !name.is_empty() => Self::Field(name.to_owned()),
                (kind @ ("json" | "any-json"), pointer) if pointer.starts_with('/') => Self::Json {
                    path: parse_pointer(pointer)?,
                    any: kind == "any-json",
                },
                _ => return Err(unknown()),
            },
        })
    }
}
