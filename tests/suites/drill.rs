//! A second engine beside the first: rehearsed restores, and what production notices of them.

#[path = "drill/kill.rs"]
mod kill;
#[path = "drill/lies.rs"]
mod lies;
#[path = "drill/matrix.rs"]
mod matrix;
#[path = "drill/production.rs"]
mod production;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Engine, Host, HostSpec, addr};
use swarmdr_tests::scenario::{IDENTITY, Site, agent_with_faults, populate};

const DRILL: [&str; 4] = ["drill", "--latest", "--identity", IDENTITY];

/// What takes seconds on a machine that does nothing else.
const LIMIT: Duration = Duration::from_secs(180);

/// A manager with running services, which backs up and can open what it stored.
fn manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    populate(&host)?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    host.install(&agent_with_faults()?)?;
    Ok(host)
}

/// What a second engine has on a host: units, processes, sockets, states. The name is in two parts, so that what looks is not found.
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

fn text<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("there is no text at {pointer} in {document:#}"))
}
