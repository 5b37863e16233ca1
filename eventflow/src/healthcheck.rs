//! `eventflow healthcheck`: one request to a role on this machine, for images without a shell.

use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Ask a role on this machine whether it is alive
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// Address of the role's /health and /ready: its own --ops-listen (of registry and simulator: --listen)
    #[arg(long, env = "EVENTFLOW_OPS_LISTEN", default_value = "127.0.0.1:9100")]
    ops_listen: SocketAddr,
    /// Ask whether the role can do its job now (/ready), not only whether it is alive (/health)
    #[arg(long)]
    ready: bool,
    /// Time limit, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut address = config.ops_listen;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        };
        address.set_ip(loopback);
    }
    let path = if config.ready { "ready" } else { "health" };
    let client = runtime::http_client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(config.seconds))
        .build()?;
    let answer = client.get(format!("http://{address}/{path}")).send().await;
    let answer = answer
        .with_context(|| {
            format!(
                "nothing answers at {address} within {} s; check that the role is running, and --ops-listen",
                config.seconds
            )
        })?;
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    anyhow::ensure!(status.is_success(), "{status}: {}", text.trim());
    println!("{}", text.trim());
    Ok(())
}
