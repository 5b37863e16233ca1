//! JSON as a tree whose members keep their order and whose numbers keep their digits: for schemas, and where two payloads are compared.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Deepest nesting: that of a body, and of what is put back into it.
const MAX_DEPTH: usize = 130;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    /// A string, number, boolean or null, as written
    Scalar(String),
}

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it; a member that is there twice is wrong too.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::parse_at(text, 0)
    }

    fn parse_at(text: &str, depth: usize) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Members<'a>(
            #[serde(borrow, deserialize_with = "crate::json::members")]
            Vec<(Cow<'a, str>, &'a RawValue)>,
        );
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH} levels"));
        }
        let text = text.trim();
        let problem = |error: serde_json::Error| error.to_string();
        if text.starts_with('{') {
            let Members(members) = serde_json::from_str(text).map_err(problem)?;
            let mut read: Vec<(String, Self)> = Vec::with_capacity(members.len());
            for (name, value) in members {
                if read.iter().any(|(known, _)| *known == name) {
                    return Err(format!("{name:?} is there twice"));
                }
                read.push((name.into_owned(), Self::parse_at(value.get(), depth + 1)?));
            }
            Ok(Self::Object(read))
        } else if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(problem)?;
            let items = items.into_iter();
            items
                .map(|item| Self::parse_at(item.get(), depth + 1))
                .collect::<Result<_, _>>()
                .map(Self::Array)
        } else {
            let scalar: &RawValue = serde_json::from_str(text).map_err(problem)?;
            Ok(Self::Scalar(scalar.get().to_owned()))
        }
    }

    /// An object of some members.
    pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let members = members.into_iter();
        Self::Object(
            members
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value),
            Self::Array(_) | Self::Scalar(_) => None,
        }
    }

    /// As serde_json has it.
    pub(crate) fn value(&self) -> Value {
        // It was read as JSON, so it can be again.
        serde_json::from_str(&self.to_string()).unwrap_or_default()
    }

    /// The text over several lines, indented by two spaces, as people write schemas.
    pub(crate) fn pretty(&self) -> String {
        let mut out = String::new();
        self.push_pretty(0, &mut out);
        out.push('\n');
        out
    }

    fn push_pretty(&self, depth: usize, out: &mut String) {
        let line = |depth: usize, out: &mut String| {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        };
        match self {
            Self::Object(members) if !members.is_empty() => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    line(depth + 1, out);
                    crate::json::push_text(name, out);
                    out.push_str(": ");
                    value.push_pretty(depth + 1, out);
                }
                line(depth, out);
                out.push('}');
            }
            Self::Array(items) if items.iter().any(|item| !matches!(item, Self::Scalar(_))) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    line(depth + 1, out);
                    item.push_pretty(depth + 1, out);
                }
                line(depth, out);
                out.push(']');
            }
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                out.push('[');
                out.push_str(&items.join(", "));
                out.push(']');
            }
            Self::Object(_) | Self::Scalar(_) => out.push_str(&self.to_string()),
        }
    }

    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Scalar(text) => serde_json::from_str(text).ok(),
            Self::Object(_) | Self::Array(_) => None,
        }
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Scalar(text) if text == word)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separated = |f: &mut fmt::Formatter<'_>, index: usize| {
            if index > 0 { f.write_str(",") } else { Ok(()) }
        };
        match self {
            Self::Scalar(text) => f.write_str(text),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    separated(f, index)?;
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    separated(f, index)?;
                    let mut quoted = String::new();
                    crate::json::push_text(name, &mut quoted);
                    write!(f, "{quoted}:{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}
