//! The server's certificate, from PEM files.

use crate::config_error::ConfigError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate in use, and the files it came from.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    read_at: [Option<SystemTime>; 2],
    acceptor: TlsAcceptor,
}

impl Certificates {
    /// Reads the chain and its private key, both PEM.
    ///
    /// # Errors
    /// Names `--tls-cert` or `--tls-key`, and the file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, ConfigError> {
        let read_at = [modified(certificate), modified(key)];
        let bad = |flag: &str, path: &Path, problem: String| {
            ConfigError::new(flag, format!("{}: {problem}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| bad("--tls-cert", certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(bad(
                "--tls-cert",
                certificate,
                "has no certificate in PEM form".to_owned(),
            ));
        }
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| bad("--tls-key", key, error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions();
        let config = config
            .map_err(|error| bad("--tls-cert", certificate, error.to_string()))?
            .with_no_client_auth();
        let mut config = config
            .with_single_cert(chain, private)
            .map_err(|error| bad("--tls-key", key, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            read_at,
            acceptor,
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// What is in the files now. While that cannot be used, what was there before.
    pub(super) fn reloaded(self) -> Self {
        if self.read_at == [modified(&self.certificate), modified(&self.key)] {
            return self;
        }
        match Self::load(&self.certificate, &self.key) {
            Ok(new) => {
                tracing::info!(event = "certificate_reloaded");
                new
            }
            Err(error) => {
                tracing::warn!(event = "certificate_unusable", %error, "the old one stays in use");
                self
            }
        }
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}
