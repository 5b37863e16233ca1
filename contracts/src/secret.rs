//! A secret: bytes that are never shown.

use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// Key material, a password or a URL that holds one. `Debug` and `Display` print `[redacted]`; `==` is as constant in time as
/// [`Secret::ct_eq`].
#[derive(Clone)]
pub struct Secret(Option<Vec<u8>>);

impl Secret {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Some(bytes.into()))
    }

    /// A secret that was not read, where only what surrounds it is looked at: it verifies nothing.
    #[must_use]
    pub fn unread() -> Self {
        Self(None)
    }

    /// Whether it was not read.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Compares in constant time; digests are compared, so that not even the length shows.
    #[must_use]
    pub fn ct_eq(&self, given: &[u8]) -> bool {
        Sha256::digest(self.expose())
            .ct_eq(&Sha256::digest(given))
            .into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is_unread() == other.is_unread() && self.ct_eq(other.expose())
    }
}

impl Eq for Secret {}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
