//! A swarm of two managers: which of them may be stopped, and a majority that is lost.

use std::time::Duration;

use anyhow::Result;
use swarmdr_tests::lab::{Engine, HostSpec, Role, addr};

use super::desk::Desk;

const LIMIT: Duration = Duration::from_secs(90);

pub fn cases(desk: &mut Desk) -> Result<()> {
    desk.both("recover-quorum", 0, "a swarm with a leader", &["recover-quorum"])?;
    let mut other = desk.site.lab.boot(HostSpec::new("m2", Engine::E26_1, addr(12)))?;
    other.join(&desk.host, Role::Manager)?;
    desk.both("backup", 4, "one of two managers", &["backup"])?;
    desk.terminal(
        "backup",
        0,
        "one of two managers, all the same: the plan",
        &["backup", "--allow-quorum-loss", "--dry-run"],
    )?;
    other.kill()?;
    desk.host
        .wait_for("the leader to be lost", LIMIT, || Ok(desk.host.docker(&["node", "ls"]).is_err().then_some(())))?;
    desk.terminal("backup", 4, "the swarm has no leader", &["backup"])?;
    desk.terminal("doctor", 6, "the swarm has no leader", &["doctor"])?;
    desk.terminal("recover-quorum", 0, "the plan", &["recover-quorum", "--dry-run"])?;
    desk.terminal("recover-quorum", 0, "done", &["recover-quorum"])?;
    desk.host.wait_manager()?;
    desk.json("recover-quorum", 0, "the second run", &["recover-quorum"])
}
