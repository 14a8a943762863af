//! Connections that this host has at this moment.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// The kernel's tables of TCP sockets; below `self`, which hardened units see too (proc(5), `ProcSubset=pid`).
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// `TCP_ESTABLISHED` of the kernel.
const ESTABLISHED: &str = "01";

/// Returns those of the addresses that a process of this host has a TCP connection to. A table that cannot be read, as
/// that of IPv6 where there is none, counts as empty.
pub fn connected(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let tables = TABLES.map(|table| fs::read_to_string(table).unwrap_or_default());
    let remote: Vec<SocketAddr> = tables.iter().flat_map(|table| established(table)).collect();
    addresses.iter().copied().filter(|address| remote.contains(address)).collect()
}

/// The other ends of a table's connections.
fn established(table: &str) -> impl Iterator<Item = SocketAddr> {
    table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (remote, state) = (fields.get(2)?, fields.get(3)?);
        if *state == ESTABLISHED { parse(remote) } else { None }
    })
}

/// Parses `0100007F:1F0A`: words of 32 bits in this machine's order, and a port.
fn parse(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_counts_while_it_lasts() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("is bound");
        let other = SocketAddr::new(address.ip(), 1);
        assert_eq!(connected(&[address, other]), [], "nobody is connected");
        let connection = TcpStream::connect(address).expect("connects");
        assert_eq!(connected(&[address, other]), [address]);
        drop((connection, listener));
        assert_eq!(connected(&[address]), []);
    }

    #[test]
    fn both_families_are_read_and_other_states_are_not() {
        let port = "0949";
        let v4 = u32::from_ne_bytes([10, 77, 0, 11]);
        let mapped = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
        let table = format!(
            "  sl  local_address rem_address   st\n   0: 00000000:0000 {v4:08X}:{port} 01\n   1: 00000000:0000 {v4:08X}:094A 06\n   \
             2: 0:0 0000000000000000{mapped:08X}{v4:08X}:094B 01\n   3: 0:0 nonsense 01\n   4:\n"
        );
        let found: Vec<String> = established(&table).map(|it| it.to_string()).collect();
        assert_eq!(found, ["10.77.0.11:2377", "10.77.0.11:2379"]);
    }
}
