//! Keyed hashing: a MAC state that is keyed once and cloned for each use, and digests that live on the stack.

use super::scheme::{Algorithm, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

/// Longest digest, in bytes.
const MAX_DIGEST_BYTES: usize = 64;
/// What base64 may write at most while it decodes the longest digest.
const DECODE_BYTES: usize = 66;

/// A MAC state with its key in it.
#[derive(Clone)]
pub(crate) enum Keyed {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
    Sha1(Hmac<Sha1>),
}

impl Keyed {
    /// Keys the algorithm; `None` when it is no MAC or cannot use such a key.
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HmacSha256 => Self::Sha256(KeyInit::new_from_slice(key).ok()?),
            Algorithm::HmacSha512 => Self::Sha512(KeyInit::new_from_slice(key).ok()?),
            Algorithm::HmacSha1 => Self::Sha1(KeyInit::new_from_slice(key).ok()?),
            Algorithm::Ed25519
            | Algorithm::EcdsaP256Sha256
            | Algorithm::RsaSha256
            | Algorithm::Token
            | Algorithm::Basic => return None,
        })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
            Self::Sha1(mac) => mac.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(mac) => Digest::new(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => Digest::new(&mac.finalize().into_bytes()),
            Self::Sha1(mac) => Digest::new(&mac.finalize().into_bytes()),
        }
    }
}

/// A digest, computed or presented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest {
    bytes: [u8; MAX_DIGEST_BYTES],
    length: usize,
}

impl Digest {
    fn new(digest: &[u8]) -> Self {
        let mut bytes = [0; MAX_DIGEST_BYTES];
        bytes[..digest.len()].copy_from_slice(digest);
        Self {
            bytes,
            length: digest.len(),
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Compares in constant time. Both are of the algorithm's length: what is presented was refused otherwise.
    pub(crate) fn ct_eq(&self, other: &Self) -> Choice {
        self.as_slice().ct_eq(other.as_slice())
    }

    /// Reads the text form of a digest of exactly `length` bytes; `None` for any other length or alphabet.
    pub(crate) fn decode(encoded: &str, encoding: Encoding, length: usize) -> Option<Self> {
        if encoded.len() != encoding.characters(length) {
            return None;
        }
        let mut bytes = [0; DECODE_BYTES];
        let written = encoding.decode_slice(encoded, &mut bytes)?;
        (written == length).then(|| Self::new(&bytes[..length]))
    }

    /// The text form.
    pub(crate) fn encode(&self, encoding: Encoding) -> String {
        encoding.encode(self.as_slice())
    }
}
