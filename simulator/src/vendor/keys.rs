//! Key pairs of vendors that sign with a private key. EventFlow has only their public keys; who plays such a vendor makes a pair.

use anyhow::Context;
use contracts::webhook::scheme::Algorithm;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;

/// Bits of an RSA key.
const RSA_BITS: u32 = 2048;

/// A private key.
#[derive(Clone)]
pub struct PrivateKey {
    key: PKey<Private>,
    algorithm: Algorithm,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm.words())
    }
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// The algorithm signs with no private key, or OpenSSL fails.
    pub fn generate(algorithm: Algorithm) -> anyhow::Result<Self> {
        let key = match algorithm {
            Algorithm::Ed25519 => PKey::generate_ed25519()?,
            Algorithm::EcdsaP256Sha256 => {
                let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
                PKey::from_ec_key(EcKey::generate(&curve)?)?
            }
            Algorithm::RsaSha256 => PKey::from_rsa(Rsa::generate(RSA_BITS)?)?,
            Algorithm::HmacSha256
            | Algorithm::HmacSha512
            | Algorithm::HmacSha1
            | Algorithm::Token
            | Algorithm::Basic => anyhow::bail!("{} has no private key", algorithm.words()),
        };
        Ok(Self { key, algorithm })
    }

    /// Reads a key that [`pem`](Self::pem) wrote.
    ///
    /// # Errors
    /// It is no private key in PEM.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> anyhow::Result<Self> {
        let key = PKey::private_key_from_pem(pem).context("it is no private key in PEM")?;
        Ok(Self { key, algorithm })
    }

    /// The private key in PEM (PKCS #8).
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn pem(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.key.private_key_to_pem_pkcs8()?)
    }

    /// The public key in PEM: the secret of the vendor's source.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn public_pem(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.key.public_key_to_pem()?)
    }

    /// The signature of a message; nothing, which no edge accepts, where OpenSSL fails.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signer = match self.algorithm {
            Algorithm::Ed25519 => Signer::new_without_digest(&self.key),
            _ => Signer::new(MessageDigest::sha256(), &self.key),
        };
        let signed = signer.and_then(|mut signer| signer.sign_oneshot_to_vec(message));
        signed.unwrap_or_else(|error| {
            tracing::error!(event = "not_signed", %error);
            Vec::new()
        })
    }
}
