//! A request before it is signed, for what plays a vendor: headers, and a body in which single values are replaced. What is not replaced
//! stays byte for byte.

use super::body::urlencoded;
use crate::event::HeaderValues;
use crate::json;
use serde_json::value::RawValue;
use std::fmt::Write;

/// A request before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Json(String),
    /// Its fields, decoded
    Form(Vec<(String, String)>),
}

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header, in lower case
    Header(String),
    /// Reference tokens of a JSON pointer; of a form, the one token is a field's name
    Body(Vec<String>),
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Draft {
    /// A request with these headers, in lower case, and this body: a form where the content type says so. `None` when the body is not what
    /// it should be.
    #[must_use]
    pub fn new(headers: Vec<(String, String)>, body: &[u8]) -> Option<Self> {
        let is_form = headers
            .iter()
            .any(|(name, value)| name == "content-type" && value.starts_with(FORM));
        let body = if is_form {
            let fields = urlencoded::fields(body)?.into_iter();
            Body::Form(
                fields
                    .map(|(name, value)| (name.into_owned(), value.into_owned()))
                    .collect(),
            )
        } else {
            Body::Json(String::from_utf8(body.to_vec()).ok()?)
        };
        Some(Self { headers, body })
    }

    /// A request of headers as text, one `name: value` a line, and a body: JSON where no header says what it is. `None` as [`new`](Self::new).
    #[must_use]
    pub fn of_text(headers: &str, body: &[u8]) -> Option<Self> {
        let pairs = headers.lines().filter_map(|line| line.split_once(':'));
        let mut headers: Vec<_> = pairs
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        Self::new(headers, body.trim_ascii_end())
    }

    /// The headers, in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The bytes to send.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::Json(text) => text.as_bytes().to_vec(),
            Body::Form(fields) => write_form(fields).into_bytes(),
        }
    }

    /// The body as JSON, as whoever maps it reads it: the fields of a form are an object of texts.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        match &self.body {
            Body::Json(text) => text.as_bytes().to_vec(),
            Body::Form(fields) => {
                urlencoded::object(write_form(fields).as_bytes()).unwrap_or_default()
            }
        }
    }

    /// The text at a path of the body; `None` when nothing is there.
    #[must_use]
    pub fn at(&self, path: &[String]) -> Option<&str> {
        match &self.body {
            Body::Json(text) => Some(find(text, path)?.get()),
            Body::Form(fields) => {
                let [name] = path else { return None };
                let field = fields.iter().find(|(own, _)| own == name);
                field.map(|(_, value)| value.as_str())
            }
        }
    }

    /// The text at a place: without quotes, where it is a JSON string.
    #[must_use]
    pub fn text(&self, place: &Place) -> Option<String> {
        match place {
            Place::Header(name) => {
                let header = self.headers.iter().find(|(own, _)| own == name);
                header.map(|(_, value)| value.clone())
            }
            Place::Body(path) => match &self.body {
                Body::Json(text) => {
                    let value = find(text, path)?;
                    json::text(value.get())
                        .map(std::borrow::Cow::into_owned)
                        .or_else(|| {
                            let is_number = value.get().starts_with([
                                '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
                            ]);
                            is_number.then(|| value.get().to_owned())
                        })
                }
                Body::Form(_) => self.at(path).map(str::to_owned),
            },
        }
    }

    /// Writes a text at a place: as a number where a number is there and the text is one, as a string otherwise. A header that is not there
    /// is added; a place in the body that is not there stays so.
    pub fn set(&mut self, place: &Place, text: &str) {
        match place {
            Place::Header(name) => {
                self.remove_header(name);
                self.headers.push((name.clone(), text.to_owned()));
            }
            Place::Body(path) => {
                let was_text = self.at(path).is_some_and(|old| old.starts_with('"'));
                let is_number = serde_json::from_str::<serde_json::Number>(text).is_ok();
                let json = if is_number && !was_text {
                    text.to_owned()
                } else {
                    let mut quoted = String::new();
                    json::push_text(text, &mut quoted);
                    quoted
                };
                match &mut self.body {
                    Body::Json(_) => self.set_json(path, &json),
                    Body::Form(fields) => {
                        if let [name] = path.as_slice()
                            && let Some(field) = fields.iter_mut().find(|(own, _)| own == name)
                        {
                            text.clone_into(&mut field.1);
                        }
                    }
                }
            }
        }
    }

    /// Replaces the value at a path of a JSON body by this JSON.
    pub fn set_json(&mut self, path: &[String], json: &str) {
        if let Body::Json(text) = &mut self.body
            && let Some(found) = find(text, path)
        {
            let start = found.get().as_ptr() as usize - text.as_ptr() as usize;
            let end = start + found.get().len();
            text.replace_range(start..end, json);
        }
    }

    /// Adds a field to the body, after the others; a body of JSON that is no object stays as it is.
    pub fn add(&mut self, name: &str, value: &str) {
        match &mut self.body {
            Body::Form(fields) => fields.push((name.to_owned(), value.to_owned())),
            Body::Json(text) => {
                let object: Result<serde_json::Map<String, serde_json::Value>, _> =
                    serde_json::from_str(text);
                if let (Ok(object), Some(end)) = (object, text.rfind('}')) {
                    let mut field = if object.is_empty() { "" } else { "," }.to_owned();
                    json::push_text(name, &mut field);
                    field.push(':');
                    json::push_text(value, &mut field);
                    text.insert_str(end, &field);
                }
            }
        }
    }

    /// Replaces the whole body by one that is not what it should be.
    pub fn break_body(&mut self, text: &str) {
        self.body = Body::Json(text.to_owned());
    }

    pub(crate) fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(own, _)| own != name);
    }
}

