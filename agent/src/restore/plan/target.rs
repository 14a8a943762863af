//! The new address of a swarm that is restored with `--readdress`.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarmdr_archive::manifest::Manifest;

use super::{Overrides, checks};
use crate::{
    host::network::{self, LocalAddress},
    outcome::failure::Failure,
};

/// Options of `--readdress`.
#[derive(Debug, Clone, Default)]
pub struct Readdress {
    /// One of this host's addresses; the default is its only one.
    pub advertise: Option<IpAddr>,
    /// The new node takes over labels and availability of the old one.
    pub copy_labels: bool,
}

/// The address of the restored manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub addr: SocketAddr,
    pub interface: String,
    pub data_path_addr: Option<String>,
    pub copy_labels: bool,
}

impl Target {
    /// Refuses a host that has the swarm's own address, and a host with several addresses if none is named.
    pub(super) fn choose<P>(
        manifest: &Manifest<P>,
        addresses: &[LocalAddress],
        wanted: &Readdress,
        overrides: &Overrides,
    ) -> Result<Self> {
        let old = manifest.raft_addr;
        if network::has(addresses, old.ip()) {
            return Err(Failure::refused(format!("this host has the swarm's own address {}", old.ip()))
                .advice("restore without --readdress")
                .into());
        }
        let local = match wanted.advertise {
            Some(ip) => named(ip, addresses)?,
            None => only(old.ip(), addresses)?,
        };
        if local.ip.is_ipv4() != old.is_ipv4() {
            return Err(Failure::refused(format!(
                "{} and the swarm's address {} are of different families, and the old manager could not reach the new one",
                local.ip,
                old.ip()
            ))
            .advice("name an address of the same family with --advertise-addr ADDRESS")
            .into());
        }
        Ok(Self {
            addr: SocketAddr::new(local.ip, old.port()),
            interface: local.interface.clone(),
            data_path_addr: match &overrides.data_path_addr {
                Some(addr) => Some(addr.clone()),
                None => checks::data_path_addr(manifest, addresses)?,
            },
            copy_labels: wanted.copy_labels,
        })
    }
}

fn named(ip: IpAddr, addresses: &[LocalAddress]) -> Result<&LocalAddress> {
    addresses.iter().find(|local| local.ip == ip).ok_or_else(|| {
        Failure::refused(format!("no interface of this host has {ip}; it has {}", network::describe(addresses)))
            .advice("name one of these with --advertise-addr ADDRESS")
            .into()
    })
}

fn only(old: IpAddr, addresses: &[LocalAddress]) -> Result<&LocalAddress> {
    match network::usable(addresses, old).as_slice() {
        [one] => Ok(one),
        _ => Err(Failure::refused(format!(
            "at which of this host's addresses the swarm is to live is not clear: {}",
            network::describe(addresses)
        ))
        .advice(format!("name it with --advertise-addr ADDRESS; it must be of the family of {old}"))
        .into()),
    }
}

/// Returns the old addresses of the manager and of its overlay traffic.
pub fn old_addresses<P>(manifest: &Manifest<P>) -> Vec<IpAddr> {
    let raft = manifest.raft_addr.ip();
    let data_path = manifest.restore.data_path_addr.as_deref().and_then(|addr| addr.parse::<IpAddr>().ok());
    [raft].into_iter().chain(data_path.filter(|ip| *ip != raft)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::{exit::Exit, failure::Rendered},
        restore::plan::tests::{local, manifest},
    };

    fn choose(addresses: &[LocalAddress], advertise: Option<&str>) -> Result<Target> {
        let advertise = advertise.map(|ip| ip.parse().expect("an address"));
        Target::choose(&manifest(), addresses, &Readdress { advertise, copy_labels: true }, &Overrides::default())
    }

    #[test]
    fn the_only_address_is_taken_and_several_need_a_word() {
        let [lo, one, two, six, bridge] = [
            local("127.0.0.1", "lo"),
            local("10.9.0.1", "eth0"),
            local("10.9.1.1", "eth1"),
            local("fd00::1", "eth0"),
            local("172.17.0.1", "docker0"),
        ];
        let single = [lo.clone(), one.clone(), six.clone(), bridge.clone()];
        let target = choose(&single, None).expect("is clear");
        assert_eq!((target.addr.to_string().as_str(), target.interface.as_str()), ("10.9.0.1:2377", "eth0"));
        let several = [lo, one, two, six, bridge];
        let target = choose(&several, Some("10.9.1.1")).expect("is said");
        assert_eq!((target.addr.to_string().as_str(), target.interface.as_str()), ("10.9.1.1:2377", "eth1"));
        for (wrong, told) in [
            (choose(&several, None), "is not clear"),
            (choose(&several, Some("10.9.2.2")), "no interface of this host has 10.9.2.2"),
            (choose(&several, Some("fd00::1")), "different families"),
            (choose(&[local("10.0.0.4", "eth0")], None), "the swarm's own address"),
        ] {
            let rendered = Rendered::of(&wrong.expect_err(told));
            assert!(rendered.exit == Exit::Refused && rendered.what.contains(told), "{rendered}");
        }
    }

    #[test]
    fn the_second_engine_has_every_address_that_the_old_one_had() {
        let mut manifest = manifest();
        assert_eq!(old_addresses(&manifest), [manifest.raft_addr.ip()]);
        manifest.restore.data_path_addr = Some("10.1.0.4".into());
        assert_eq!(old_addresses(&manifest).len(), 2);
        manifest.restore.data_path_addr = Some(manifest.raft_addr.ip().to_string());
        assert_eq!(old_addresses(&manifest).len(), 1);
    }
}
