//! Checks that a manager could listen where it has to, before anything is stopped for it.

use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result};

use crate::outcome::failure::Failure;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: u32,
    name: String,
}

/// Refuses an address that another process than the engine `own` listens on. The engine itself stops listening when it
/// is stopped.
///
/// `own` is called only if the port is taken: naming that process may take seconds.
pub async fn require_free(listen: SocketAddr, own: impl AsyncFnOnce() -> Option<u32>) -> Result<()> {
    let Err(error) = try_to_listen(listen) else { return Ok(()) };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Err(Failure::refused(format!("a manager of the swarm could not listen on {listen} on this host"))
            .advice("free that address and port, then try again; nothing was changed")
            .because(error)
            .into());
    }
    let (own, owners) = (own().await, owners(listen.port())?);
    if own.is_some_and(|own| !owners.is_empty() && owners.iter().all(|owner| owner.pid == own)) {
        return Ok(());
    }
    let shown: Vec<String> = owners
        .iter()
        .filter(|owner| Some(owner.pid) != own)
        .map(|owner| format!("{} (process {})", owner.name.escape_default(), owner.pid))
        .collect();
    let who = if shown.is_empty() { "a process that cannot be seen from here".to_owned() } else { shown.join(", ") };
    Err(Failure::refused(format!(
        "port {} of this host is taken by {who}, and the swarm's manager has to listen on {listen}",
        listen.port()
    ))
    .advice(format!("stop it, or have it listen elsewhere (`ss -ltnp sport = :{}`), then try again", listen.port()))
    .into())
}

/// Listens as the engine does: a wildcard stands for both families at once if there are both (Go `net`,
/// `favoriteAddrFamily`).
fn try_to_listen(listen: SocketAddr) -> io::Result<()> {
    if listen.ip().is_unspecified() {
        let both = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), listen.port());
        match TcpListener::bind(both) {
            // No IPv6 on this host.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {}
            tried => return tried.map(drop),
        }
    }
    TcpListener::bind(listen).map(drop)
}

/// True if a process of this host accepts TCP connections on this port, on any address.
pub fn is_listening(port: u16) -> Result<bool> {
    Ok(!sockets(port)?.is_empty())
}

/// The inodes of the sockets that listen on a port, on any address (proc(5), `net/tcp`).
fn sockets(port: u16) -> Result<Vec<u64>> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(text) => sockets.extend(listening(&text, port)),
            // No IPv6 in this kernel.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to read {table}")),
        }
    }
    Ok(sockets)
}

/// The processes of this host that listen on a port, on any address (proc(5), `PID/fd`).
fn owners(port: u16) -> Result<Vec<Owner>> {
    let sockets: Vec<String> = sockets(port)?.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").context("failed to list the processes of this host")?;
    let mut found: Vec<Owner> = processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            holds(&entry.path(), &sockets).then(|| Owner { pid, name: name_of(&entry.path()) })
        })
        .collect();
    found.sort_by_key(|owner| owner.pid);
    Ok(found)
}

/// The inodes of a table's sockets that listen on the port.
fn listening(table: &str, port: u16) -> impl Iterator<Item = u64> {
    /// `TCP_LISTEN` of the kernel.
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (local.ends_with(&wanted) && *state == LISTEN).then(|| inode.parse().ok())?
    })
}

/// True if the process holds one of the sockets; a process that ends meanwhile holds none.
fn holds(process: &Path, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else { return false };
    let is_one = |target: &Path| sockets.iter().any(|socket| Path::new(socket) == target);
    open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| is_one(&target)))
}

fn name_of(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, process};

    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[tokio::test]
    async fn a_free_port_passes_and_a_taken_one_is_refused_with_its_owner() {
        let own = process::id();
        // On an address of its own: what runs beside this may be given the port that is freed below.
        let [.., third, fourth] = own.to_be_bytes();
        let taken = TcpListener::bind((Ipv4Addr::new(127, 91, third, fourth.max(1)), 0)).expect("binds");
        let address = taken.local_addr().expect("is bound");
        for listen in [address, SocketAddr::new("0.0.0.0".parse().expect("is an address"), address.port())] {
            let rendered = Rendered::of(&require_free(listen, async || None).await.expect_err("is taken"));
            assert_eq!(rendered.exit, Exit::Refused);
            assert!(rendered.what.contains(&format!("(process {own})")), "{rendered}");
            assert_eq!(rendered.advice.len(), 1, "{rendered}");
            require_free(listen, async || Some(own)).await.expect("is the engine's own");
            require_free(listen, async || Some(1)).await.expect_err("is another's");
        }
        drop(taken);
        require_free(address, async || None).await.expect("is free again");
        assert_eq!(try_to_listen(address).map_err(|error| error.kind()), Ok(()), "no process holds it");
    }

    #[tokio::test]
    async fn an_address_that_this_host_does_not_have_is_refused_with_the_kernels_error() {
        let listen = "192.0.2.1:2377".parse().expect("is an address");
        let rendered = Rendered::of(&require_free(listen, async || None).await.expect_err("is not here"));
        assert!(rendered.exit == Exit::Refused && !rendered.because.is_empty(), "{rendered}");
    }

    #[test]
    fn a_listening_port_is_not_a_connection_on_it() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 00000000:1F0A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             1: 0100007F:1F0B 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        let inodes = |port| listening(table, port).collect::<Vec<_>>();
        assert_eq!((inodes(0x1f0a), inodes(0x1f0b), inodes(0x0a)), (vec![4711], vec![], vec![]));
        let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
        assert!(is_listening(socket.local_addr().expect("is bound").port()).expect("reads"));
    }
}