impl<'d> HeaderValues<'d> for &'d Draft {
    fn one(&self, name: &str) -> Option<&'d str> {
        let mut values = self.headers.iter().filter(|(own, _)| own == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_str())
    }
}

fn find<'t>(text: &'t str, path: &[String]) -> Option<&'t RawValue> {
    json::find(path, serde_json::Deserializer::from_str(text))
}

/// As browsers write it: letters, digits, `*-._` as they are, a space as `+`.
fn write_form(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    let push = |part: &str, text: &mut String| {
        for byte in part.bytes() {
            match byte {
                b' ' => text.push('+'),
                b'*' | b'-' | b'.' | b'_' => text.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
                // Into a String: it cannot fail.
                byte => drop(write!(text, "%{byte:02X}")),
            }
        }
    };
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        push(name, &mut text);
        text.push('=');
        push(value, &mut text);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn body(path: &[&str]) -> Place {
        Place::Body(path.iter().map(|&token| token.to_owned()).collect())
    }

    #[test]
    fn a_value_is_replaced_and_nothing_else() {
        let text = r#"{ "a" : {"n": 1.50, "s":"x"}, "l":[1, {"s":"y"}] }"#;
        let mut draft =
            Draft::new(vec![("x-id".to_owned(), "1".to_owned())], text.as_bytes()).unwrap();
        draft.set(&body(&["a", "n"]), "27");
        draft.set(&body(&["a", "s"]), "27");
        draft.set(&body(&["l", "1", "s"]), "é\"");
        draft.set(&body(&["nowhere"]), "z");
        draft.set(&Place::Header("x-id".to_owned()), "2");
        let expected = r#"{ "a" : {"n": 27, "s":"27"}, "l":[1, {"s":"é\""}] }"#;
        assert_eq!(String::from_utf8(draft.body()).unwrap(), expected);
        assert_eq!(draft.text(&body(&["l", "1", "s"])).as_deref(), Some("é\""));
        assert_eq!(draft.headers(), [("x-id".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn a_form_is_written_as_it_is_read() {
        let headers = vec![("content-type".to_owned(), format!("{FORM}; charset=utf-8"))];
        let text = "Sid=SM1&Body=Two+seats+%26+a+caf%C3%A9";
        let mut draft = Draft::new(headers, text.as_bytes()).unwrap();
        assert_eq!(draft.body(), text.as_bytes());
        draft.set(&body(&["Sid"]), "S M/2");
        assert_eq!(draft.body(), b"Sid=S+M%2F2&Body=Two+seats+%26+a+caf%C3%A9");
        let json = r#"{"Body":"Two seats & a café","Sid":"S M/2"}"#;
        assert_eq!(String::from_utf8(draft.json()).unwrap(), json);
    }
}
