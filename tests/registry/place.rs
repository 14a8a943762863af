//! Where a registry and its company listen.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    lab::{Lab, addr},
    tree::capture,
};

/// Ports of registries begin here, below those that the kernel gives away.
static NEXT_PORT: AtomicU16 = AtomicU16::new(15_000);

/// The network of a lab, or the loopback of this machine.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Keeps the lab as long as something listens in it.
    lab: Option<Lab>,
    ip: Ipv4Addr,
    /// A second address, for servers that must not have the registry's name.
    other_ip: Ipv4Addr,
}

impl Place {
    pub fn lab(lab: &Lab) -> Result<Self> {
        let place = Self { lab: Some(lab.clone()), ip: lab.gateway_ip(), other_ip: addr(2) };
        // It may be there, for another registry.
        capture(place.command("ip").args(["address", "replace", &format!("{}/24", place.other_ip), "dev", "br0"]))?;
        Ok(place)
    }

    /// Loopback addresses that no other process of these tests uses, by its PID: with them fixed ports are free ports.
    pub fn loopback() -> Self {
        // Linux keeps PIDs below 2^22, and a /11 leaves 21 bits; 127.64.0.0/10 is that of the object stores.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let at = |base: u8| Ipv4Addr::new(127, base | (high & 0x1f), middle, low);
        Self { lab: None, ip: at(128), other_ip: at(160) }
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    pub fn other_ip(&self) -> Ipv4Addr {
        self.other_ip
    }

    /// Returns an address with a port that no other registry of this process has or will have.
    pub fn new_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, NEXT_PORT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a command that reaches the servers of this place. The caller has to end it.
    pub fn command(&self, program: &str) -> Command {
        match &self.lab {
            Some(lab) => lab.command(program),
            None => Command::new(program),
        }
    }

    /// Path of the network namespace, if it is not this process's own.
    pub fn netns(&self) -> Option<PathBuf> {
        self.lab.as_ref().map(Lab::netns_path)
    }

    /// Runs code that opens sockets here.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.lab {
            Some(lab) => lab.netns().within(work),
            None => Ok(work()),
        }
    }

    /// Whether something listens on an address.
    pub fn listens(&self, address: SocketAddrV4) -> Result<bool> {
        self.within(|| TcpStream::connect(address).is_ok())
    }

    /// Makes a directory that is removed when dropped, or with the lab.
    pub fn directory(&self) -> Result<TempDir> {
        let parent = self.lab.as_ref().map_or_else(std::env::temp_dir, |lab| lab.dir().to_owned());
        tempfile::Builder::new().prefix("registry-").tempdir_in(parent).context("failed to make a directory")
    }
}
