//! The request that forms the one-manager cluster.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use swarmdr_archive::manifest::Manifest;

use super::{Overrides, checks};
use crate::{
    host::{
        engine::InitRequest,
        network::{self, LocalAddress},
    },
    outcome::failure::Failure,
};

impl InitRequest {
    /// Refuses addresses that the engine could not use here.
    pub fn of<P>(manifest: &Manifest<P>, addresses: &[LocalAddress], overrides: &Overrides) -> Result<Self> {
        Ok(Self {
            listen_addr: listen_addr(manifest, addresses)?,
            advertise_addr: manifest.raft_addr.to_string(),
            data_path_addr: match &overrides.data_path_addr {
                Some(addr) => Some(addr.clone()),
                None => checks::data_path_addr(manifest, addresses)?,
            },
            auto_lock_managers: manifest.restore.auto_lock_managers,
            force_rotate: manifest.restore.force_rotate,
        })
    }

    /// Makes the request for a second engine, whose network has the old addresses.
    pub fn at_old_address<P>(manifest: &Manifest<P>) -> Result<Self> {
        let ip_of = |ip| LocalAddress { interface: "lo".to_owned(), ip };
        let there: Vec<LocalAddress> = super::old_addresses(manifest).into_iter().map(ip_of).collect();
        Self::of(manifest, &there, &Overrides::default())
    }
}

/// Returns the recorded listen address if this host has it. An engine whose advertised address is on no interface (NAT)
/// needs one that is (moby `daemon/cluster/swarm.go`, `errMustSpecifyListenAddr`).
fn listen_addr<P>(manifest: &Manifest<P>, addresses: &[LocalAddress]) -> Result<String> {
    let port = manifest.raft_addr.port();
    let is_local = |ip: IpAddr| network::has(addresses, ip);
    let recorded = manifest.restore.listen_addr.as_deref().and_then(|addr| addr.parse::<SocketAddr>().ok());
    match recorded {
        Some(addr) if is_local(addr.ip()) => return Ok(addr.to_string()),
        Some(addr) if addr.ip().is_unspecified() && is_local(manifest.raft_addr.ip()) => return Ok(addr.to_string()),
        _ => {}
    }
    if is_local(manifest.raft_addr.ip()) {
        return Ok(manifest.raft_addr.to_string());
    }
    match network::usable(addresses, manifest.raft_addr.ip()).as_slice() {
        [one] => Ok(SocketAddr::new(one.ip, port).to_string()),
        _ => Err(Failure::refused(format!(
            "the swarm listened on {}, which this host does not have, and which of its addresses takes that place is not clear: {}",
            manifest.restore.listen_addr.as_deref().unwrap_or("an address that was not recorded"),
            network::describe(addresses)
        ))
        .advice("give this host the address that the swarm listened on")
        .into()),
    }
}
