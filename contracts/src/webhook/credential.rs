//! What a secret becomes: a keyed MAC, a public key, or a token to compare with.

use super::mac::{Digest, Keyed};
use super::scheme::{Algorithm, Encoding, KeyDigest, Method, Scheme};
use crate::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use sha1::{Digest as _, Sha1};
use std::borrow::Cow;
use subtle::Choice;
use webpki::{EndEntityCert, RawPublicKeyEntity};

/// The DER of an Ed25519 public key but for its 32 bytes (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A signature as presented: decoded, and of a length that it can have.
#[derive(Debug, Clone)]
pub(crate) enum Signature {
    Digest(Digest),
    /// Of a public key, or a token's text
    Bytes(Vec<u8>),
}

impl Signature {
    /// Decodes the text of a signature by its shape alone.
    pub(crate) fn decode(scheme: &Scheme, text: &str) -> Option<Self> {
        let (least, most) = scheme.algorithm.signature_bytes();
        match scheme.algorithm.method() {
            Method::Mac => Digest::decode(text, scheme.encoding, most).map(Self::Digest),
            Method::Token => (least..=most)
                .contains(&text.len())
                .then(|| Self::Bytes(text.as_bytes().to_vec())),
            Method::PublicKey => {
                if text.len() > scheme.encoding.characters(most) {
                    return None;
                }
                let bytes = scheme.encoding.decode(text)?;
                let der = scheme.algorithm != Algorithm::EcdsaP256Sha256 || is_whole_der(&bytes);
                ((least..=most).contains(&bytes.len()) && der).then_some(Self::Bytes(bytes))
            }
        }
    }
}

/// A SEQUENCE whose length byte is that of what follows: nothing cut off, nothing added.
fn is_whole_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, length, rest @ ..] if usize::from(*length) == rest.len())
}

/// A secret, ready to verify with.
pub(crate) enum Credential {
    /// Keyed once; cloned for each use.
    Mac(Box<Keyed>),
    PublicKey {
        spki: SubjectPublicKeyInfoDer<'static>,
        algorithm: &'static dyn SignatureVerificationAlgorithm,
    },
    Token(Secret),
    /// Of a secret that was not read: nothing matches it.
    Unread,
}

impl Credential {
    /// Makes a secret ready. The error names no byte of it.
    pub(crate) fn new(scheme: &Scheme, secret: &Secret) -> Result<Self, String> {
        if secret.is_unread() {
            return Ok(Self::Unread);
        }
        let text = secret.expose();
        let text = text
            .strip_prefix(scheme.key.prefix.as_bytes())
            .unwrap_or(text);
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        match scheme.algorithm {
            Algorithm::Token => Ok(Self::Token(Secret::new(text))),
            Algorithm::Basic if !text.contains(&b':') => {
                Err("is no user:password; write both, with a colon between them".to_owned())
            }
            Algorithm::Basic => Ok(Self::Token(Secret::new(STANDARD.encode(text)))),
            Algorithm::HmacSha256 | Algorithm::HmacSha512 | Algorithm::HmacSha1 => {
                let key = mac_key(scheme, text)?;
                Keyed::new(scheme.algorithm, &key)
                    .map(|keyed| Self::Mac(Box::new(keyed)))
                    .ok_or_else(|| "is no key for this algorithm".to_owned())
            }
            Algorithm::Ed25519 => Self::public_key(scheme, text, webpki::ring::ED25519),
            Algorithm::EcdsaP256Sha256 => {
                Self::public_key(scheme, text, webpki::ring::ECDSA_P256_SHA256)
            }
            Algorithm::RsaSha256 => {
                Self::public_key(scheme, text, webpki::ring::RSA_PKCS1_2048_8192_SHA256)
            }
        }
    }

