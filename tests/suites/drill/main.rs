//! Drills in a second engine next to the first, and their effect on production.

mod kill;
mod lies;
mod matrix;
mod production;

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    scenario::{IDENTITY, Site, agent_with_faults, populate, text},
};

const DRILL: [&str; 4] = ["drill", "--latest", "--identity", IDENTITY];

/// Limit for everything that takes seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Boots a manager with running services, which makes backups and can open them.
fn manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    populate(&host)?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    host.install(&agent_with_faults()?)?;
    Ok(host)
}

/// Script that lists everything that a second engine has on a host: units, processes, sockets, states. It has the name
/// in two parts, so that it does not find itself.
const TRACES: &str = r"
    name=swarmdr-''second
    {
        systemctl list-units --all --no-legend --plain $name-* | cut -d' ' -f1
        ls -d /run/$name-* /var/lib/swarmdr/second/*
        find /sys/fs/cgroup -name $name-*
        grep -l 'swarmdr-[s]econd-' /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo | grep -v /self/
    } 2>/dev/null || true";

fn nothing_is_left(host: &Host) -> Result<()> {
    let left = host.sh(TRACES)?;
    ensure!(left.is_empty(), "a second engine left this behind:\n{left}");
    Ok(())
}
