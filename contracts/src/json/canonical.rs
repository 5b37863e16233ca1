//! One text for what is the same JSON: no white space, names in their order, strings with the fewest escapes. Numbers stay digit for digit.

use super::{Cursor, push_text, push_token, unquoted};
use crate::RejectionCode;
use std::ops::Range;

/// Largest exponent of a number, without its sign: PostgreSQL writes the number out.
const MAX_EXPONENT: u32 = 400;

/// What makes a value unfit to be stored, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) code: RejectionCode,
    /// The steps to it, the last one first
    steps: Vec<String>,
}

impl Flaw {
    fn new(code: RejectionCode) -> Self {
        let steps = Vec::new();
        Self { code, steps }
    }

    fn below(mut self, step: String) -> Self {
        self.steps.push(step);
        self
    }

    /// The pointer to it, from the value's own.
    pub(crate) fn pointer(&self, value: &str) -> String {
        let mut pointer = value.to_owned();
        for step in self.steps.iter().rev() {
            push_token(step, &mut pointer);
        }
        pointer
    }
}

/// Appends the canonical text of a value that is valid JSON, nested no deeper than a body may be.
///
/// # Errors
/// `duplicate_field`, `nul_character`, `unpaired_surrogate`, or `number_out_of_range` for an exponent beyond 400.
pub(crate) fn canonical(text: &str, out: &mut String) -> Result<(), Flaw> {
    let cursor = Cursor::new(text);
    Canonical { cursor, out }.value()
}

struct Canonical<'t, 'o> {
    cursor: Cursor<'t>,
    out: &'o mut String,
}

impl Canonical<'_, '_> {
    fn value(&mut self) -> Result<(), Flaw> {
        match self.cursor.peek() {
            b'"' => {
                let quoted = self.cursor.value();
                self.string(quoted)
            }
            b'{' => self.object(),
            b'[' => self.array(),
            _ => self.word(),
        }
    }

    /// A number, true, false or null.
    fn word(&mut self) -> Result<(), Flaw> {
        let word = self.cursor.value();
        self.out.push_str(word);
        let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        match word.split_once(['e', 'E']) {
            Some((_, exponent)) if is_number => {
                let digits = exponent.trim_start_matches(['+', '-']);
                match digits.parse::<u32>() {
                    Ok(exponent) if exponent <= MAX_EXPONENT => Ok(()),
                    Ok(_) | Err(_) => Err(Flaw::new(RejectionCode::NumberOutOfRange)),
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    fn string(&mut self, quoted: &str) -> Result<(), Flaw> {
        if !quoted.contains('\\') {
            self.out.push_str(quoted);
            return Ok(());
        }
        let text = unquoted(quoted).ok_or(Flaw::new(RejectionCode::UnpairedSurrogate))?;
        // PostgreSQL stores no such text.
        if text.contains('\0') {
            return Err(Flaw::new(RejectionCode::NulCharacter));
        }
        push_text(&text, self.out);
        Ok(())
    }

    fn array(&mut self) -> Result<(), Flaw> {
        self.out.push('[');
        self.cursor.enter();
        let mut index = 0_usize;
        while self.cursor.item() {
            if index > 0 {
                self.out.push(',');
            }
            self.value().map_err(|flaw| flaw.below(index.to_string()))?;
            index += 1;
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self) -> Result<(), Flaw> {
        self.out.push('{');
        self.cursor.enter();
        let first = self.out.len();
        // Each member's name, and all of it, in `out`.
        let mut members: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        while let Some(name) = self.cursor.name() {
            if !members.is_empty() {
                self.out.push(',');
            }
            let start = self.out.len();
            self.string(name)?;
            let name = start..self.out.len();
            self.out.push(':');
            self.value()
                .map_err(|flaw| flaw.below(name_of(&self.out[name.clone()])))?;
            members.push((name, start..self.out.len()));
        }
        let name = |member: &(Range<usize>, Range<usize>)| &self.out[member.0.clone()];
        if !members.is_sorted_by(|one, next| name(one) < name(next)) {
            members.sort_by(|one, other| name(one).cmp(name(other)));
            if let Some(twice) = members
                .windows(2)
                .find(|two| name(&two[0]) == name(&two[1]))
            {
                let flaw = Flaw::new(RejectionCode::DuplicateField);
                return Err(flaw.below(name_of(name(&twice[0]))));
            }
            let sorted: Vec<&str> = members
                .iter()
                .map(|(_, all)| &self.out[all.clone()])
                .collect();
            let sorted = sorted.join(",");
            self.out.truncate(first);
            self.out.push_str(&sorted);
        }
        self.out.push('}');
        Ok(())
    }
}

/// The name in a member's quotes.
fn name_of(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, (RejectionCode, String)> {
        let mut out = String::new();
        canonical(text, &mut out)
            .map(|()| out)
            .map_err(|flaw| (flaw.code, flaw.pointer("/x")))
    }

    #[test]
    fn white_space_order_and_escapes_do_not_count_and_digits_do() {
        for (given, expected) in [
            (
                r#" { "b" : [ 1 , 2.50 ] , "a" : { } } "#,
                r#"{"a":{},"b":[1,2.50]}"#,
            ),
            (
                r#"{"\u0061":"\u00fc\/","B":null}"#,
                r#"{"B":null,"a":"ü/"}"#,
            ),
            (
                r#"[[],[ ],"a\"}]",-1E+2,true]"#,
                r#"[[],[],"a\"}]",-1E+2,true]"#,
            ),
            (
                r#"{"a b":{"d":1,"c":0},"a":1}"#,
                r#"{"a":1,"a b":{"c":0,"d":1}}"#,
            ),
        ] {
            let once = of(given).unwrap();
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&once).unwrap(),
                serde_json::from_str::<serde_json::Value>(given).unwrap(),
                "{given}"
            );
            assert_eq!(of(&once).unwrap(), once);
            if !expected.contains("a b") {
                assert_eq!(once, expected);
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_is_named_with_its_place() {
        use RejectionCode as C;
        for (given, code, pointer) in [
            (
                r#"{"a":[{"b":1,"c":2,"b":3}]}"#,
                C::DuplicateField,
                "/x/a/0/b",
            ),
            (r#"{"a":1,"\u0061":2}"#, C::DuplicateField, "/x/a"),
            (r#"{"a/b":"\u0000"}"#, C::NulCharacter, "/x/a~1b"),
            (r#"["\ud800"]"#, C::UnpairedSurrogate, "/x/0"),
            (r#"{"\ud800":1}"#, C::UnpairedSurrogate, "/x"),
            ("[1e401]", C::NumberOutOfRange, "/x/0"),
            ("1e-99999999999", C::NumberOutOfRange, "/x"),
        ] {
            assert_eq!(of(given), Err((code, pointer.to_owned())), "{given}");
        }
    }
}
