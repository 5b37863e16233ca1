//! The words of a page's address: the same as the API's and the command line's, so that a link says what a command says.

use crate::api::Problem;
use axum::http::Uri;
use recovery::model::Selection;

/// The query of an address, word by word. Words without a value are left out: an empty field of a form asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked(Vec<(String, String)>);

impl Asked {
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
        Self(
            pairs
                .filter(|(_, value)| !value.trim().is_empty())
                .collect(),
        )
    }

    pub(crate) fn get(&self, word: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == word);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// With this word, whatever it said before.
    pub(crate) fn with(&self, word: &str, value: impl Into<String>) -> Self {
        let mut asked = self.without(word);
        asked.0.push((word.to_owned(), value.into()));
        asked
    }

    pub(crate) fn without(&self, word: &str) -> Self {
        let others = self.0.iter().filter(|(name, _)| name != word);
        Self(others.cloned().collect())
    }

    /// The dead letters that it selects.
    pub(crate) fn selection(&self) -> Result<Selection, Problem> {
        let uri = self.to("/").parse::<Uri>();
        let uri = uri.map_err(|error| Problem::new(400, "bad_value", error.to_string()))?;
        Ok(recovery::http::selection(&uri)?)
    }

    /// As an address.
    pub(crate) fn to(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.0);
        format!("{path}?{}", query.finish())
    }
}

impl<W: ToString, V: ToString> FromIterator<(W, V)> for Asked {
    fn from_iter<I: IntoIterator<Item = (W, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self(
            pairs
                .map(|(word, value)| (word.to_string(), value.to_string()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together() {
        let asked = Asked::of(&Uri::from_static("/x?code=a&contains=%3Cb%3E+c&since="));
        assert_eq!(asked.get("contains"), Some("<b> c"));
        assert_eq!(asked.get("since"), None);
        assert_eq!(
            asked.with("code", "b").to("/y"),
            "/y?contains=%3Cb%3E+c&code=b"
        );
        assert_eq!(asked.without("code").without("contains").to("/y"), "/y");
    }
}
