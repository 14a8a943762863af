//! What happens between the checks of a promotion and its claim.

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host},
    scenario::{CONFIG, VAULT, agent_json},
};

use super::site::{Pair, wait_gone};

const LIMIT: Duration = Duration::from_secs(300);

/// Waits until the promotion has come as far as its hook `pre-promote`, which ends once it may.
const HOOK: &str = "#!/bin/sh\ntouch /run/hooked\nwhile [ ! -e /run/go ]; do sleep 0.1; done\n";

/// Holds the lock of the second engine, as a standby does that forms a state.
const HOLD: &str = "mkdir -p -m 700 /run/swarmdr; touch /run/held; \
    exec flock /run/swarmdr/second-engine.lock sh -c 'touch /run/locked; while [ -e /run/held ]; do sleep 0.1; done'";

#[tokio::test]
async fn a_sign_that_is_left_during_the_promotion_stops_it_and_a_second_engine_is_waited_for() -> Result<()> {
    let pair = Pair::new(Engine::E26_1, false).await?;
    let (old, spare) = (&pair.managers[0], &pair.spare);
    old.write_file(
        CONFIG,
        format!("{}\n[standby]\nsign_of_life = \"2m\"\nsite = \"fra1\"\n", pair.site.config(VAULT)),
    )?;
    spare.sh("mkdir -p /etc/swarmdr/hooks.d")?;
    spare.write_file("/etc/swarmdr/hooks.d/pre-promote", HOOK)?;
    spare.sh("chmod 755 /etc/swarmdr/hooks.d/pre-promote")?;
    let held = spare.spawn(&["sh", "-c", HOLD])?;
    exists(spare, "/run/locked")?;

    // The operator is wrong: the old site works, and leaves a sign after it was looked for.
    let promoting = spare.spawn(&["swarmdr-agent", "promote", "--fenced", "--readdress"])?;
    exists(spare, "/run/hooked")?;
    agent_json(old, 0, &["life"])?;
    spare.sh("touch /run/go")?;
    spare.wait_for("the promotion to wait for the second engine", LIMIT, || {
        Ok(promoting.stderr()?.contains("for the second engine of this host").then_some(()))
    })?;
    spare.sh("rm /run/held")?;
    held.wait(LIMIT)?;
    let output = promoting.wait(LIMIT)?;
    ensure!(output.status.code() == Some(4), "{output:?}");
    ensure!(output.stderr.contains("the old site is alive: site fra1"), "{}", output.stderr);
    ensure!(spare.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "inactive", "it has a swarm");
    wait_gone(spare)?;
    let listed = agent_json(spare, 0, &["list", "--claims"])?;
    ensure!(listed["claims"].as_array().is_some_and(Vec::is_empty), "{listed:#}");
    Ok(())
}

fn exists(host: &Host, path: &str) -> Result<()> {
    host.wait_for(path, LIMIT, || Ok(host.run(&["test", "-e", path])?.status.success().then_some(())))
}
