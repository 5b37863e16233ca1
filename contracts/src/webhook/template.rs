//! The signed string: literals and parts of the request, in the order a vendor signs them.

use super::mac::Keyed;

/// A piece of the signed string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Id,
    Timestamp,
    Url,
    Body,
}

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

/// What fills a template. Texts are as received, never normalised.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) url: &'a str,
    pub(crate) body: &'a [u8],
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
            parts.push(match &rest[open + 1..close] {
                "id" => Part::Id,
                "timestamp" => Part::Timestamp,
                "url" => Part::Url,
                "body" => Part::Body,
                other => return Err(format!("the template has {{{other}}}; known are {{id}}, {{timestamp}}, {{url}}, {{body}}")),
            });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        if parts.iter().filter(|part| **part == Part::Body).count() != 1 {
            return Err("the template must have {body} exactly once".to_owned());
        }
        Ok(Self(parts))
    }

    pub(crate) fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// The literals next to `{id}`. An id that contains one could move the boundary between itself and its neighbour, so that one signed
    /// string reads as two different requests.
    pub(crate) fn id_borders(&self) -> Vec<String> {
        let pairs = self.0.windows(2).filter_map(|pair| match pair {
            [Part::Literal(text), Part::Id] | [Part::Id, Part::Literal(text)] => Some(text.clone()),
            [..] => None,
        });
        pairs.collect()
    }

    /// Feeds the signed string to a MAC, piece by piece: the body is not copied.
    pub(crate) fn feed(&self, mac: &mut Keyed, filling: &Filling<'_>) {
        for part in &self.0 {
            mac.update(match part {
                Part::Literal(text) => text.as_bytes(),
                Part::Id => filling.id.as_bytes(),
                Part::Timestamp => filling.timestamp.as_bytes(),
                Part::Url => filling.url.as_bytes(),
                Part::Body => filling.body,
            });
        }
    }
}
