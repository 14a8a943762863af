//! Programs in a shared tree, in namespaces of their own that cannot outlive this process.
//!
//! The first process of the PID namespace is a shell that reads its orders from a pipe which this process holds.
//! However this process ends, the pipe closes, the shell ends, and the kernel ends everything in its PID namespace.
//! With the last process go the mount namespace and the tmpfs that held all data. So there is nothing to clean up at
//! the next start, and no directory on the host to remove.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// Script of the first process. Only `/run` and `/tmp` can be written to, as the tree is shared.
///
/// `read` and `eval` make the shell a supervisor: each order is one line and gets one line of answer.
const INIT: &str = r#"
set -e
ip link set lo up
mount --bind "$TREE" "$TREE"
mount -o remount,bind,ro "$TREE"
mount -t tmpfs tmpfs "$TREE/run"
mount -t tmpfs tmpfs "$TREE/tmp"
[ -z "$DISK" ] || { mkdir "$TREE/run/osd"; mount --bind "$DISK" "$TREE/run/osd"; }
mount -t proc proc "$TREE/proc"
exec env -i $ENVIRONMENT chroot "$TREE" sh -c '
    mkdir /run/log
    echo "$$"
    while IFS= read -r order; do eval "$order"; done'
"#;

/// The whole environment inside. Every tool of Ceph reads `CEPH_CONF`.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("CEPH_CONF", "/run/ceph.conf")];

/// Limit for a condition, so generous that only a hang reaches it, even on a loaded machine with two cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Interval between two checks of a condition.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Sandbox {
    unshare: Child,
    /// The shell's PID as this process sees it.
    init: i32,
    orders: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

/// A process of the sandbox, by its PID inside.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    pid: i32,
}

