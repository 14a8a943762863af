//! Nodes: hosts join a swarm by themselves, managers become enough for a majority, dead nodes go, services use the new ones.

mod cut;
mod dead;
mod elsewhere;
mod grow;
mod join;
mod spread;
mod stranded;
mod tidy;
mod yard;

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, wait_for},
};

/// The engines that a campaign runs on: one in the plain run.
pub fn engines() -> &'static [Engine] {
    if full() { &[Engine::E26_1, Engine::E20_10, Engine::E28_5] } else { &[Engine::E26_1] }
}

/// Waits until the agent hangs at its failpoint, and kills it.
fn killed_at(host: &Host, point: &str, verb: &[&str]) -> Result<()> {
    let fault = format!("SWARMDRTEST_FAULT=hang@{point}");
    let mut running = host.spawn(&[&["env", &fault, "swarmdr-agent"], verb].concat())?;
    let ended = wait_for("the agent to hang", Duration::from_secs(180), || {
        let hangs = running.stderr()?.contains("fault: hang at");
        let ended = running.finished()?;
        Ok((hangs || ended.is_some()).then_some(ended.filter(|_| !hangs)))
    })?;
    ensure!(ended.is_none(), "it ended: {}", running.stderr()?);
    running.signal("KILL")
}
