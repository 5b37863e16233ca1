//! Logging in with a token: Amazon MSK with IAM. Every client's context passes the client's request for a token on to here.

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::error::KafkaError;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest the credentials may take.
#[cfg(feature = "msk-iam")]
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// The context of a client that only queries.
#[derive(Debug, Default)]
pub struct Login {
    answered: AtomicBool,
}

impl Login {
    /// Whether the client's request for a token was answered, with one or with an error.
    pub(crate) fn answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }
}

impl ClientContext for Login {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = token();
        self.answered.store(true, Ordering::Release);
        token
    }

    /// Every call answers with its own error. What else is reported, such as the end of a partition, is routine.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "kafka_client_notice", %error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Login {}

#[cfg(test)]
mod tests;
#[cfg(not(test))]
use msk_iam_token as msk_iam;
#[cfg(test)]
use tests::token_of as msk_iam;

/// The token a client requested. Blocks for as long as the credentials take, at most ten seconds.
pub(crate) fn token() -> Result<OAuthToken, Box<dyn Error>> {
    match msk_iam() {
        Ok((token, lifetime_ms)) => Ok(OAuthToken {
            token,
            principal_name: String::new(),
            lifetime_ms,
        }),
        Err(error) => {
            tracing::warn!(
                event = "kafka_token_unavailable",
                error = format!("{error:#}"),
                "retrying"
            );
            Err(error.into())
        }
    }
}

/// A signed token for Amazon MSK and when it ends, in milliseconds since the epoch, from the process's AWS credentials (a task's role, the
/// environment, a profile) and the region in `AWS_REGION`. Blocks, at most ten seconds.
///
/// # Errors
/// No credentials, no region, or no answer in time; or this program was built without `msk-iam`.
#[cfg(feature = "msk-iam")]
pub fn msk_iam_token() -> anyhow::Result<(String, i64)> {
    use anyhow::Context;
    use aws_msk_iam_sasl_signer::generate_auth_token;
    let region = std::env::var("AWS_REGION")
        .context("AWS_REGION is not set; set it to the cluster's region")?;
    // The caller may be a thread of a runtime, which cannot wait for another one.
    let signing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let token = runtime.block_on(async {
            tokio::time::timeout(
                DEADLINE,
                generate_auth_token(aws_types::region::Region::new(region)),
            )
            .await
        });
        Ok(token.context(
            "AWS gave no credentials within 10 s; check the role or profile of this process",
        )??)
    });
    signing
        .join()
        .map_err(|_| anyhow::anyhow!("signing failed"))?
}

/// Stands for the function of the feature `msk-iam` in a program built without it.
///
/// # Errors
/// Always.
#[cfg(not(feature = "msk-iam"))]
pub fn msk_iam_token() -> anyhow::Result<(String, i64)> {
    anyhow::bail!("this program was built without msk-iam; build it with --features msk-iam")
}
