//! A swarm that is brought back at another address, and stays there.
//!
//! `SWARMDR_TEST_FULL=1` runs all of it on three generations of engines, and cuts a restore short at every point; by
//! default one engine does it, and one takes over the state of an older one.

#[path = "readdress/cut.rs"]
mod cut;
#[path = "readdress/moved.rs"]
mod moved;
#[path = "readdress/unusual.rs"]
mod unusual;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Engine, Host, HostSpec, addr};
use swarmdr_tests::scenario::{IDENTITY, Site, agent_with_faults, describe_swarm};

const RESTORE: [&str; 5] = ["restore", "--latest", "--readdress", "--identity", IDENTITY];

/// Where the swarm was, and where it goes.
const OLD: u8 = 11;
const NEW: u8 = 12;

const STATE: &str = "/var/lib/docker/swarm";

/// A host at another address, with nothing on it but the engine and the agent.
fn fresh(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(NEW)))?;
    site.set_up_restorer(&host)?;
    host.install(&agent_with_faults()?)?;
    host.load_image()?;
    Ok(host)
}

/// What must be the same at any address: all that the swarm says of itself but its node.
fn lasting(host: &Host) -> Result<Vec<String>> {
    Ok(describe_swarm(host)?.into_iter().filter(|line| !line.starts_with("node ")).collect())
}

/// Nothing of the second engine is on the host: no unit, no process, no cable, no route, no directory.
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

/// Nothing that the engine goes by names the old address. `RemoteAddr`, which it does not read where it has a specific
/// address to listen on, is checked to be just that.
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

fn text<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("there is no text at {pointer} in {document:#}"))
}
