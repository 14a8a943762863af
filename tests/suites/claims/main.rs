//! Claims: of hosts that restore one swarm at the same time, exactly one goes on, and the others have changed nothing.
//!
//! `SWARMDR_TEST_FULL=1` runs more rounds of the races, and the hosts on three generations of engines.

mod cut;
mod drain;
mod hosts;
mod left;
mod partition;
mod race;

use std::process::Command;

use anyhow::{Result, ensure};
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

/// Replaces all labels of the swarm by none, as a program does that does not know them.
fn drop_labels(host: &Host) -> Result<()> {
    let socket = host.root()?.join("run/docker.sock");
    let curl = |words: &[&str]| -> Result<String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--unix-socket"])
            .arg(&socket)
            .args(words)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let mut swarm: Value = serde_json::from_str(&curl(&["http://docker/v1.41/swarm"])?)?;
    let version = swarm["Version"]["Index"].take();
    swarm["Spec"]["Labels"] = serde_json::json!({});
    let (spec, url) = (swarm["Spec"].to_string(), format!("http://docker/v1.41/swarm/update?version={version}"));
    curl(&["--header", "Content-Type: application/json", "--data", &spec, &url]).map(drop)
}

/// Labels of the swarm that this host manages.
fn labels(host: &Host) -> Result<Value> {
    Ok(serde_json::from_str(&host.docker(&["info", "--format", "{{json .Swarm.Cluster.Spec.Labels}}"])?)?)
}
