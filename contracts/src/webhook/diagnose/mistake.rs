//! The mistakes that are known: what each means, and what to do about it.

/// A known reason why a request that its sender takes for genuine is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each says what it is in `meaning`")]
pub enum Mistake {
    HeadersMissing,
    HeaderDoubled,
    OtherScheme,
    OtherHeader,
    SignatureCutOff,
    SignatureEncoding,
    SignaturePrefix,
    SignatureCharacters,
    OtherAlgorithm,
    OtherParts,
    TimeUnit,
    ClockSkew,
    SecretExpired,
    SecretDecoding,
    SecretWhiteSpace,
    OtherSecret,
    UrlDiffers,
    BodyLineEnds,
    BodyReserialized,
    BodyOfForm,
    BodyCompressed,
    BodyCharacters,
    BodyQuoted,
    BodyEmpty,
}

impl Mistake {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 24] = [
        Self::HeadersMissing,
        Self::HeaderDoubled,
        Self::OtherScheme,
        Self::OtherHeader,
        Self::SignatureCutOff,
        Self::SignatureEncoding,
        Self::SignaturePrefix,
        Self::SignatureCharacters,
        Self::OtherAlgorithm,
        Self::OtherParts,
        Self::TimeUnit,
        Self::ClockSkew,
        Self::SecretExpired,
        Self::SecretDecoding,
        Self::SecretWhiteSpace,
        Self::OtherSecret,
        Self::UrlDiffers,
        Self::BodyLineEnds,
        Self::BodyReserialized,
        Self::BodyOfForm,
        Self::BodyCompressed,
        Self::BodyCharacters,
        Self::BodyQuoted,
        Self::BodyEmpty,
    ];

    /// Stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::HeadersMissing => "headers_missing",
            Self::HeaderDoubled => "header_doubled",
            Self::OtherScheme => "other_scheme",
            Self::OtherHeader => "other_header",
            Self::SignatureCutOff => "signature_cut_off",
            Self::SignatureEncoding => "signature_encoding",
            Self::SignaturePrefix => "signature_prefix",
            Self::SignatureCharacters => "signature_characters",
            Self::OtherAlgorithm => "other_algorithm",
            Self::OtherParts => "other_parts",
            Self::TimeUnit => "time_unit",
            Self::ClockSkew => "clock_skew",
            Self::SecretExpired => "expired_secret",
            Self::SecretDecoding => "secret_decoding",
            Self::SecretWhiteSpace => "secret_white_space",
            Self::OtherSecret => "other_secret",
            Self::UrlDiffers => "url_differs",
            Self::BodyLineEnds => "body_line_ends",
            Self::BodyReserialized => "body_reserialized",
            Self::BodyOfForm => "body_of_form",
            Self::BodyCompressed => "body_compressed",
            Self::BodyCharacters => "body_characters",
            Self::BodyQuoted => "body_quoted",
            Self::BodyEmpty => "body_empty",
        }
    }

    /// What it is.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::HeadersMissing => "A header that the scheme needs is missing",
            Self::HeaderDoubled => "A header that the scheme reads came more than once",
            Self::OtherScheme => "The request is signed as another vendor signs",
            Self::OtherHeader => "The signature is right, and in another header",
            Self::SignatureCutOff => "The signature is cut off",
            Self::SignatureEncoding => "The signature is written in another encoding",
            Self::SignaturePrefix => "The signature has another prefix, or none",
            Self::SignatureCharacters => {
                "The signature has quotes, spaces or capitals that do not belong there"
            }
            Self::OtherAlgorithm => "The signature is made with another algorithm",
            Self::OtherParts => "Other parts of the request are signed, or in another order",
            Self::TimeUnit => "The timestamp is in another unit",
            Self::ClockSkew => "The signature matches; the timestamp is outside the window",
            Self::SecretExpired => "The signature matches, by a secret past its not_after",
            Self::SecretDecoding => "The sender decodes the secret's text in another way",
            Self::SecretWhiteSpace => "The sender's secret has white space at an end",
            Self::OtherSecret => "The signature is made with a secret of another source",
            Self::UrlDiffers => "The sender signs another URL than public_url",
            Self::BodyLineEnds => "The signed body has other line ends, or a line end more or less",
            Self::BodyReserialized => "The signed body is the same JSON, written in another way",
            Self::BodyOfForm => "The content of a form field is signed, not the form",
            Self::BodyCompressed => "The body is compressed, and the plain bytes are signed",
            Self::BodyCharacters => "The signed body has another character encoding",
            Self::BodyQuoted => "The body is JSON inside a JSON text, and one of the two is signed",
            Self::BodyEmpty => "The sender signs an empty body",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::HeadersMissing => {
                "Send it. If the vendor does, look for a proxy on the way that drops it"
            }
            Self::HeaderDoubled => "Send it once; look for a proxy on the way that adds it again",
            Self::OtherScheme => {
                "Give the source the preset of the vendor that really sends, or post to that vendor's URL"
            }
            Self::OtherHeader => {
                "Set scheme.signature_header of the source to the header that is sent"
            }
            Self::SignatureCutOff => {
                "Look for a length limit where the signature is stored or sent"
            }
            Self::SignatureEncoding => {
                "Set scheme.encoding of the source to the encoding that is sent, or encode as the scheme says"
            }
            Self::SignaturePrefix => {
                "Set scheme.prefix of the source to the prefix that is sent, or send the one that the scheme says"
            }
            Self::SignatureCharacters => {
                "Send the signature alone, in lower case where it is hexadecimal"
            }
            Self::OtherAlgorithm => "Set scheme.algorithm of the source to the one that is used",
            Self::OtherParts => {
                "Set scheme.template of the source to what is signed, or sign what the scheme says"
            }
            Self::TimeUnit => {
                "Set scheme.timestamp_format of the source to the unit that is sent, or send the one that the scheme says"
            }
            Self::ClockSkew => {
                "Check the clock of the sender, then how long the request waited on its way; a request that is sent again must be signed again"
            }
            Self::SecretExpired => "Give the sender a current secret of the source",
            Self::SecretDecoding => {
                "Set scheme.key of the source to how the sender reads the secret, or have the sender read it as the scheme says"
            }
            Self::SecretWhiteSpace => {
                "Enter the secret again at the sender, without a space or line end"
            }
            Self::OtherSecret => {
                "Give the sender a secret of this source, or have it post to the URL of the source whose secret it has"
            }
            Self::UrlDiffers => {
                "Set public_url of the source to the URL that the vendor has, character by character"
            }
            Self::BodyLineEnds => "Sign and send the same bytes, line ends included",
            Self::BodyReserialized => {
                "Sign and send the same bytes: serialize once. Look also for a proxy on the way that writes JSON again"
            }
            Self::BodyOfForm => "Sign the body as it is sent, percent-encoded",
            Self::BodyCompressed => {
                "Send the body as it was signed; look for a proxy on the way that compresses it"
            }
            Self::BodyCharacters => {
                "Sign and send the same bytes, in UTF-8 without a byte order mark"
            }
            Self::BodyQuoted => "Serialize the event once: sign and send the same bytes",
            Self::BodyEmpty => "Sign after the body is complete",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_code_of_its_own() {
        let codes: BTreeSet<_> = Mistake::ALL.iter().map(|mistake| mistake.code()).collect();
        assert_eq!(codes.len(), Mistake::ALL.len());
    }
}
