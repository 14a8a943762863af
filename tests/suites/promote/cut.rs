//! A promotion that is interrupted at any point is ended by the next run: finished, or undone and begun again.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host},
    scenario::{agent, agent_json, text},
};

use super::site::{Pair, SHELF};

/// A promotion whose claim does not wait: the next run goes on with it only after `claim_settle`.
const SETTLE: &str = "[standby]\nclaim_settle = 2\n";

/// All points of a promotion from a state that was formed beforehand.
const POINTS: [&str; 16] = [
    "claim",
    "claim-noted",
    "claim-put",
    "staged",
    "stop",
    "stop-noted",
    "aside-noted",
    "place-noted",
    "start",
    "start-noted",
    "confirm-noted",
    "done",
    "finished",
    "label",
    "restored",
    "scaled",
];

fn points() -> Vec<&'static str> {
    match full() {
        true => POINTS.to_vec(),
        false => POINTS
            .into_iter()
            .filter(|point| ["claim-put", "place-noted", "start-noted", "restored"].contains(point))
            .collect(),
    }
}

#[tokio::test]
async fn a_promotion_that_was_killed_is_ended_by_the_next_run() -> Result<()> {
    let mut pair = Pair::new(Engine::E26_1, false).await?;
    pair.configure(SETTLE)?;
    agent_json(&pair.spare, 0, &["standby"])?;
    pair.burn()?;
    pair.move_address()?;
    pair.spare.sh(&format!("cp -a {SHELF} /root/shelf"))?;
    hook(&pair.spare)?;
    for point in points() {
        reset(&pair.spare)?;
        let fault = format!("SWARMDRTEST_FAULT=kill@{point}");
        let killed = pair.spare.run(&["env", &fault, "swarmdr-agent", "promote", "--fenced"])?;
        ensure!(killed.stderr.contains(&format!("fault: kill at {point}")), "{point}: {}", killed.stderr);
        let report = agent_json(&pair.spare, 0, &["promote", "--fenced"]).with_context(|| format!("after {point}"))?;
        ensure!(["promoted", "finished", "serves"].contains(&text(&report, "/result")?), "{point}: {report:#}");
        pair.require_same().with_context(|| format!("after a kill at {point}"))?;
        let switched = pair.spare.sh("wc -l < /root/switched")?;
        ensure!(switched == "1", "after a kill at {point} the traffic was moved {switched} times");
        let again = agent_json(&pair.spare, 0, &["promote", "--fenced"])?;
        ensure!(text(&again, "/result")? == "serves", "{point}: {again:#}");
        ensure!(pair.spare.sh("wc -l < /root/switched")? == "1", "{point}");
    }
    undone(&pair)
}

/// A promotion that fails puts back what was there, and gives its claim up, so that the next one need not wait.
fn undone(pair: &Pair) -> Result<()> {
    let spare = &pair.spare;
    reset(spare)?;
    let fault = "SWARMDRTEST_FAULT=panic@confirm-noted";
    let output = spare.run(&["env", fault, "swarmdr-agent", "promote", "--fenced"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(spare.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "inactive", "{output:?}");
    ensure!(spare.sh("cat /root/switched")?.is_empty(), "the traffic was not to be moved");
    let report = agent_json(spare, 0, &["promote", "--fenced"])?;
    ensure!(report["formed"] == true, "{report:#}");
    pair.require_same()
}

/// Installs a program that moves the traffic.
fn hook(spare: &Host) -> Result<()> {
    spare.write_file(
        "/etc/swarmdr/hooks.d/post-promote",
        "#!/bin/sh\necho $SWARMDR_HOOK_BACKUP_ID >> /root/switched\n",
    )?;
    spare.sh("chmod 755 /etc/swarmdr/hooks.d/post-promote").map(drop)
}

/// Makes the host a standby again that was never promoted; its earlier claims stay in the vault.
fn reset(spare: &Host) -> Result<()> {
    let left = agent(spare, &["status"])?;
    ensure!(left.status.code().is_some(), "{left:?}");
    spare.sh(&format!(
        "docker swarm leave --force >/dev/null 2>&1 || true
         systemctl stop docker.socket docker.service
         rm -rf /var/lib/docker/swarm* /var/lib/docker/.swarmdr {SHELF} /var/lib/swarmdr/promotion.json /var/lib/swarmdr/data-root
         cp -a /root/shelf {SHELF}; : > /root/switched
         systemctl reset-failed docker.socket docker.service 2>/dev/null || true
         systemctl start docker.socket docker.service"
    ))?;
    spare.wait_engine()?;
    spare.load_image()
}