impl Sandbox {
    /// Starts a sandbox over a tree. Enters the network namespace at `netns`, if one is given, and sets its loopback
    /// interface up. `disk` is an empty directory outside, which is `/run/osd` inside.
    pub fn open(tree: &Path, netns: Option<&Path>, disk: Option<&Path>) -> Result<Self> {
        let mut command = match netns {
            Some(path) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", path.display())).arg("unshare");
                command
            }
            None => Command::new("unshare"),
        };
        let mut unshare = command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--propagation=private"])
            .args(["sh", "-c", INIT])
            .env("TREE", tree)
            .env("DISK", disk.unwrap_or(Path::new("")))
            .env("ENVIRONMENT", ENVIRONMENT.map(|(name, value)| format!("{name}={value}")).join(" "))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to run unshare (package util-linux)")?;
        let orders = unshare.stdin.take().expect("stdin is piped");
        let mut answers = BufReader::new(unshare.stdout.take().expect("stdout is piped"));
        let mut ready = String::new();
        let greeted = answers.read_line(&mut ready);
        let mut sandbox = Self { unshare, init: 0, orders: Mutex::new(Some((orders, answers))) };
        greeted.context("failed to hear from the sandbox's shell")?;
        ensure!(
            ready == "1\n",
            "the sandbox over {} did not come up (its messages are on stderr): it takes root, mount and PID namespaces",
            tree.display()
        );
        sandbox.init = only_child(sandbox.unshare.id())?;
        // Not read by any program: in /proc/PID/environ it shows people whose daemon this is.
        sandbox.order(&format!("export SWARMDR_SANDBOX={}; echo", sandbox.address()))?;
        Ok(sandbox)
    }

    /// Returns an IPv4 loopback address that no other sandbox has: one of 127.64.0.0/10, chosen by PID.
    ///
    /// With it fixed ports are free ports, without a race between finding one and binding it.
    pub fn address(&self) -> Ipv4Addr {
        // Linux keeps PIDs below 2^22, and a /10 leaves 22 bits.
        let [_, high, middle, low] = self.unshare.id().to_be_bytes();
        Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low)
    }

    /// Returns a path in the sandbox as this process reaches it.
    pub fn path(&self, inside: &str) -> PathBuf {
        format!("/proc/{}/root{inside}", self.init).into()
    }

    pub fn write(&self, inside: &str, text: &str) -> Result<()> {
        fs::write(self.path(inside), text).with_context(|| format!("failed to write {inside} in the sandbox"))
    }

    pub fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.path(inside)).with_context(|| format!("failed to read {inside} in the sandbox"))
    }

    /// Runs one command in the sandbox to its end and returns its standard output.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = Command::new("nsenter")
            .arg(format!("--target={}", self.init))
            .args(["--mount", "--pid", "--net", "--root", "--wd", program])
            .args(args)
            .env_clear()
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("failed to run {program} in the sandbox"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {} ended with {}:\n{}", args.join(" "), output.status, end_of(&stderr));
        }
        String::from_utf8(output.stdout).with_context(|| format!("{program} wrote what is not UTF-8"))
    }

    /// Starts a daemon whose output goes to `/run/log/NAME`. `command` is a line of shell.
    pub fn spawn(&self, name: &'static str, command: &str) -> Result<Daemon> {
        // The log is created before the shell forks, so that a reader finds it, and never an older one.
        let log = format!("/run/log/{name}");
        let answer = self.order(&format!(": >{log}; {command} </dev/null >>{log} 2>&1 & echo $!"))?;
        let pid = answer.parse().with_context(|| format!("the sandbox's shell answered {answer:?}, not a PID"))?;
        Ok(Daemon { name, pid })
    }

    /// Waits until something listens on the address; fails if the daemon ends first.
    pub fn await_listener(&self, daemon: &Daemon, address: SocketAddrV4) -> Result<()> {
        // The kernel prints the address as it is in memory, and 0A for LISTEN.
        let ip = u32::from_ne_bytes(address.ip().octets());
        let listening = format!(" {ip:08X}:{:04X} 00000000:0000 0A ", address.port());
        let sockets = format!("/proc/{}/net/tcp", self.init);
        self.until(&format!("{} to listen on {address}", daemon.name), || {
            if !self.is_alive(daemon) {
                let log = self.read(&format!("/run/log/{}", daemon.name))?;
                bail!("{} ended; the end of its log:\n{}", daemon.name, end_of(&log));
            }
            let table = fs::read_to_string(&sockets).with_context(|| format!("failed to read {sockets}"))?;
            Ok(table.contains(&listening))
        })
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, daemon: &Daemon, signal: &str) -> Result<()> {
        let answer = self.order(&format!("kill -{signal} {} && echo sent || echo refused", daemon.pid))?;
        ensure!(answer == "sent", "failed to send SIG{signal} to {}", daemon.name);
        Ok(())
    }

    /// Kills a daemon with SIGKILL, and returns when it is gone.
    pub fn kill(&self, daemon: &Daemon) -> Result<()> {
        self.signal(daemon, "KILL")?;
        self.until(&format!("{} to end", daemon.name), || Ok(!self.is_alive(daemon)))
    }

    /// Whether the daemon runs. The shell reaps late, so a zombie counts as gone, once its other threads are: until then
    /// its sockets still listen.
    fn is_alive(&self, daemon: &Daemon) -> bool {
        let process = self.path(&format!("/proc/{}", daemon.pid));
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        // The name before the state is in parentheses and may contain anything, also parentheses.
        let Some((_, state)) = stat.rsplit_once(") ") else { return false };
        !state.starts_with('Z') || fs::read_dir(process.join("task")).is_ok_and(|threads| threads.count() > 1)
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !holds()? {
            ensure!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn order(&self, line: &str) -> Result<String> {
        let mut orders = self.orders.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (input, output) = orders.as_mut().expect("the pipe is open until the drop");
        let mut answer = String::new();
        writeln!(input, "{line}")
            .and_then(|()| output.read_line(&mut answer))
            .with_context(|| format!("the sandbox's shell is gone; it was asked to `{line}`"))?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Closing the pipe ends the shell. `unshare` ends only after the shell, and the shell only after all other
        // processes.
        self.orders.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let _ = self.unshare.wait();
    }
}

fn only_child(pid: u32) -> Result<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    children.trim().parse().with_context(|| format!("{path} holds {children:?}, not one PID"))
}

/// The last lines of a log, for an error message.
fn end_of(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
