//! Booted hosts with a real systemd and a real engine, on a network of their own.
//!
//! A [`Lab`] is one switched network; a [`Host`] on it is a value: boot it, run commands in it, cut its link, cut its
//! power, boot a fresh one with the old address. Dropping a host removes it, dropping the last value of a lab removes
//! the lab, and a killed test process leaves nothing behind either. Needs root and a Linux with a cgroup v2 mount.
//!
//! How it is built, and why:
//! - **A host is `systemd-nspawn --boot`** over a cached [tree]. `host/boot.sh` starts it in a mount
//!   namespace of its own, where /run and /sys/fs/cgroup are replaced: nspawn then neither needs systemd on
//!   this machine nor sees its cgroup v1 controllers (on a mixed layout it also makes v1 directories, and
//!   leaves them behind). Every mount of a host dies with its last process; none is visible outside.
//! - **`/` is an overlay** above the tree, **`/var` a real copy** bound over it: the engine's overlay2 driver refuses
//!   to work on top of an overlay, and the state directory should be on the file system that it would be on in
//!   production. Copying /var takes 0.3 s, the whole tree 3.7 s. The cache itself must not be on an overlay.
//! - **cgroup v2 without controllers** is enough: the engine works, with a warning that it cannot limit memory and CPU,
//!   and freezing needs no controller. Where v1 holds the controllers, v2 cannot have them: a controller is in one
//!   hierarchy at a time (kernel, Documentation/admin-guide/cgroup-v2.rst, "Mounting").
//! - **A lab is one cgroup, one directory, and some open files.** Every process is in the cgroup, so one write to
//!   `cgroup.kill` is a power cut. Network namespaces have no name and no process that holds them: they exist as long
//!   as this process has them open, and veth pairs are removed with them.
//! - **One way to clean up**: `reap.sh` waits until the lab's lock is free, then kills and removes. It runs alongside
//!   the test process, which holds the lock for as long as the lab or the process lives; if it was killed too, the next
//!   [`Lab::new`] does the same for every lab whose lock is free.
//! - **Commands enter through `nsenter`**, joining the cgroup of the host's PID 1 first. `ip netns exec` would
//!   remount /sys and hide the cgroups.
//!
//! The kernel may lack IPVS: then virtual IPs and the routing mesh carry no traffic. Use services on the host's network
//! or with `dnsrr`, as [`Service`] does. Hosts have no default route and no name server, so pulling an image fails at
//! once and the engine takes the [local one](Host::load_image).

mod cgroup;

mod exec;
mod host;
mod network;
mod reaper;
mod swarm;
mod wait;
mod wake;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, anyhow};

use crate::tree;
use cgroup::Cgroup;
use network::Bridge;
use reaper::Reaper;

pub use exec::{Background, Output, Program};
pub use host::{Host, HostSpec};
pub use network::Netns;
pub use swarm::{IMAGE, Network, Role, Service};
pub use swarmdr_trees::Engine;
pub use wait::wait_for;

/// Address of a host in any lab: `10.77.0.<last>`; 1 is the lab's own end of the network.
pub const fn addr(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// One network and the hosts on it. Labs never see each other, so all of them use the same addresses.
#[derive(Debug, Clone)]
pub struct Lab {
    shared: Arc<Shared>,
}

/// Parts of a lab that its value and every host in it keep alive; the reaper is dropped last.
#[derive(Debug)]
struct Shared {
    bridge: Bridge,
    cgroup: Cgroup,
    reaper: Reaper,
}

impl Lab {
    /// Makes an empty lab, after removing the labs that killed test processes left behind.
    pub fn new() -> Result<Self> {
        tree::require_root()?;
        for (program, package) in [
            ("systemd-nspawn", "systemd-container"),
            ("ip", "iproute2"),
            ("unshare", "util-linux"),
            ("nsenter", "util-linux"),
            ("flock", "util-linux"),
        ] {
            tree::require_tool(program, package)?;
        }
        let cgroups = cgroup::hierarchy()?;
        let reaper = Reaper::start(&tree::cache().join("labs"), &cgroups)?;
        let cgroup = Cgroup::create(reaper.cgroup())?;
        let bridge = Bridge::new(addr(1))?;
        Ok(Self { shared: Arc::new(Shared { bridge, cgroup, reaper }) })
    }

    /// Boots a host and waits until its systemd has started everything, the engine included.
    pub fn boot(&self, spec: HostSpec) -> Result<Host> {
        Host::new(Arc::clone(&self.shared), spec)
    }

    /// Boots several hosts in parallel, and returns them in the given order.
    pub fn boot_all<const N: usize>(&self, specs: [HostSpec; N]) -> Result<[Host; N]> {
        let hosts: Result<Vec<Host>> = thread::scope(|scope| {
            let boots = specs.map(|spec| scope.spawn(|| self.boot(spec)));
            let ended = boots.map(|boot| boot.join().map_err(|_| anyhow!("a boot panicked"))?);
            ended.into_iter().collect()
        });
        Ok(hosts?.try_into().expect("one host per specification"))
    }

    /// The lab's own address on its network, [`addr`]`(1)`. A server that listens in [`Lab::netns`] is reached there.
    pub fn gateway_ip(&self) -> Ipv4Addr {
        addr(1)
    }

    /// The network namespace of the bridge, in which [`Lab::gateway_ip`] is.
    pub fn netns(&self) -> &Netns {
        self.shared.bridge.netns()
    }

    /// Path of [`Lab::netns`] for `nsenter --net=`; valid while this process lives.
    pub fn netns_path(&self) -> PathBuf {
        self.netns().path()
    }

    /// Returns a command that runs at the lab's own end of the network. The caller has to end it.
    pub fn command(&self, program: &str) -> Command {
        self.netns().command(program)
    }

    /// Directory of the hosts' disks; removed with the lab.
    pub fn dir(&self) -> &Path {
        self.shared.reaper.dir()
    }

    /// Process id of the reaper, which removes the lab once this process is gone.
    pub fn reaper(&self) -> u32 {
        self.shared.reaper.pid()
    }

    /// The cgroup of everything that runs in the lab.
    pub fn cgroup(&self) -> &Path {
        self.shared.cgroup.path()
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}
