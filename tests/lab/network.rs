//! Network namespaces that only an open file keeps, and the bridge that joins them.

use std::{fs::File, net::Ipv4Addr, os::fd::AsRawFd, path::PathBuf, process::Command, thread};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

use crate::tree::capture;

/// A network namespace. It is removed, with every interface in it, once this value and the last process in it are gone.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

impl Netns {
    pub(super) fn new() -> Result<Self> {
        // Only this thread leaves the namespace of the process, and it ends right after.
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let made = made.join().map_err(|_| anyhow!("the thread panicked"));
        let file = made.and_then(|file| Ok(file?));
        file.map(|file| Self { file }).context("failed to create a network namespace")
    }

    /// Path for `nsenter --net=`, usable by any process of root; valid while this process lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Returns a command that runs in this network namespace; its other namespaces are those of this machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs code of this process in the namespace: sockets that it opens are in that namespace, and stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).context("failed to enter a network namespace")?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs all lines in one shell, each an `ip` command without its leading `ip`.
    fn ip(&self, lines: &[String]) -> Result<()> {
        let script: Vec<String> = lines.iter().map(|line| format!("ip {line}")).collect();
        capture(self.command("sh").args(["-euc", &script.join("\n")])).map(drop)
    }
}

/// The switch of a lab.
#[derive(Debug)]
pub struct Bridge {
    netns: Netns,
}

impl Bridge {
    pub fn new(own: Ipv4Addr) -> Result<Self> {
        let netns = Netns::new()?;
        netns.ip(&[
            "link set lo up".to_owned(),
            // A bridge without a hardware address of its own takes the lowest of its ports', and another one when that
            // port is removed: then every host's neighbour entry for `own` is wrong until it expires.
            "link add br0 address 02:77:00:00:00:01 type bridge forward_delay 0".to_owned(),
            format!("address add {own}/24 dev br0"),
            "link set br0 up".to_owned(),
        ])?;
        Ok(Self { netns })
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Gives a namespace the interface `host0` with this address, and plugs its other end in here.
    pub fn plug(&self, name: &str, addr: Ipv4Addr, host: &Netns) -> Result<()> {
        let [.., third, last] = addr.octets();
        let peer = host.path();
        self.netns.ip(&[
            // The hardware address follows from the IP address, as when a network interface moves to a
            // replacement machine: no neighbour holds a stale entry.
            format!(
                "link add v-{name} type veth peer name host0 address 02:77:00:00:{third:02x}:{last:02x} netns {}",
                peer.display()
            ),
            format!("link set v-{name} master br0 up"),
        ])?;
        host.ip(&[
            "link set lo up".to_owned(),
            format!("address add {addr}/24 dev host0"),
            "link set host0 up".to_owned(),
        ])
    }

    pub fn unplug(&self, name: &str) -> Result<()> {
        self.netns.ip(&[format!("link delete v-{name}")])
    }

    /// Sets the link to `up` or `down`. While it is down no packet passes, and the host keeps its interface and
    /// address.
    pub fn set(&self, name: &str, state: &str) -> Result<()> {
        self.netns.ip(&[format!("link set v-{name} {state}")])
    }
}
