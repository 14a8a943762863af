//! Creates the disk of a host, and boots the host until its systemd has started everything.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{Host, Power};
use crate::{
    lab::{Netns, cgroup::Cgroup, read, wait_for},
    tree::capture,
};

/// Limit for a boot, which takes one to three seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

impl Host {
    /// Creates an empty overlay, a /var of the host's own, and the files in /etc that make it different from other
    /// hosts.
    pub(super) fn format(&self) -> Result<()> {
        let Self { disk, tree, spec, .. } = self;
        let etc = disk.join("upper/etc");
        for dir in [&etc, &disk.join("work"), &disk.join("root")] {
            fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
        }
        capture(Command::new("cp").args(["-a", "--reflink=auto"]).arg(tree.join("var")).arg(disk))?;
        let uuid = read(Path::new("/proc/sys/kernel/random/uuid"))?;
        let hosts = format!("127.0.0.1 localhost\n{} {}\n", spec.addr, spec.name);
        for (file, text) in [
            ("hostname", format!("{}\n", spec.name)),
            ("hosts", hosts),
            ("machine-id", uuid.replace('-', "")),
            // No name server: looking for an image in a registry fails at once.
            ("resolv.conf", String::new()),
        ] {
            fs::write(etc.join(file), text).with_context(|| format!("failed to write /etc/{file}"))?;
        }
        Ok(())
    }

    /// Switches the host on and waits until systemd has started everything that will start. Plugs its link in, whether
    /// or not it was cut before.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(self.power.is_none(), "host {} is on already", self.spec.name);
        let begun = Instant::now();
        let cgroup = Cgroup::create(self.lab.cgroup.path().join(&self.spec.name))?;
        let netns = Netns::new()?;
        self.lab.bridge.plug(&self.spec.name, self.spec.addr, &netns)?;
        let nspawn = self.start_nspawn(&cgroup, &netns)?;
        let took = Duration::ZERO;
        // From here on a failed boot is cleaned up by the same power cut as a running host.
        self.power = Some(Power { nspawn, cgroup, _netns: netns, init: 0, took });
        let init = self.wait_for_init()?;
        self.powered_mut()?.init = init;
        self.wait_until_running()?;
        self.powered_mut()?.took = begun.elapsed();
        Ok(())
    }

    fn start_nspawn(&self, cgroup: &Cgroup, netns: &Netns) -> Result<Child> {
        let console = File::options().create(true).append(true).open(self.console())?;
        Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-euc", include_str!("boot.sh"), "boot"])
            .env("NAME", &self.spec.name)
            .env("TREE", &self.tree)
            .env("DISK", &self.disk)
            .env("CGROUP", cgroup.path())
            .env("NETNS", netns.path())
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            // Ctrl-C reaches only the test; once that is dead, the reaper ends the host.
            .process_group(0)
            .spawn()
            .context("failed to start systemd-nspawn")
    }

    fn wait_for_init(&mut self) -> Result<u32> {
        let (name, console) = (self.spec.name.clone(), self.console());
        let power = self.powered_mut()?;
        let mut ended = None;
        let init = wait_for("PID 1", BOOT_LIMIT, || {
            ended = power.nspawn.try_wait()?;
            if ended.is_some() { Ok(Some(None)) } else { Ok(power.cgroup.init()?.map(Some)) }
        })?;
        init.ok_or_else(|| {
            let console = fs::read_to_string(console).unwrap_or_default();
            anyhow!("host {name} did not boot: systemd-nspawn ended ({ended:?}):\n{console}")
        })
    }

    fn wait_until_running(&self) -> Result<()> {
        self.wait_for("systemd to have started everything", BOOT_LIMIT, || {
            let state = self.run(&["systemctl", "is-system-running"])?.stdout;
            Ok(["running", "degraded"].contains(&state.trim()).then_some(()))
        })
    }

    /// Fails if a unit has failed. For a fresh host only: later a unit may fail because of what a test did to the disk.
    pub(super) fn ensure_no_failed_units(&self) -> Result<()> {
        let failed = self.sh("systemctl list-units --failed --no-legend --plain")?;
        ensure!(failed.is_empty(), "host {} booted with failed units:\n{failed}", self.name());
        Ok(())
    }
}
