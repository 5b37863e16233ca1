//! The API's certificate, from PEM files.

use runtime::config::ConfigError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longest a client may take over its handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// A certificate in use, and the files it came from.
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    read_at: [Option<SystemTime>; 2],
    acceptor: TlsAcceptor,
}

impl Certificates {
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, ConfigError> {
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

    /// What is in the files now, if they changed since they were read.
    pub(super) fn again(&self) -> Result<Option<Self>, ConfigError> {
        if self.read_at == [modified(&self.certificate), modified(&self.key)] {
            return Ok(None);
        }
        Self::load(&self.certificate, &self.key).map(Some)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}
