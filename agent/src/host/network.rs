//! Addresses of this host, and whether somebody answers at another one.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{errno::Errno, ifaddrs::getifaddrs, net::if_::InterfaceFlags};

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
    /// On an interface that the engine made for its containers.
    pub fn is_engines_own(&self) -> bool {
        is_made(&self.interface)
    }
}

fn is_made(interface: &str) -> bool {
    ["docker", "br-", "veth"].iter().any(|made| interface.starts_with(made))
}

/// Whether one of them is this.
pub fn has(addresses: &[LocalAddress], ip: IpAddr) -> bool {
    addresses.iter().any(|local| local.ip == ip)
}

/// Those that another host could reach.
pub fn global(addresses: &[LocalAddress]) -> impl Iterator<Item = &LocalAddress> {
    addresses.iter().filter(|address| !address.ip.is_loopback() && !is_link_local(address.ip))
}

/// Those of them that are the host's own, of the same family as `like`.
pub fn usable(addresses: &[LocalAddress], like: IpAddr) -> Vec<&LocalAddress> {
    let same_family = |local: &&LocalAddress| local.ip.is_ipv4() == like.is_ipv4();
    global(addresses).filter(same_family).filter(|local| !local.is_engines_own()).collect()
}

/// The addresses that an operator would recognise this host by, as `192.0.2.7 (eth0), …`.
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

/// What came of asking whether a manager listens somewhere.
#[derive(Debug)]
pub enum Answer {
    /// Something accepted a TCP connection.
    Yes,
    /// Nobody did, or somebody refused: a host may be up while its manager is gone.
    No,
    /// The question did not leave this host, so it says nothing of the other one.
    NotAsked(io::Error),
}

/// Asks by a TCP connection, for at most `limit`.
pub async fn ask(address: SocketAddr, limit: Duration) -> Answer {
    match tokio::time::timeout(limit, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Answer::Yes,
        Ok(Err(error)) if is_own(&error) => Answer::NotAsked(error),
        Ok(Err(_)) | Err(_) => Answer::No,
    }
}

/// True if something accepts a TCP connection there within `limit`.
pub async fn answers(address: SocketAddr, limit: Duration) -> bool {
    matches!(ask(address, limit).await, Answer::Yes)
}

/// No route or one that drops all (EINVAL), no address, a rule of this host's firewall, no room (connect(2)). EHOSTUNREACH
/// is not among them: it is how a host on the same network that is gone is reported.
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

/// Whether any interface of this host that is its own has a link (`IFF_RUNNING`, netdevice(7)): without one, silence says
/// nothing of others.
pub fn has_link() -> Result<bool> {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let interfaces = getifaddrs().context("failed to list the network interfaces of this host")?;
    let mut own =
        interfaces.filter(|it| !it.flags.contains(InterfaceFlags::IFF_LOOPBACK) && !is_made(&it.interface_name));
    Ok(own.any(|interface| interface.flags.contains(up)))
}

/// Whether a process of this host accepts TCP connections on this port, on whatever address (proc(5), `net/tcp`).
pub fn is_listening(port: u16) -> Result<bool> {
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) if parse_listening(&text, port) => return Ok(true),
            // No IPv6 in this kernel.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("failed to read {table}"));
            }
            _ => {}
        }
    }
    Ok(false)
}

fn parse_listening(table: &str, port: u16) -> bool {
    /// `TCP_LISTEN` of the kernel.
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        local.is_some_and(|local| local.ends_with(&wanted)) && state == Some(LISTEN)
    })
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

    #[tokio::test]
    async fn silence_is_told_from_a_question_that_did_not_leave_this_host() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
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
    fn a_listening_port_is_told_from_a_connection_on_it() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 00000000:1F0A 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F0B 0100007F:9C40 01 00000000:00000000\n";
        assert!(parse_listening(table, 0x1f0a));
        assert!(!parse_listening(table, 0x1f0b));
        assert!(!parse_listening(table, 0x0a));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = socket.local_addr().expect("is bound").port();
        assert!(is_listening(port).expect("reads"));
    }
}
