//! The pilot light: a spare host takes the swarm over from what it keeps.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::{full, generations},
    lab::Host,
    scenario::{agent, agent_json, number, text},
};

use super::site::{Pair, SHELF, require_sealed};

#[tokio::test]
async fn a_state_that_was_formed_beforehand_leads_at_once_and_is_what_it_was() -> Result<()> {
    for engine in generations() {
        let mut pair = Pair::new(*engine, full()).await?;
        let kept = agent_json(&pair.spare, 0, &["standby"])?;
        println!("standby on {engine:?}: {}", kept["phases"]);
        require_sealed(&pair.spare)?;
        pair.burn()?;
        pair.move_address()?;
        let report = agent_json(&pair.spare, 0, &["promote", "--fenced", "--reason", "a test"])?;
        println!("promote on {engine:?}: leader after {} ms; {}", number(&report, "/leader_ms")?, report["phases"]);
        ensure!(report["formed"] == true && report["from_kept"] == true, "{report:#}");
        ensure!(report["scaled"][0]["service"] == "cron" && report["scaled"][0]["to"] == 2, "{report:#}");
        pair.require_same()?;
        claimed(&pair.spare)?;
        again(&pair.spare)?;
    }
    Ok(())
}

/// The claim says that the state was formed beforehand, from which backup, and that somebody vouched.
fn claimed(spare: &Host) -> Result<()> {
    let listed = agent_json(spare, 0, &["list", "--claims"])?;
    ensure!(listed["claims"][0]["verb"] == "promote" && listed["claims"][0]["reason"] == "a test", "{listed:#}");
    let claim = &listed["claims"][0];
    ensure!(claim["formed"] == true, "{claim:#}");
    let fence = claim["fence"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(fence.len() == 3 && fence.iter().all(|it| it["how"].to_string().contains("vouches")), "{claim:#}");
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
