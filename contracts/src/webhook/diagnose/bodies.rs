//! What may have been signed instead of the body that was sent.

use super::json_forms::{Json, all, with_strings};
use super::mistake::Mistake;
use std::borrow::Cow;

/// Another body, and what it would mean if it is the signed one.
pub(super) struct Variant<'b> {
    pub(super) mistake: Mistake,
    pub(super) body: Cow<'b, [u8]>,
    pub(super) detail: String,
}

/// Every variant that differs from the body, the cheap and frequent ones first.
pub(super) fn variants(body: &[u8]) -> impl Iterator<Item = Variant<'_>> {
    let few = line_ends(body)
        .into_iter()
        .chain(forms(body))
        .chain(plain(body))
        .chain(characters(body))
        .chain(quoted(body));
    let empty = Variant {
        mistake: Mistake::BodyEmpty,
        body: Cow::Borrowed(&[]),
        detail: "signed is a body of no bytes".to_owned(),
    };
    few.chain(reserialized(body))
        .chain([empty])
        .filter(move |variant| *variant.body != *body)
}

fn line_ends(body: &[u8]) -> Vec<Variant<'_>> {
    let variant = |body: Cow<'_, [u8]>, detail: &str| Variant {
        mistake: Mistake::BodyLineEnds,
        body: Cow::Owned(body.into_owned()),
        detail: detail.to_owned(),
    };
    let mut unix = Vec::with_capacity(body.len());
    for (at, byte) in body.iter().enumerate() {
        if *byte != b'\r' || body.get(at + 1) != Some(&b'\n') {
            unix.push(*byte);
        }
    }
    let mut windows = Vec::with_capacity(body.len());
    for byte in &unix {
        if *byte == b'\n' {
            windows.push(b'\r');
        }
        windows.push(*byte);
    }
    let with = |end: &[u8]| Cow::Owned([body, end].concat());
    let without = body.strip_suffix(b"\n").unwrap_or(body);
    let without = without.strip_suffix(b"\r").unwrap_or(without);
    vec![
        variant(
            without.into(),
            "signed is the body without the line end at its end",
        ),
        variant(
            with(b"\n"),
            "signed is the body with a line end (LF) after it",
        ),
        variant(
            with(b"\r\n"),
            "signed is the body with a line end (CRLF) after it",
        ),
        variant(
            body.trim_ascii().into(),
            "signed is the body without the white space around it",
        ),
        variant(
            unix.into(),
            "signed is the body with LF line ends; sent is CRLF",
        ),
        variant(
            windows.into(),
            "signed is the body with CRLF line ends; sent is LF",
        ),
    ]
}

/// GitHub's `payload=…` and Slack's: the field's content instead of the form.
fn forms(body: &[u8]) -> Vec<Variant<'_>> {
    let Some(fields) = crate::webhook::body::urlencoded::fields(body) else {
        return Vec::new();
    };
    let contents = fields.into_iter().filter(|(_, content)| content.len() > 1);
    contents
        .take(8)
        .map(|(name, content)| Variant {
            mistake: Mistake::BodyOfForm,
            body: Cow::Owned(content.into_owned().into_bytes()),
            detail: format!(
                "signed is the decoded content of the field {:?}",
                name.chars().take(40).collect::<String>()
            ),
        })
        .collect()
}

fn plain(body: &[u8]) -> Option<Variant<'_>> {
    let plain = super::unpacked(body)?;
    Some(Variant {
        mistake: Mistake::BodyCompressed,
        detail: format!(
            "sent are {} bytes of gzip, signed are the {} bytes in it",
            body.len(),
            plain.len()
        ),
        body: Cow::Owned(plain),
    })
}

fn characters(body: &[u8]) -> Vec<Variant<'_>> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let variant = |body: Cow<'_, [u8]>, detail: &str| Variant {
        mistake: Mistake::BodyCharacters,
        body: Cow::Owned(body.into_owned()),
        detail: detail.to_owned(),
    };
    let mut variants = Vec::new();
    match body.strip_prefix(MARK) {
        Some(rest) => variants.push(variant(
            rest.into(),
            "signed is the body without its byte order mark",
        )),
        None => variants.push(variant(
            [MARK, body].concat().into(),
            "signed is the body with a byte order mark before it",
        )),
    }
    if body.is_ascii() {
        return variants;
    }
    let Ok(text) = std::str::from_utf8(body) else {
        let read: String = body.iter().map(|&byte| char::from(byte)).collect();
        variants.push(variant(
            read.into_bytes().into(),
            "signed is UTF-8, sent is ISO 8859-1",
        ));
        return variants;
    };
    let narrow: Option<Vec<u8>> = text
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    if let Some(narrow) = narrow {
        // UTF-8 that was read as ISO 8859-1 and written as UTF-8 again, when what comes out is UTF-8.
        let detail = match std::str::from_utf8(&narrow) {
            Ok(_) => "sent is UTF-8 that was encoded twice",
            Err(_) => "signed is ISO 8859-1, sent is UTF-8",
        };
        variants.push(variant(narrow.into(), detail));
    }
    let twice: String = body.iter().map(|&byte| char::from(byte)).collect();
    variants.push(variant(
        twice.into_bytes().into(),
        "signed is UTF-8 that was encoded twice",
    ));
    variants
}

/// `JSON.stringify` of what is a text of JSON already.
fn quoted(body: &[u8]) -> Vec<Variant<'_>> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Vec::new();
    };
    let variant = |body: String, detail: &str| Variant {
        mistake: Mistake::BodyQuoted,
        body: Cow::Owned(body.into_bytes()),
        detail: detail.to_owned(),
    };
    let mut quoted = String::new();
    crate::json::push_text(text, &mut quoted);
    let mut variants = vec![variant(
        quoted,
        "signed is a JSON text that has the sent JSON in it",
    )];
    if let Ok(inner) = serde_json::from_str::<String>(text) {
        variants.push(variant(
            inner,
            "signed is the JSON inside the JSON text that was sent",
        ));
    }
    variants
}

fn reserialized(body: &[u8]) -> impl Iterator<Item = Variant<'_>> {
    let body = if body.len() > super::REWRITTEN_BYTES {
        &[]
    } else {
        body
    };
    let variant = |text: String, detail: String| Variant {
        mistake: Mistake::BodyReserialized,
        body: Cow::Owned(text.into_bytes()),
        detail,
    };
    let json = Json::read(body);
    let text = std::str::from_utf8(body).ok().filter(|_| json.is_some());
    let strings = text
        .into_iter()
        .flat_map(with_strings)
        .map(move |(by, text)| {
            variant(
                text,
                format!("signed is the same JSON {by}, white space as sent"),
            )
        });
    let forms = json.into_iter().flat_map(move |json| {
        all().map(move |(form, by)| {
            variant(
                form.write(&json),
                format!("signed is the same JSON {}, {by}", form.words()),
            )
        })
    });
    // What editors and command-line tools write ends in a line end.
    let indented = Json::read(body).into_iter().flat_map(move |json| {
        all().take(18).map(move |(form, by)| {
            variant(
                form.write(&json) + "\n",
                format!(
                    "signed is the same JSON {}, {by}, with a line end after it",
                    form.words()
                ),
            )
        })
    });
    strings.chain(forms).chain(indented)
}
