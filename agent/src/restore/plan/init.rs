//! The request that forms the one-manager cluster.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use bollard::models::{SwarmInitRequest, SwarmSpec, SwarmSpecCaConfig, SwarmSpecEncryptionConfig};
use serde::{Deserialize, Serialize};
use swarmdr_archive::manifest::Manifest;

use super::{Overrides, checks};
use crate::{
    fault::Fault,
    host::network::{self, LocalAddress},
};

/// The body of `POST /swarm/init`, as far as we set it.
///
/// `DefaultAddrPool` stays out on purpose: without it pool, subnet size and VXLAN port are read from
/// the raft log (swarmkit `manager/manager.go`). Auto-lock and force-rotate must be in: the engine
/// takes their absence as "off" and as "rotate the CA now" (moby `daemon/cluster/convert/swarm.go`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRequest {
    pub listen_addr: String,
    pub advertise_addr: String,
    pub data_path_addr: Option<String>,
    pub auto_lock_managers: bool,
    pub force_rotate: u64,
}

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

    /// For a second engine, whose network has the old addresses.
    pub fn at_old_address<P>(manifest: &Manifest<P>) -> Result<Self> {
        let ip_of = |ip| LocalAddress { interface: "lo".to_owned(), ip };
        let there: Vec<LocalAddress> = super::old_addresses(manifest).into_iter().map(ip_of).collect();
        Self::of(manifest, &there, &Overrides::default())
    }

    pub fn to_api(&self) -> SwarmInitRequest {
        SwarmInitRequest {
            listen_addr: Some(self.listen_addr.clone()),
            advertise_addr: Some(self.advertise_addr.clone()),
            data_path_addr: self.data_path_addr.clone(),
            force_new_cluster: Some(true),
            spec: Some(SwarmSpec {
                encryption_config: Some(SwarmSpecEncryptionConfig {
                    auto_lock_managers: Some(self.auto_lock_managers),
                }),
                ca_config: Some(SwarmSpecCaConfig {
                    force_rotate: Some(self.force_rotate),
                    ..SwarmSpecCaConfig::default()
                }),
                ..SwarmSpec::default()
            }),
            ..SwarmInitRequest::default()
        }
    }
}

/// As it was, where this host can listen there. An engine whose advertised address is on no interface (NAT) must be
/// told one that is (moby `daemon/cluster/swarm.go`, `errMustSpecifyListenAddr`).
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
        _ => Err(Fault::refused(format!(
            "the swarm listened on {}, which this host does not have, and which of its addresses takes that place is not clear: {}",
            manifest.restore.listen_addr.as_deref().unwrap_or("an address that was not recorded"),
            network::describe(addresses)
        ))
        .advice("give this host the address that the swarm listened on")
        .into()),
    }
}
