//! Claims: of hosts that restore one swarm at the same time, exactly one goes on, and the others have changed nothing.
//!
//! `SWARMDR_TEST_FULL=1` runs more rounds of the races, and the hosts on three generations of engines.

mod cut;
mod hosts;
mod partition;
mod race;

use anyhow::Result;
use serde_json::Value;
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, addr},
    scenario::{IDENTITY, Site, agent_with_faults},
};

const RESTORE: [&str; 4] = ["restore", "--latest", "--identity", IDENTITY];

const READDRESS: [&str; 5] = ["restore", "--latest", "--readdress", "--identity", IDENTITY];

/// Last part of the address of the swarm.
const OLD: u8 = 11;

fn engines() -> &'static [Engine] {
    if full() { &[Engine::E20_10, Engine::E26_1, Engine::E28_5] } else { &[Engine::E26_1] }
}

/// Boots one manager of a swarm with content, ready for a backup.
fn manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(OLD)))?;
    host.swarm_init()?;
    host.create_overlay("backend")?;
    host.create_secret("db-password", b"correct horse battery staple")?;
    site.set_up_manager(&host)?;
    Ok(host)
}

/// Boots a host that is to restore, with an agent that has failpoints.
fn restorer(site: &Site, engine: Engine, name: &str, last: u8) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new(name, engine, addr(last)))?;
    site.set_up_restorer(&host)?;
    host.install(&agent_with_faults()?)?;
    Ok(host)
}

/// Labels of the swarm that this host manages.
fn labels(host: &Host) -> Result<Value> {
    Ok(serde_json::from_str(&host.docker(&["info", "--format", "{{json .Swarm.Cluster.Spec.Labels}}"])?)?)
}
