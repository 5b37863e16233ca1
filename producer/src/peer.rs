//! Whose request it is, for the shares of one address: the connection's other end, or, behind proxies that are trusted, whom they name.

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use runtime::http::{Peer, network_of};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Proxies whose `X-Forwarded-For` is believed. Anybody else may write into it what they like.
#[derive(Debug)]
pub(crate) struct TrustedProxies(pub(crate) Vec<IpNet>);

impl TrustedProxies {
    /// The client's address, or its network ([`network_of`]). Each proxy appends whom it heard, so the list is read from its end, as far as proxies are trusted.
    pub(crate) fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions.get::<Peer>();
        let mut client = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0);
        let lines = headers.get_all("x-forwarded-for");
        let mut named = lines.iter().rev().flat_map(|line| {
            let line = line.to_str().unwrap_or_default();
            line.rsplit(',').map(|name| address(name.trim()))
        });
        while self.0.iter().any(|proxy| proxy.contains(&client)) {
            let Some(Some(next)) = named.next() else {
                break;
            };
            client = next;
        }
        network_of(client)
    }
}

/// An address, which some proxies write with its port.
fn address(name: &str) -> Option<IpAddr> {
    let bare = name.parse().ok();
    bare.or_else(|| name.parse().ok().map(|at: SocketAddr| at.ip()))
        .map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_about_its_own_client() {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        for (peer, forwarded, expected) in [
            ("1.2.3.4", &["9.9.9.9"][..], "1.2.3.4"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["9.9.9.9"], "9.9.9.9"),
            // What a client wrote itself stands before what the proxy appended.
            ("10.0.0.1", &["8.8.8.8, 9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["8.8.8.8", "9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["8.8.8.8, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", &["9.9.9.9:4711"], "9.9.9.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::"),
            ("10.0.0.1", &["9.9.9.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("2001:db8:0:1:2:3:4:5", &[], "2001:db8:0:1::"),
        ] {
            let mut extensions = Extensions::new();
            extensions.insert(Peer(peer.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(
                proxies.client(&extensions, &headers),
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {forwarded:?}"
            );
        }
    }
}
