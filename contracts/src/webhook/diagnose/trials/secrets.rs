//! Which secret, and how its text becomes a key.

use super::{Found, Mistake, Trials, certain};
use crate::Secret;
use crate::webhook::scheme::{Encoding, KeyDecoding, Scheme};
use crate::webhook::signature::Key;

/// Secrets of other sources that are tried.
const OTHER_SECRETS: usize = 64;

impl Trials<'_> {
    pub(super) fn other_secret(&mut self) -> Option<Found> {
        let mut left = OTHER_SECRETS;
        for other in self
            .all
            .iter()
            .filter(|other| other.name != self.source.name)
        {
            if self.fits_as_sent(&other.verifier) {
                return certain(
                    Mistake::OtherSecret,
                    format!("it is a genuine request of the source {:?}", other.name),
                );
            }
            for key in &other.keys {
                let Some(less) = left.checked_sub(1) else {
                    self.is_cut_short = true;
                    return None;
                };
                left = less;
                let own = self.scheme();
                let as_theirs = Scheme {
                    key: other.verifier.scheme().key.clone(),
                    ..own.clone()
                };
                for scheme in [own.clone(), as_theirs] {
                    let verifier = self.source.verifier_of(scheme, vec![key.clone()]);
                    if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                        return certain(
                            Mistake::OtherSecret,
                            format!(
                                "it is signed with the secret {:?} of the source {:?}",
                                key.id, other.name
                            ),
                        );
                    }
                }
            }
        }
        None
    }

    pub(super) fn secret_text(&mut self) -> Option<Found> {
        let own = self.scheme();
        let readings = [
            (String::new(), None, "as it is, its prefix included"),
            (own.key.prefix.clone(), None, "as text"),
            ("whsec_".to_owned(), None, "as text, without whsec_"),
            (own.key.prefix.clone(), Some(Encoding::Base64), "as base64"),
            (
                "whsec_".to_owned(),
                Some(Encoding::Base64),
                "as base64, without whsec_",
            ),
            (
                own.key.prefix.clone(),
                Some(Encoding::Hex),
                "as hexadecimal",
            ),
        ];
        for (prefix, encoding, words) in readings {
            let key = KeyDecoding {
                prefix,
                encoding,
                ..own.key.clone()
            };
            if key == own.key {
                continue;
            }
            let scheme = Scheme { key, ..own.clone() };
            for key in &self.source.keys {
                let verifier = self.source.verifier_of(scheme.clone(), vec![key.clone()]);
                if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                    return certain(
                        Mistake::SecretDecoding,
                        format!(
                            "the sender takes the text of the secret {:?} {words}",
                            key.id
                        ),
                    );
                }
            }
        }
        for key in &self.source.keys {
            let text = key.secret.expose();
            for (changed, words) in [
                ([text, b"\n"].concat(), "a line end (LF) after it"),
                ([text, b"\r\n"].concat(), "a line end (CRLF) after it"),
                ([text, b" "].concat(), "a space after it"),
                ([b" ", text].concat(), "a space before it"),
                (
                    text.trim_ascii().to_vec(),
                    "no white space around it, and yours has",
                ),
            ] {
                if changed == text {
                    continue;
                }
                let key = Key {
                    secret: Secret::new(changed),
                    ..key.clone()
                };
                let verifier = self.source.verifier_of(own.clone(), vec![key.clone()]);
                if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                    return certain(
                        Mistake::SecretWhiteSpace,
                        format!("the sender's secret {:?} has {words}", key.id),
                    );
                }
            }
        }
        None
    }
}
