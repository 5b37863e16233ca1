//! One look at a role: `/ready` and `/metrics` of each of its instances, within a deadline, and never more than so many bytes.

use super::figures;
use super::observed::Instance;
use super::roles::RoleUrl;
use crate::query::plain;
use futures_util::future::join_all;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Longest wait for one answer; also for the addresses of a name.
const DEADLINE: Duration = Duration::from_millis(1500);
/// Largest answers that are read.
const READY_BYTES: usize = 64 << 10;
const METRICS_BYTES: usize = 8 << 20;
/// Most instances of one name that are looked at.
const INSTANCES: usize = 64;
/// Longest reason, in characters.
const REASON: usize = 300;

/// What an instance says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// `check: reason`
    pub(super) reasons: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What `/ready` answers.
#[derive(Deserialize)]
struct Answer {
    ready: bool,
    #[serde(default)]
    reasons: Vec<Check>,
    #[serde(default)]
    warnings: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    reason: String,
}

/// Asks.
pub(super) struct Scraper(reqwest::Client);

impl Scraper {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let client = runtime::http_client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(DEADLINE)
            .build()?;
        Ok(Self(client))
    }

    /// Every instance of a role. A name without an address is one instance that does not answer.
    pub(super) async fn look(&self, role: &RoleUrl, stores: bool) -> Vec<Instance> {
        let addresses = match addresses(role).await {
            Ok(addresses) => addresses,
            Err(problem) => {
                return vec![Instance::silent(
                    format!("{}:{}", role.host, role.port),
                    problem,
                )];
            }
        };
        let looks = addresses.into_iter().map(|address| async move {
            match self.ask(role, stores, address).await {
                Ok(instance) => instance,
                Err(problem) => Instance::silent(address.to_string(), problem),
            }
        });
        join_all(looks).await
    }

    async fn ask(
        &self,
        role: &RoleUrl,
        stores: bool,
        address: SocketAddr,
    ) -> Result<Instance, String> {
        let (ready, metrics) = tokio::join!(
            self.get(address, "ready", READY_BYTES),
            self.get(address, "metrics", METRICS_BYTES)
        );
        let answer: Answer = serde_json::from_slice(&ready?.1)
            .map_err(|_| "its /ready is not that of a role; check --role".to_owned())?;
        let (answered, metrics) = metrics?;
        if answered != 200 {
            return Err(format!(
                "{address} answers {answered} to /metrics; give --role the address of --ops-listen"
            ));
        }
        let list = |checks: Vec<Check>| {
            let text = |it: Check| plain(&format!("{}: {}", it.check, it.reason), REASON);
            checks.into_iter().map(text).collect()
        };
        Ok(Instance {
            id: address.to_string(),
            readiness: Ok(Readiness {
                ready: answer.ready,
                reasons: list(answer.reasons),
                warnings: list(answer.warnings),
            }),
            page: figures::read(&role.role, stores, &String::from_utf8_lossy(&metrics)),
        })
    }

    /// 503 is an answer too: of a role that is not ready.
    async fn get(
        &self,
        address: SocketAddr,
        path: &str,
        most: usize,
    ) -> Result<(u16, Vec<u8>), String> {
        let problem = |error: reqwest::Error| {
            let why = if error.is_timeout() {
                format!("does not answer within {} ms", DEADLINE.as_millis())
            } else if error.is_connect() {
                "refuses the connection".to_owned()
            } else {
                error.without_url().to_string()
            };
            format!("{address} {why}")
        };
        let request = self.0.get(format!("http://{address}/{path}"));
        let mut response = request.send().await.map_err(problem)?;
        let (status, mut body) = (response.status().as_u16(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(problem)? {
            if body.len() + chunk.len() > most {
                return Err(format!("{address} /{path} is larger than {most} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

async fn addresses(role: &RoleUrl) -> Result<BTreeSet<SocketAddr>, String> {
    let RoleUrl { host, port, .. } = role;
    let found = tokio::net::lookup_host((host.as_str(), *port));
    let found = match tokio::time::timeout(DEADLINE, found).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(format!("{host} has no address: {error}")),
        Err(_) => return Err(format!("the addresses of {host} are not answered in time")),
    };
    // A name that has addresses of both families, as localhost, is one instance twice.
    let all: BTreeSet<SocketAddr> = found.collect();
    let four: BTreeSet<SocketAddr> = all.iter().copied().filter(SocketAddr::is_ipv4).collect();
    let one_family = if four.is_empty() { all } else { four };
    if one_family.is_empty() {
        return Err(format!("{host} has no address"));
    }
    Ok(one_family.into_iter().take(INSTANCES).collect())
}
