//! The bad day: restores that are cut short, repeated, late, locked or expired.
//!
//! `SWARMDR_TEST_FULL=1` runs all of it on three generations of engines; by default each case runs once.

#[path = "disaster/again.rs"]
mod again;
#[path = "disaster/alive.rs"]
mod alive;
#[path = "disaster/cut.rs"]
mod cut;
#[path = "disaster/engines.rs"]
mod engines;
#[path = "disaster/expired.rs"]
mod expired;
#[path = "disaster/external.rs"]
mod external;
#[path = "disaster/joining.rs"]
mod joining;
#[path = "disaster/late.rs"]
mod late;
#[path = "disaster/left.rs"]
mod left;
#[path = "disaster/living.rs"]
mod living;
#[path = "disaster/locked.rs"]
mod locked;
#[path = "disaster/majority.rs"]
mod majority;
#[path = "disaster/net.rs"]
mod net;
#[path = "disaster/odd.rs"]
mod odd;
#[path = "disaster/rotating.rs"]
mod rotating;
#[path = "disaster/unusual.rs"]
mod unusual;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::campaign::{full, generations};
use swarmdr_tests::lab::{Background, Engine, Host, HostSpec, Role, addr, wait_for};
use swarmdr_tests::scenario::{IDENTITY, Site, agent_with_faults};

const RESTORE: [&str; 4] = ["restore", "--latest", "--identity", IDENTITY];

/// A restore of a small state takes seconds, on a machine that does nothing else.
const LIMIT: Duration = Duration::from_secs(180);

/// Three managers with something to lose; the first one backs up.
fn three_managers(site: &Site, engine: Engine) -> Result<[Host; 3]> {
    let spec = |n: u8| HostSpec::new(&format!("m{n}"), engine, addr(10 + n));
    let hosts = site.lab.boot_all([spec(1), spec(2), spec(3)])?;
    hosts[0].swarm_init()?;
    fill(&hosts[0])?;
    for host in &hosts[1..] {
        host.join(&hosts[0], Role::Manager)?;
    }
    site.set_up_manager(&hosts[0])?;
    Ok(hosts)
}

/// One manager with something to lose, which backs up.
fn one_manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    fill(&host)?;
    site.set_up_manager(&host)?;
    Ok(host)
}

fn fill(host: &Host) -> Result<()> {
    host.create_overlay("backend")?;
    host.create_secret("db-password", b"correct horse battery staple")?;
    host.create_config("site.conf", b"listen 80;")
}

fn fresh(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(11)).with(mount_of(engine)))?;
    site.set_up_restorer(&host)?;
    host.install(&agent_with_faults()?)?;
    Ok(host)
}

/// What brings mount(8): no package of Debian 13 that an engine needs asks for it.
fn mount_of(engine: Engine) -> &'static [&'static str] {
    if engine == Engine::E28_5 { &["mount"] } else { &[] }
}

fn text<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("there is no text at {pointer} in {document:#}"))
}

/// Empties the host again, and makes a swarm on it that is not to be lost.
fn reset(host: &Host, with_swarm: bool) -> Result<()> {
    host.sh("systemctl stop docker.socket docker.service; systemctl reset-failed docker.socket docker.service
         rm -rf /var/lib/docker/swarm* /var/lib/docker/.swarmdr
         systemctl start docker.socket docker.service")?;
    host.wait_engine()?;
    if with_swarm {
        host.swarm_init()?;
        host.create_secret("of-the-old-swarm", b"x")?;
    }
    Ok(())
}

/// Waits until the agent stands still at the point that it was told.
fn hangs(running: &mut Background) -> Result<()> {
    let ended = wait_for("the agent to hang", LIMIT, || {
        let hangs = running.stderr()?.contains("fault: hang at");
        let ended = running.finished()?;
        Ok((hangs || ended.is_some()).then_some(ended.filter(|_| !hangs)))
    })?;
    ensure!(ended.is_none(), "it ended: {}", running.stderr()?);
    Ok(())
}