    fn public_key(
        scheme: &Scheme,
        text: &[u8],
        algorithm: &'static dyn SignatureVerificationAlgorithm,
    ) -> Result<Self, String> {
        let spki = spki(scheme, text).ok_or(
            "is no public key: give it in PEM (PUBLIC KEY or CERTIFICATE), or encoded as the scheme's key says",
        )?;
        let entity = RawPublicKeyEntity::try_from(&spki);
        let probe = entity.and_then(|key| key.verify_signature(algorithm, b"", b""));
        match probe {
            // The one answer of a key that fits: the empty signature is not its own.
            Err(webpki::Error::InvalidSignatureForPublicKey) => {
                Ok(Self::PublicKey { spki, algorithm })
            }
            _ => Err(format!(
                "is a public key of another kind than {}",
                scheme.algorithm.words()
            )),
        }
    }

    /// Whether one of the presented signatures is this secret's. No early exit among digests: which of several matched does not show in
    /// the time taken.
    pub(crate) fn matches(&self, signed: &[Cow<'_, [u8]>], presented: &[Signature]) -> bool {
        match self {
            Self::Mac(keyed) => {
                let digest = mac(keyed, signed);
                let matches = presented.iter().map(|presented| match presented {
                    Signature::Digest(presented) => presented.ct_eq(&digest),
                    Signature::Bytes(_) => Choice::from(0),
                });
                matches
                    .fold(Choice::from(0), |found, matches| found | matches)
                    .into()
            }
            Self::PublicKey { spki, algorithm } => {
                let message = signed.concat();
                let Ok(key) = RawPublicKeyEntity::try_from(spki) else {
                    return false;
                };
                presented.iter().any(|presented| match presented {
                    Signature::Bytes(signature) => key
                        .verify_signature(*algorithm, &message, signature)
                        .is_ok(),
                    Signature::Digest(_) => false,
                })
            }
            Self::Unread => false,
            Self::Token(secret) => presented.iter().fold(false, |found, presented| {
                found | matches!(presented, Signature::Bytes(text) if secret.ct_eq(text))
            }),
        }
    }

    /// The text of a signature over these bytes; `None` for a public key, which cannot sign.
    pub(crate) fn sign(&self, signed: &[Cow<'_, [u8]>], encoding: Encoding) -> Option<String> {
        match self {
            Self::Mac(keyed) => Some(mac(keyed, signed).encode(encoding)),
            Self::PublicKey { .. } | Self::Unread => None,
            Self::Token(secret) => Some(String::from_utf8_lossy(secret.expose()).into_owned()),
        }
    }
}

fn mac(keyed: &Keyed, signed: &[Cow<'_, [u8]>]) -> Digest {
    let mut mac = keyed.clone();
    for piece in signed {
        mac.update(piece);
    }
    mac.finish()
}

fn mac_key(scheme: &Scheme, text: &[u8]) -> Result<Vec<u8>, String> {
    let bytes = match scheme.key.encoding {
        None => Some(text.to_vec()),
        Some(encoding) => encoding.decode_secret(text),
    };
    let bytes =
        bytes.ok_or("is not encoded as the scheme says; check its text and the scheme's key")?;
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(match scheme.key.digest {
        None => bytes,
        Some(KeyDigest::Sha1) => Sha1::digest(&bytes).to_vec(),
    })
}

/// The public key of a PEM file, of a certificate in one, or of encoded DER; of Ed25519 also the 32 bytes alone.
fn spki(scheme: &Scheme, text: &[u8]) -> Option<SubjectPublicKeyInfoDer<'static>> {
    if text.starts_with(b"-----BEGIN ") {
        if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(text) {
            return Some(key);
        }
        let certificate = CertificateDer::from_pem_slice(text).ok()?;
        let certificate = EndEntityCert::try_from(&certificate).ok()?;
        return Some(certificate.subject_public_key_info());
    }
    let bytes = match scheme.key.encoding {
        None => text.to_vec(),
        Some(encoding) => encoding.decode_secret(text)?,
    };
    if scheme.algorithm == Algorithm::Ed25519 && bytes.len() == 32 {
        return Some([&ED25519_SPKI, bytes.as_slice()].concat().into());
    }
    Some(bytes.into())
}
