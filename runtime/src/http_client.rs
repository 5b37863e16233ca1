//! HTTP clients with one TLS library: ring, which the database's client has as well. reqwest would bring a second one along, whose build in
//! C takes a minute.

use tokio_rustls::rustls::crypto::ring;

/// A client to be configured: it trusts the machine's certificate authorities.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn builder() -> reqwest::ClientBuilder {
    // An error says that this process has one already.
    ring::default_provider().install_default().ok();
    reqwest::Client::builder()
}

/// A client with reqwest's defaults.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "only settings can be wrong")]
pub fn new() -> reqwest::Client {
    builder().build().expect("the defaults are valid")
}
