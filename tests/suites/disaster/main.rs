//! Restores on a bad day: interrupted, repeated, late, locked or expired.
//!
//! `SWARMDR_TEST_FULL=1` runs all of it on three generations of engines; by default each case runs once.

mod again;
mod alive;
mod cut;
mod engines;
mod expired;
mod external;
mod joining;
mod late;
mod left;
mod living;
mod locked;
mod majority;
mod net;
mod odd;
mod rotating;
mod unusual;

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::{full, generations},
    lab::{Background, Engine, Host, HostSpec, Role, addr, wait_for},
    scenario::{IDENTITY, Site, agent_with_faults, text},
};

const RESTORE: [&str; 4] = ["restore", "--latest", "--identity", IDENTITY];

/// Limit for a restore of a small state, which takes seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Boots three managers of a swarm with content; the first one makes backups.
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

/// Boots one manager of a swarm with content, which makes backups.
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

/// Returns the package of mount(8) for 28.5, in whose suite no package that an engine needs depends on it.
fn mount_of(engine: Engine) -> &'static [&'static str] {
    if engine == Engine::E28_5 { &["mount"] } else { &[] }
}

/// Removes the engine's swarm from the host, and on request makes another swarm there, which is not to be lost.
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

/// Waits until the agent hangs at its failpoint.
fn hangs(running: &mut Background) -> Result<()> {
    let ended = wait_for("the agent to hang", LIMIT, || {
        let hangs = running.stderr()?.contains("fault: hang at");
        let ended = running.finished()?;
        Ok((hangs || ended.is_some()).then_some(ended.filter(|_| !hangs)))
    })?;
    ensure!(ended.is_none(), "it ended: {}", running.stderr()?);
    Ok(())
}
