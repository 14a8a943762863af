//! A swarm that is restored at another address, and stays there.
//!
//! `SWARMDR_TEST_FULL=1` runs all of it on three generations of engines, and interrupts a restore at every point; by
//! default one engine does it, and one takes over the state of an older one.

mod cut;
mod moved;
mod unusual;

use anyhow::{Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    scenario::{IDENTITY, Site, agent_with_faults, describe_swarm, text},
};

const RESTORE: [&str; 5] = ["restore", "--latest", "--readdress", "--identity", IDENTITY];

/// Last parts of the old and the new address of the swarm.
const OLD: u8 = 11;
const NEW: u8 = 12;

const STATE: &str = "/var/lib/docker/swarm";

/// Boots a host at another address, with only the engine and the agent.
fn fresh(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(NEW)))?;
    site.set_up_restorer(&host)?;
    host.install(&agent_with_faults()?)?;
    host.load_image()?;
    Ok(host)
}

/// Returns everything that must be the same at any address: the description of the swarm without its node.
fn lasting(host: &Host) -> Result<Vec<String>> {
    Ok(describe_swarm(host)?.into_iter().filter(|line| !line.starts_with("node ")).collect())
}

/// Checks that nothing of the second engine is on the host: no unit, no process, no cable, no route, no directory.
fn ensure_nothing_left(host: &Host) -> Result<()> {
    let left = host.sh(&format!(
        "systemctl list-units --all --no-legend --plain 'swarmdr-second-*'
         ps -eo args= | grep '[s]econd-engine' || true
         ip -oneline link | grep swarmdr || true
         for f in -4 -6; do ip $f route show table all | grep -E 'swarmdr|{0}' || true; done
         ip neighbour | grep swarmdr || true
         ls -A /var/lib/swarmdr/second 2>/dev/null || true
         ls -d /run/swarmdr-second-* 2>/dev/null || true",
        addr(OLD)
    ))?;
    ensure!(left.is_empty(), "left of the second engine:\n{left}");
    Ok(())
}

/// Checks that nothing that the engine uses names the old address. The engine does not read `RemoteAddr` if it has a
/// specific listen address, and that it has one is checked.
fn ensure_no_trace(host: &Host) -> Result<()> {
    let (old, new) = (addr(OLD).to_string(), addr(NEW).to_string());
    let info = host.docker(&["info", "--format", "{{json .Swarm}}"])?;
    ensure!(!info.contains(&old) && info.contains(&new), "docker info: {info}");
    let known = host.read_file(&format!("{STATE}/state.json"))?;
    ensure!(!known.contains(&old) && known.contains(&new), "state.json: {known}");
    let mut state: Value = serde_json::from_str(&host.read_file(&format!("{STATE}/docker-state.json"))?)?;
    state["RemoteAddr"] = Value::Null;
    ensure!(!state.to_string().contains(&old), "docker-state.json: {state}");
    ensure!(state["ListenAddr"] == format!("{new}:2377"), "it listens on no address of its own: {state}");
    let nodes = host.docker(&["node", "inspect", "self", "--format", "{{.ManagerStatus.Addr}}"])?;
    ensure!(nodes == format!("{new}:2377"), "raft address {nodes}");
    Ok(())
}
