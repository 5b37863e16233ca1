//! A text that is JSON for certain, walked by its marks alone: several times as fast as reading it, and as often as somebody wants to.
//!
//! Nothing here checks the text. Of one that is no JSON it finds something, and comes to an end.

use super::string_length;
use std::borrow::Cow;

/// A place in a text that is valid JSON.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Before the value that the text is.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The first byte of what comes next, white space left out; 0 at the end of the text.
    pub(crate) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Steps over the value that comes next; answers it as it is written.
    pub(crate) fn value(&mut self) -> &'a str {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => self.at += string_length(&self.text[start..]),
            b'{' | b'[' => self.skip_brackets(),
            _ => self.skip_word(),
        }
        &self.text[start..self.at]
    }

    /// Where the value that comes next begins, for [`since`](Self::since).
    pub(crate) fn mark(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// What was stepped over since then, as it is written.
    pub(crate) fn since(&self, mark: usize) -> &'a str {
        &self.text[mark..self.at]
    }

    /// Steps into an object or an array. Then [`name`](Self::name) or [`item`](Self::item) as long as they say that there is more.
    pub(crate) fn enter(&mut self) {
        self.at += 1;
    }

    /// The next name of the object, in its quotes as it is written, and steps before its value. `None`: the object is over, and stepped out of.
    pub(crate) fn name(&mut self) -> Option<&'a str> {
        if self.is_over(b'}') {
            return None;
        }
        let name = self.value();
        if self.peek() == b':' {
            self.at += 1;
        }
        Some(name)
    }

    /// Whether another item of the array comes next. Not: the array is over, and stepped out of.
    pub(crate) fn item(&mut self) -> bool {
        !self.is_over(b']')
    }

    fn is_over(&mut self, end: u8) -> bool {
        let mut next = self.peek();
        if next == b',' {
            self.at += 1;
            next = self.peek();
        }
        if next == end {
            self.at += 1;
        }
        next == end || next == 0
    }

    /// A number, true, false or null.
    fn skip_word(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace());
        self.at += end.unwrap_or(rest.len());
    }

    fn skip_brackets(&mut self) {
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += string_length(&self.text[self.at..]);
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

/// The text of a JSON string in its quotes, borrowed where it has no escapes; `None` where one half of a surrogate pair makes it no text.
pub(crate) fn unquoted(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        serde_json::from_str(quoted).ok().map(Cow::Owned)
    } else {
        quoted.get(1..quoted.len() - 1).map(Cow::Borrowed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Walks through everything, and makes the tree of it.
    fn tree(cursor: &mut Cursor<'_>) -> Value {
        match cursor.peek() {
            b'{' => {
                cursor.enter();
                let mut members = serde_json::Map::new();
                while let Some(name) = cursor.name() {
                    let name = unquoted(name).unwrap().into_owned();
                    members.insert(name, tree(cursor));
                }
                Value::Object(members)
            }
            b'[' => {
                cursor.enter();
                let mut items = Vec::new();
                while cursor.item() {
                    items.push(tree(cursor));
                }
                Value::Array(items)
            }
            _ => serde_json::from_str(cursor.value()).unwrap(),
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = || "[a\"\\\\{}\\[\\]:, \\n\u{e9}]{0,6}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(text(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_walks_what_serde_json_reads(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = format!(" {} ", text.unwrap());
            let mut cursor = Cursor::new(&text);
            prop_assert_eq!(tree(&mut cursor), value);
            prop_assert_eq!(cursor.peek(), 0);
            let mut cursor = Cursor::new(&text);
            prop_assert_eq!(cursor.value(), text.trim());
            prop_assert_eq!(cursor.peek(), 0);
        }

        #[test]
        fn of_what_is_no_json_it_comes_to_an_end(text in "[\\[\\]{}\",:\\\\a\u{e9} 1]{0,12}") {
            let mut cursor = Cursor::new(&text);
            let mut left = 100;
            while cursor.peek() != 0 && left > 0 {
                match cursor.peek() {
                    b'{' => { cursor.enter(); cursor.name(); }
                    b'[' => { cursor.enter(); cursor.item(); }
                    b',' | b'}' | b']' => cursor.enter(),
                    _ => { cursor.value(); }
                }
                left -= 1;
            }
            prop_assert!(left > 0);
        }
    }
}
