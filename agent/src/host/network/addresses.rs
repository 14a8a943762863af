//! Addresses of this host, and whether another address can be reached.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{errno::Errno, ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use tokio::net::TcpStream;

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

impl LocalAddress {
    /// True if the interface is one that the engine made for its containers.
    pub fn is_engines_own(&self) -> bool {
        is_made(&self.interface)
    }
}

/// True if an engine gives its interfaces such a name (moby libnetwork): the default bridge, `br-` and twelve digits of
/// a network's id, and `veth` and seven random ones (`drivers/bridge`), and the bridge to overlay networks
/// (`default_gateway_linux.go`). A bridge that an operator named, such as `br-lan`, is not one of them.
fn is_made(interface: &str) -> bool {
    let is_hex = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let has = |prefix: &str, digits: usize| {
        interface.strip_prefix(prefix).is_some_and(|rest| rest.len() == digits && is_hex(rest))
    };
    ["docker0", "docker_gwbridge"].contains(&interface) || has("br-", 12) || has("veth", 7)
}

/// True if one of them is `ip`.
pub fn has(addresses: &[LocalAddress], ip: IpAddr) -> bool {
    addresses.iter().any(|local| local.ip == ip)
}

/// The addresses that another host could reach.
pub fn global(addresses: &[LocalAddress]) -> impl Iterator<Item = &LocalAddress> {
    addresses.iter().filter(|address| !address.ip.is_loopback() && !is_link_local(address.ip))
}

/// The global addresses that are not the engine's, of the same family as `like`.
pub fn usable(addresses: &[LocalAddress], like: IpAddr) -> Vec<&LocalAddress> {
    let same_family = |local: &&LocalAddress| local.ip.is_ipv4() == like.is_ipv4();
    global(addresses).filter(same_family).filter(|local| !local.is_engines_own()).collect()
}

/// The global addresses, for an operator, as `192.0.2.7 (eth0), …`.
pub fn describe(addresses: &[LocalAddress]) -> String {
    let shown: Vec<String> =
        global(addresses).map(|address| format!("{} ({})", address.ip, address.interface)).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The result of a probe whether a manager listens at an address.
#[derive(Debug)]
pub enum Answer {
    /// Something accepted a TCP connection.
    Yes,
    /// Nothing accepted one, or it was refused: a host may be up while its manager is gone.
    No,
    /// The probe did not leave this host, so it says nothing about the other one.
    NotAsked(io::Error),
}

/// Probes an address with a TCP connection, for at most `limit`.
pub async fn ask(address: SocketAddr, limit: Duration) -> Answer {
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Answer::Yes,
        Ok(Err(error)) if is_own(&error) => Answer::NotAsked(error),
        Ok(Err(_)) | Err(_) => Answer::No,
    }
}

/// True if something accepts a TCP connection there within `limit`.
pub async fn answers(address: SocketAddr, limit: Duration) -> bool {
    matches!(ask(address, limit).await, Answer::Yes)
}

/// True for an error of this host: no route or one that drops all (EINVAL), no address, a rule of its firewall, no room
/// (connect(2)). EHOSTUNREACH is not among them: it is reported for a host on the same network that is gone.
fn is_own(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::EACCES
                | Errno::EADDRINUSE
                | Errno::EADDRNOTAVAIL
                | Errno::EAFNOSUPPORT
                | Errno::EINVAL
                | Errno::EMFILE
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENFILE
                | Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::EPERM
        )
    )
}

/// True if any interface of this host that is not the engine's has a link (`IFF_RUNNING`, netdevice(7)). Without one,
/// silence says nothing about other hosts. Bridges and veth pairs do not count, whoever made them: they lead to other
/// namespaces of this host, and the interface by which a bridge leads out counts itself.
pub fn has_link() -> Result<bool> {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let interfaces = getifaddrs().context("failed to list the network interfaces of this host")?;
    let leads_out = |name: &str| !["docker", "br-", "veth"].iter().any(|prefix| name.starts_with(prefix));
    let mut own =
        interfaces.filter(|it| !it.flags.contains(InterfaceFlags::IFF_LOOPBACK) && leads_out(&it.interface_name));
    Ok(own.any(|interface| interface.flags.contains(up)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn loopback_is_local_but_not_shown() {
        let addresses = local_addresses().expect("interfaces can be listed");
        assert!(addresses.iter().any(|address| address.ip.is_loopback()));
        assert!(!describe(&addresses).contains("127.0.0.1"));
    }

    #[tokio::test]
    async fn silence_is_not_a_probe_that_did_not_leave_this_host() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
        let there = socket.local_addr().expect("is bound");
        let limit = Duration::from_secs(60);
        assert!(matches!(ask(there, limit).await, Answer::Yes));
        drop(socket);
        assert!(matches!(ask(there, limit).await, Answer::No));
        for (code, expected) in [
            (Errno::ENETUNREACH, true),
            (Errno::EADDRNOTAVAIL, true),
            (Errno::EPERM, true),
            (Errno::EHOSTUNREACH, false),
            (Errno::ECONNREFUSED, false),
            (Errno::ETIMEDOUT, false),
        ] {
            assert_eq!(is_own(&io::Error::from_raw_os_error(code as i32)), expected, "{code}");
        }
    }

    #[test]
    fn a_bridge_of_the_operator_is_not_the_engines() {
        for made in ["docker0", "docker_gwbridge", "br-0123456789ab", "veth0f60e2c"] {
            assert!(is_made(made), "{made}");
        }
        for other in ["br-lan", "br-ex", "br-provisioning", "docker-ext", "docker01", "br0", "veth-mgmt", "eth0"] {
            assert!(!is_made(other), "{other}");
        }
        let at =
            |interface: &str, ip: &str| LocalAddress { interface: interface.into(), ip: ip.parse().expect("is one") };
        let addresses = [at("br-lan", "192.0.2.7"), at("docker0", "172.17.0.1"), at("br-0123456789ab", "172.18.0.1")];
        assert_eq!(usable(&addresses, addresses[0].ip), [&addresses[0]]);
    }
}
