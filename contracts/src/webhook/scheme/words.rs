//! A scheme in words, for people who look at a source or a preset.

use super::{Algorithm, Encoding, Method, Scheme};

impl Scheme {
    /// What proves a request, and where it is.
    #[must_use]
    pub fn proof(&self) -> String {
        let place = match (&self.signature_pointer, &self.signature_field) {
            (Some(pointer), _) => format!("{pointer} of the body"),
            (None, Some(field)) => format!("form field {field}"),
            (None, None) => {
                let names = self.signature_header.0.iter();
                let names: Vec<_> = names.chain(&self.more_signature_headers).cloned().collect();
                names.join(" or ")
            }
        };
        let encoding = match self.encoding {
            _ if self.algorithm.method() == Method::Token => "",
            Encoding::Hex => " in hexadecimal",
            Encoding::Base64 => " in base64",
            Encoding::Base64Unpadded => " in base64 without padding",
            Encoding::Base64url => " in base64url",
            Encoding::Base64urlUnpadded => " in base64url without padding",
        };
        let items = self.items.as_ref();
        let each = items.map_or_else(String::new, |items| format!(", for each item of {items}"));
        format!("{}{encoding}, {place}{each}", self.algorithm.words())
    }

    /// The template; `None` when nothing is signed.
    #[must_use]
    pub fn signed(&self) -> Option<String> {
        match self.algorithm {
            Algorithm::Token | Algorithm::Basic => None,
            _ => Some(self.template.clone()),
        }
    }

    /// How old a request may be, and how far ahead.
    #[must_use]
    pub fn window(&self) -> String {
        match self.freshness {
            None => "none: no time is signed".to_owned(),
            Some(freshness) => format!(
                "{} back, {} ahead",
                duration(freshness.past_seconds),
                duration(freshness.future_seconds)
            ),
        }
    }
}

fn duration(seconds: u32) -> String {
    match seconds {
        0..600 => format!("{seconds} s"),
        600..7200 => format!("{} min", seconds / 60),
        7200.. => format!("{} h", seconds / 3600),
    }
}
