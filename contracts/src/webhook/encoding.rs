//! Bytes as text and back, one spelling for the same bytes: whatever else spells them is refused.

use super::scheme::Encoding;
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

impl Encoding {
    /// Characters of so many bytes.
    pub(crate) fn characters(self, bytes: usize) -> usize {
        match self {
            Self::Hex => bytes * 2,
            Self::Base64 | Self::Base64url => bytes.div_ceil(3) * 4,
            Self::Base64Unpadded | Self::Base64urlUnpadded => (bytes * 4).div_ceil(3),
        }
    }

    /// Decodes into `bytes` and returns how many; `None` for another spelling than the one that [`encode`](Self::encode) has, or for more.
    pub(crate) fn decode_slice(self, text: &str, bytes: &mut [u8]) -> Option<usize> {
        let Some(engine) = self.engine() else {
            if !text.len().is_multiple_of(2) || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return None;
            }
            let target = bytes.get_mut(..text.len() / 2)?;
            return hex::decode_to_slice(text, target)
                .ok()
                .map(|()| text.len() / 2);
        };
        engine.decode_slice(text, bytes).ok()
    }

    /// As [`decode_slice`](Self::decode_slice), of any length.
    pub(crate) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self.engine() {
            Some(engine) => engine.decode(text).ok(),
            None if text.bytes().any(|byte| byte.is_ascii_uppercase()) => None,
            None => hex::decode(text).ok(),
        }
    }

    /// Decodes the text of a secret, which people write: hexadecimal may have capitals.
    pub(crate) fn decode_secret(self, text: &[u8]) -> Option<Vec<u8>> {
        match self.engine() {
            Some(engine) => engine.decode(text).ok(),
            None => hex::decode(text).ok(),
        }
    }

    /// The text.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self.engine() {
            Some(engine) => engine.encode(bytes),
            None => hex::encode(bytes),
        }
    }

    fn engine(self) -> Option<&'static GeneralPurpose> {
        match self {
            Self::Hex => None,
            Self::Base64 => Some(&STANDARD),
            Self::Base64Unpadded => Some(&STANDARD_NO_PAD),
            Self::Base64url => Some(&URL_SAFE),
            Self::Base64urlUnpadded => Some(&URL_SAFE_NO_PAD),
        }
    }
}
