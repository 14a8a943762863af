//! Addresses of this host, and whether somebody answers at another one.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;

/// An address and the interface that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    pub interface: String,
    pub ip: IpAddr,
}

/// All addresses on all interfaces, loopback included, in the kernel's order.
pub fn local_addresses() -> Result<Vec<LocalAddress>> {
    let interfaces = getifaddrs().context("failed to list the network interfaces of this host")?;
    Ok(interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let ip = address
                .as_sockaddr_in()
                .map(|v4| IpAddr::V4(v4.ip()))
                .or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
            Some(LocalAddress { interface: interface.interface_name, ip })
        })
        .collect())
}

/// The addresses that an operator would recognise this host by, as `192.0.2.7 (eth0), …`.
pub fn describe(addresses: &[LocalAddress]) -> String {
    let shown: Vec<String> = addresses
        .iter()
        .filter(|address| !address.ip.is_loopback() && !is_link_local(address.ip))
        .map(|address| format!("{} ({})", address.ip, address.interface))
        .collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// True if something accepts a TCP connection there within `limit`. A refused connection is
/// nobody: a host may be up while its manager is gone.
pub async fn answers(address: SocketAddr, limit: Duration) -> bool {
    let connect = tokio::net::TcpStream::connect(address);
    matches!(tokio::time::timeout(limit, connect).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_local_but_not_shown() {
        let addresses = local_addresses().expect("interfaces can be listed");
        assert!(addresses.iter().any(|address| address.ip.is_loopback()));
        assert!(!describe(&addresses).contains("127.0.0.1"));
    }
}
