//! One host: its disk, its link and, while it is on, its processes.

mod boot;

use std::{
    fmt, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Engine, Netns, Shared, cgroup::Cgroup, wait_for};
use crate::tree::capture;

/// Description of a host to boot.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// Host name, unique in the lab: letters, digits and dashes, at most 13 (the name of its link contains it).
    pub name: String,
    pub engine: Engine,
    /// Address on the lab's network, see [`super::addr`].
    pub addr: Ipv4Addr,
    /// Debian packages in addition to those that every host has.
    pub packages: &'static [&'static str],
}

impl HostSpec {
    pub fn new(name: &str, engine: Engine, addr: Ipv4Addr) -> Self {
        Self { name: name.to_owned(), engine, addr, packages: &[] }
    }

    /// The same host with more packages on it. Each set of them is a tree of its own, built once.
    #[must_use]
    pub fn with(self, packages: &'static [&'static str]) -> Self {
        Self { packages, ..self }
    }

    /// The root file system that it boots, built on first use.
    pub fn tree(&self) -> Result<PathBuf> {
        self.engine.tree_with(self.packages)
    }
}

/// A host of a lab. Dropping it cuts its power and removes its disk.
pub struct Host {
    spec: HostSpec,
    lab: Arc<Shared>,
    /// Holds `upper` (what differs from the tree), `var` and `console.log`.
    disk: PathBuf,
    tree: PathBuf,
    power: Option<Power>,
    pub(super) commands: AtomicUsize,
}

/// Everything that a host has only while it is switched on.
#[derive(Debug)]
struct Power {
    nspawn: Child,
    cgroup: Cgroup,
    /// Network namespace, which is only kept open. Each boot creates a fresh one, as a power cut removes interfaces and
    /// rules.
    _netns: Netns,
    init: u32,
    took: Duration,
}

impl Host {
    pub(super) fn new(lab: Arc<Shared>, spec: HostSpec) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(
            (1..=13).contains(&spec.name.len()) && spec.name.chars().all(fits),
            "`{}` is no host name of the lab: 1 to 13 letters, digits and dashes",
            spec.name
        );
        let tree = spec.tree()?;
        let disk = lab.reaper.dir().join(&spec.name);
        fs::create_dir(&disk).with_context(|| {
            format!("failed to create the disk of host {0}; is there one named {0} already?", spec.name)
        })?;
        let commands = AtomicUsize::new(0);
        let mut host = Self { spec, lab, disk, tree, power: None, commands };
        host.format()?;
        host.boot()?;
        host.ensure_no_failed_units()?;
        Ok(host)
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn addr(&self) -> Ipv4Addr {
        self.spec.addr
    }

    pub fn engine(&self) -> Engine {
        self.spec.engine
    }

    /// Time from power-on until everything had started, at the last boot.
    pub fn boot_took(&self) -> Result<Duration> {
        Ok(self.powered()?.took)
    }

    /// Process id of the host's PID 1 on this machine.
    pub fn init(&self) -> Result<u32> {
        Ok(self.powered()?.init)
    }

    /// The host's root as seen from outside, while it is on. Absolute symlinks in it lead out of it again: to read and
    /// write files, use [`Host::read_file`] and [`Host::write_file`].
    pub fn root(&self) -> Result<PathBuf> {
        Ok(format!("/proc/{}/root", self.init()?).into())
    }

    /// The host's /var as seen from outside, whether the host is on or off.
    pub fn var(&self) -> PathBuf {
        self.disk.join("var")
    }

    /// Directory of this host on this machine, for logs of the commands that run in the host.
    pub(super) fn disk(&self) -> &Path {
        &self.disk
    }

    /// Cgroup that a command has to join to be part of the host.
    pub(super) fn init_scope(&self) -> Result<PathBuf> {
        Ok(self.powered()?.cgroup.init_scope())
    }

    fn console(&self) -> PathBuf {
        self.disk.join("console.log")
    }

    /// Takes the link down; the host keeps its interface and address, and no packet passes.
    pub fn cut(&self) -> Result<()> {
        self.lab.bridge.set(&self.spec.name, "down")
    }

    pub fn heal(&self) -> Result<()> {
        self.lab.bridge.set(&self.spec.name, "up")
    }

    /// Cuts the power: every process in the host is killed at once, and its network is gone. The disk stays.
    pub fn kill(&mut self) -> Result<()> {
        let mut power = self.power.take().with_context(|| self.is_off())?;
        power.cgroup.end()?;
        power.nspawn.wait().context("failed to wait for systemd-nspawn")?;
        self.lab.bridge.unplug(&self.spec.name)
    }

    /// Cuts the power, and boots again from the same disk.
    pub fn reboot(&mut self) -> Result<()> {
        self.kill()?;
        self.boot()
    }

    /// Ends the host and removes its disk; its name and address are free again.
    pub fn destroy(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        if self.power.is_some() {
            self.kill()?;
        }
        if self.disk.exists() {
            fs::remove_dir_all(&self.disk).with_context(|| format!("failed to remove {}", self.disk.display()))?;
        }
        Ok(())
    }

    /// Prints the end of the engine's journal if the test is failing.
    fn tell_why(&self) {
        if thread::panicking() && self.disk.exists() {
            eprintln!("host {}: {}", self.spec.name, self.engine_journal());
        }
    }

    fn powered(&self) -> Result<&Power> {
        self.power.as_ref().with_context(|| self.is_off())
    }

    fn powered_mut(&mut self) -> Result<&mut Power> {
        let off = self.is_off();
        self.power.as_mut().context(off)
    }

    fn is_off(&self) -> String {
        format!("host {} is off", self.spec.name)
    }

    /// Like [`wait_for`]; when the time is up, the error also contains the end of the engine's journal.
    pub fn wait_for<T>(&self, what: &str, limit: Duration, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait_for(what, limit, probe).with_context(|| format!("host {} ({})", self.spec.name, self.engine_journal()))
    }

    /// The last lines of a unit's journal, whether the host is on or off.
    pub fn journal(&self, unit: &str, lines: usize) -> Result<String> {
        // 20.10 logs each step of its gRPC connections, which buries the rest.
        let script =
            format!("journalctl --unit={unit} --no-pager --output=cat $0 | grep -v module=grpc | tail -{lines}");
        if self.power.is_some() {
            self.succeed(&["sh", "-euc", &script, "--quiet"], &[])
        } else {
            let directory = format!("--directory={}", self.var().join("log/journal").display());
            capture(Command::new("sh").args(["-euc", &script, &directory]))
        }
    }

    fn engine_journal(&self) -> String {
        match self.journal("docker.service", 30) {
            Ok(text) => format!("the engine's last words:\n{text}\n"),
            Err(error) => format!("its journal cannot be read: {error:#}"),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.tell_why();
        if let Err(error) = self.remove() {
            eprintln!("failed to remove host {}: {error:#}", self.spec.name);
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("spec", &self.spec).field("power", &self.power).finish_non_exhaustive()
    }
}
