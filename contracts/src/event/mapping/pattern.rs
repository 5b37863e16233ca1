//! Event types by their names: one, or all that begin alike.

/// An event type, or the beginning of some, then `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.strip_suffix('*').unwrap_or(text).contains('*') {
            return Err(format!(
                "{text:?} is no pattern: write an event type, or the beginning of some and then *"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, event_type: &str) -> bool {
        match self.text.strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => self.text == event_type,
        }
    }
}

/// What becomes of an event that no contract describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is stored whole, under the generic contract
    Store,
    /// It is dead-lettered
    DeadLetter,
}

impl Unknown {
    fn parse(value: &toml::Value) -> Result<Self, String> {
        match value.as_str() {
            Some("store") => Ok(Self::Store),
            Some("dead-letter") => Ok(Self::DeadLetter),
            Some(_) | None => Err(format!("{value} is neither \"store\" nor \"dead-letter\"")),
        }
    }
}

/// The same by event type. The longest pattern that matches decides.
#[derive(Debug, Clone)]
pub(super) struct UnknownTypes(Vec<(Pattern, Unknown)>);

impl UnknownTypes {
    /// `"store"`, `"dead-letter"`, or a table of patterns, `"*"` among them.
    pub(super) fn parse(value: &toml::Value) -> Result<Self, String> {
        let toml::Value::Table(table) = value else {
            let all = Pattern::parse("*")?;
            return Ok(Self(vec![(all, Unknown::parse(value)?)]));
        };
        if !table.contains_key("*") {
            return Err(
                "say what becomes of all other event types: \"*\" = \"store\" or \"dead-letter\""
                    .to_owned(),
            );
        }
        let mut patterns = table
            .iter()
            .map(|(pattern, unknown)| Ok((Pattern::parse(pattern)?, Unknown::parse(unknown)?)))
            .collect::<Result<Vec<_>, String>>()?;
        // A whole name before a beginning of the same length.
        patterns.sort_by_key(|(pattern, _)| {
            let beginning = pattern.text().trim_end_matches('*');
            std::cmp::Reverse((beginning.len(), beginning.len() == pattern.text().len()))
        });
        Ok(Self(patterns))
    }

    pub(super) fn of(&self, event_type: &str) -> Unknown {
        let found = self
            .0
            .iter()
            .find(|(pattern, _)| pattern.matches(event_type));
        found.map_or(Unknown::DeadLetter, |(_, unknown)| *unknown)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn the_longest_pattern_decides() {
        let table: toml::Table = toml::from_str(
            r#"v = { "*" = "store", "order.*" = "dead-letter", "order.test" = "store", "order.test*" = "dead-letter" }"#,
        )
        .unwrap();
        let unknown = UnknownTypes::parse(&table["v"]).unwrap();
        for (event_type, expected) in [
            ("order.paid", Unknown::DeadLetter),
            ("order.test", Unknown::Store),
            ("order.tested", Unknown::DeadLetter),
            ("order", Unknown::Store),
            ("ping", Unknown::Store),
        ] {
            assert_eq!(unknown.of(event_type), expected, "{event_type}");
        }
        let all = UnknownTypes::parse(&"dead-letter".into()).unwrap();
        assert_eq!(all.of("anything"), Unknown::DeadLetter);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a*b", "**", "*a"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        for toml in [
            "v = 1",
            "v = \"keep\"",
            "v = { \"a\" = \"store\" }",
            "v = { \"*\" = 1 }",
        ] {
            let table: toml::Table = toml::from_str(toml).unwrap();
            assert!(UnknownTypes::parse(&table["v"]).is_err(), "{toml}");
        }
    }
}
