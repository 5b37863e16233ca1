//! Handshakes: what a vendor asks before it sends events, answered as its source describes. A handshake is no event.
//!
//! A few verbs and no expressions. `when` compares places of the request; `answer` gives back the value of a place, or a MAC of it. What is given
//! back is short, visible ASCII, so that it is harmless as a header, as JSON and as plain text.

mod parse;

use super::body;
use super::mac::Keyed;
use super::scheme::Encoding;
use crate::event::locator::text_of;
use crate::{Secret, json};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::borrow::Cow;

/// Longest value that is given back, in bytes. Challenges have 10 to 100; Microsoft's validation token has some hundreds.
const MOST_BYTES: usize = 512;

/// A request, as far as handshakes look at it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// What is asked by GET is asked by HEAD, too
    pub method: &'r Method,
    /// As received, still encoded
    pub query: Option<&'r str>,
    /// As received
    pub headers: &'r HeaderMap,
    /// The JSON of the body; empty where it was not read
    pub body: &'r [u8],
    /// Of the secret that verified it; `None` before verification
    pub secret_id: Option<&'r str>,
}

/// The answer to a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// 200 or 204
    pub status: StatusCode,
    /// `None` without a body
    pub content_type: Option<&'static str>,
    /// Some vendors read the value from a header
    pub header: Option<(HeaderName, HeaderValue)>,
    /// At most some thousand bytes
    pub body: Vec<u8>,
}

/// The handshakes of a source, in order.
#[derive(Default)]
pub struct Handshakes {
    all: Vec<Handshake>,
    /// By the id of their secret
    keys: Vec<(String, Keyed)>,
}

struct Handshake {
    method: Method,
    /// Answered only once the request is verified
    signed: bool,
    when: Vec<(Place, Expected)>,
    answer: Answer,
}

/// Where a value is.
enum Place {
    Pointer(Vec<String>),
    Header(HeaderName),
    Query(String),
}

enum Expected {
    Present,
    Text(String),
    Secret(Secret),
}

enum Answer {
    Nothing(StatusCode),
    Text(Value),
    Header(HeaderName, Value),
    Json(Vec<(String, Value)>),
}

enum Value {
    /// JSON, as written in the configuration
    Constant(String),
    At(Place),
    /// Hexadecimal or base64, behind a prefix
    Mac {
        of: Place,
        encoding: Encoding,
        prefix: String,
    },
}

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} handshakes", self.all.len())
    }
}

impl Handshakes {
    /// Whether one is asked by this method.
    #[must_use]
    pub fn asked_by(&self, method: &Method) -> bool {
        self.all.iter().any(|one| one.takes(method))
    }

    /// Whether one is asked by POST and signed.
    #[must_use]
    pub fn signed(&self) -> bool {
        self.all.iter().any(|one| one.signed)
    }

    /// Whether one is asked by POST and not signed: it is looked for in the head, before the body is read.
    #[must_use]
    pub fn by_unsigned_post(&self) -> bool {
        let is_one = |one: &Handshake| one.method == Method::POST && !one.signed;
        self.all.iter().any(is_one)
    }

    /// The headers that a signed handshake reads.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let places = self.all.iter().flat_map(|one| &one.when);
        places.filter_map(|(place, _)| match place {
            Place::Header(name) => Some(name),
            Place::Pointer(_) | Place::Query(_) => None,
        })
    }

    /// The answer, when the request is one of these handshakes. Before verification (`secret_id` is `None`) only the unsigned ones are looked at,
    /// after it only the signed ones. One whose value is missing, appears twice, or could not be given back safely is no handshake.
    #[must_use]
    pub fn answer(&self, asked: &Asked<'_>) -> Option<HandshakeAnswer> {
        self.all.iter().find_map(|one| {
            let fits = one.takes(asked.method)
                && one.signed == asked.secret_id.is_some()
                && one.when.iter().all(|(place, expected)| {
                    place.find(asked).is_some_and(|found| expected.is(&found))
                });
            fits.then(|| self.fill(&one.answer, asked)).flatten()
        })
    }

    fn fill(&self, answer: &Answer, asked: &Asked<'_>) -> Option<HandshakeAnswer> {
        let none = HandshakeAnswer {
            status: StatusCode::OK,
            content_type: None,
            header: None,
            body: Vec::new(),
        };
        Some(match answer {
            Answer::Nothing(status) => HandshakeAnswer {
                status: *status,
                ..none
            },
            Answer::Text(value) => HandshakeAnswer {
                content_type: Some("text/plain; charset=utf-8"),
                body: self.text(value, asked)?.into_bytes(),
                ..none
            },
            Answer::Header(name, value) => {
                let value = HeaderValue::try_from(self.text(value, asked)?).ok()?;
                HandshakeAnswer {
                    header: Some((name.clone(), value)),
                    ..none
                }
            }
            Answer::Json(fields) => {
                let mut text = String::new();
                for (name, value) in fields {
                    text.push(if text.is_empty() { '{' } else { ',' });
                    json::push_text(name, &mut text);
                    text.push(':');
                    match value {
                        Value::Constant(constant) => text.push_str(constant),
                        Value::At(_) | Value::Mac { .. } => {
                            json::push_text(&self.text(value, asked)?, &mut text);
                        }
                    }
                }
                text.push('}');
                HandshakeAnswer {
                    content_type: Some("application/json"),
                    body: text.into_bytes(),
                    ..none
                }
            }
        })
    }

    fn text(&self, value: &Value, asked: &Asked<'_>) -> Option<String> {
        match value {
            Value::Constant(constant) => Some(constant.clone()),
            Value::At(place) => place.find_harmless(asked),
            Value::Mac {
                of,
                encoding,
                prefix,
            } => {
                let text = of.find_harmless(asked)?;
                let (_, key) = self
                    .keys
                    .iter()
                    .find(|(id, _)| Some(id.as_str()) == asked.secret_id)?;
                let mut mac = key.clone();
                mac.update(text.as_bytes());
                Some(format!("{prefix}{}", mac.finish().encode(*encoding)))
            }
        }
    }
}

impl Handshake {
    fn takes(&self, method: &Method) -> bool {
        self.method == *method || (self.method == Method::GET && *method == Method::HEAD)
    }
}

impl Expected {
    fn is(&self, found: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Text(text) => text == found,
            Self::Secret(secret) => secret.ct_eq(found.as_bytes()),
        }
    }
}

impl Place {
    /// The value, when there is exactly one: a text, or a number digit for digit.
    fn find<'r>(&self, asked: &Asked<'r>) -> Option<Cow<'r, str>> {
        match self {
            Self::Pointer(path) => {
                let json = serde_json::Deserializer::from_slice(asked.body);
                text_of(json::find(path, json)?.get())
            }
            Self::Header(name) => {
                let mut values = asked.headers.get_all(name).iter();
                let value = values.next()?.to_str().ok()?;
                values.next().is_none().then_some(Cow::Borrowed(value))
            }
            Self::Query(name) => body::query_field(asked.query?, name),
        }
    }

    /// The value, when it is short and visible ASCII (or spaces).
    fn find_harmless(&self, asked: &Asked<'_>) -> Option<String> {
        let text = self.find(asked)?;
        let harmless = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let fits = (1..=MOST_BYTES).contains(&text.len()) && text.bytes().all(harmless);
        fits.then(|| text.into_owned())
    }
}
