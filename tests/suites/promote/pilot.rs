//! The pilot light: a spare host takes the swarm over from what it keeps.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::generations,
    lab::Host,
    scenario::{agent, agent_json, number, text},
};

use super::site::{Pair, SHELF, require_sealed};

#[tokio::test]
async fn a_state_that_was_formed_beforehand_leads_at_once_and_is_what_it_was() -> Result<()> {
    for engine in generations() {
        let mut pair = Pair::new(*engine, true).await?;
        let kept = agent_json(&pair.spare, 0, &["standby"])?;
        println!("standby on {engine:?}: {}", kept["phases"]);
        require_sealed(&pair.spare)?;
        pair.burn()?;
        pair.move_address()?;
        let report = agent_json(&pair.spare, 0, &["promote", "--fenced", "--reason", "a test"])?;
        println!("promote on {engine:?}: leader after {} ms; {}", number(&report, "/leader_ms")?, report["phases"]);
        ensure!(report["formed"] == true && report["from_kept"] == true, "{report:#}");
        pair.require_same()?;
        claimed(&pair.spare)?;
        again(&pair.spare)?;
    }
    Ok(())
}

/// The claim says that the state was formed beforehand, from which backup, and that somebody vouched.
fn claimed(spare: &Host) -> Result<()> {
    let listed = agent_json(spare, 0, &["list", "--claims"])?.to_string();
    for wanted in ["\"formed\":true", "\"verb\":\"promote\"", "\"reason\":\"a test\"", "vouches"] {
        ensure!(listed.contains(wanted), "{wanted} in {listed}");
    }
    Ok(())
}

/// A second run has nothing to do, and the host is no standby any more.
fn again(spare: &Host) -> Result<()> {
    let report = agent_json(spare, 0, &["promote", "--fenced"])?;
    ensure!(text(&report, "/result")? == "serves", "{report:#}");
    let output = agent(spare, &["standby"])?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    let left = spare.sh(&format!("ls {SHELF}"))?;
    ensure!(!left.contains("formed"), "what was formed is history: {left}");
    Ok(())
}
