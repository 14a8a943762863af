//! Promotions that must not take place, and those that may although something is away.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, addr},
    scenario::{agent, agent_json, fingerprint},
};

use super::site::Pair;

const FENCE: &str = "/etc/swarmdr/hooks.d/fence";

#[tokio::test]
async fn nothing_is_promoted_over_a_site_that_may_live() -> Result<()> {
    let mut pair = Pair::new(Engine::E26_1, false).await?;
    agent_json(&pair.spare, 0, &["standby"])?;
    // Answers from another network: this host does not have the address yet.
    refused(&pair.spare, &["promote", "--fenced"], "has the address", "the address")?;
    refused(&pair.spare, &["promote", "--readdress"], "are alive", "the old site answers")?;
    pair.burn()?;
    pair.move_address()?;
    let spare = &pair.spare;
    refused(spare, &["promote"], "is cut off", "nobody vouches, and nothing fences")?;
    write_hook(spare, "#!/bin/sh\necho the power switch does not answer >&2\nexit 1\n")?;
    refused(spare, &["promote"], "the power switch does not answer", "the hook fails")?;
    refused(spare, &["promote", "--fenced"], "the power switch does not answer", "the hook fails, whoever vouches")?;
    refused(spare, &["promote", "--max-lag", "1s"], "--max-lag", "the backup is too old")?;
    let usage = agent(spare, &["promote", "--fenced", "--managers", "2"])?;
    ensure!(usage.status.code() == Some(2), "{usage:?}");
    let before = fingerprint(spare)?;
    write_hook(spare, "#!/bin/sh\necho $SWARMDR_HOOK_MANAGERS > /run/fenced\n")?;
    let unchanged = fingerprint(spare)?;
    ensure!(before != unchanged, "the hook is another one");
    let planned = agent_json(spare, 0, &["promote", "--dry-run"])?;
    ensure!(planned["formed"] == true, "{planned:#}");
    ensure!(fingerprint(spare)? == unchanged, "a dry run changed something");
    vault_away(&pair)?;
    let spare = &pair.spare;
    let report = agent_json(spare, 0, &["promote"])?;
    let fenced = spare.sh("cat /run/fenced")?;
    ensure!(fenced.contains(&format!("{}:2377", addr(11))), "{fenced}");
    ensure!(report["restore"]["claim"]["epoch"] == 1, "{report:#}");
    pair.require_same()?;
    stepped_down(&pair)
}

/// Without any vault somebody has to vouch that no other host takes the swarm; with that, what is kept is enough.
fn vault_away(pair: &Pair) -> Result<()> {
    let (spare, gateway) = (&pair.spare, pair.site.lab.gateway_ip());
    spare.sh(&format!("ip route add prohibit {gateway}/32"))?;
    refused(spare, &["promote"], "no vault answers", "no vault answers")?;
    let planned = agent_json(spare, 6, &["promote", "--fenced", "--dry-run"])?;
    ensure!(planned["formed"] == true && planned["notes"].to_string().contains("no vault said"), "{planned:#}");
    spare.sh(&format!("ip route del prohibit {gateway}/32"))?;
    Ok(())
}

/// The way back: the site gives its claim up once, and not a second time.
fn stepped_down(pair: &Pair) -> Result<()> {
    let spare = &pair.spare;
    let planned = agent_json(spare, 0, &["step-down", "--dry-run"])?;
    ensure!(planned["result"] == "would-release", "{planned:#}");
    let released = agent_json(spare, 0, &["step-down", "--reason", "back home"])?;
    ensure!(released["result"] == "released" && released["claim"]["epoch"] == 1, "{released:#}");
    refused_again(spare).context("a second time")?;
    spare.wait_manager()
}

fn refused_again(spare: &Host) -> Result<()> {
    let output = agent(spare, &["step-down"])?;
    ensure!(output.status.code() == Some(4), "{output:?}");
    Ok(())
}

/// Checks that a run is refused for this reason, and that the host is as it was.
fn refused(spare: &Host, words: &[&str], why: &str, case: &str) -> Result<()> {
    let before = fingerprint(spare)?;
    let output = agent(spare, words)?;
    ensure!(output.status.code() == Some(4), "{case}: {output:?}");
    ensure!(output.stderr.contains(why), "{case}: {}", output.stderr);
    ensure!(fingerprint(spare)? == before, "{case}: the host changed");
    ensure!(spare.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "inactive", "{case}");
    Ok(())
}

fn write_hook(spare: &Host, script: &str) -> Result<()> {
    spare.write_file(FENCE, script)?;
    spare.sh(&format!("chmod 755 {FENCE}")).map(drop)
}

/// The day on which the vault burnt down as well.
#[tokio::test]
async fn a_site_comes_back_without_any_vault() -> Result<()> {
    let mut pair = Pair::new(Engine::E26_1, false).await?;
    agent_json(&pair.spare, 0, &["standby"])?;
    pair.burn()?;
    pair.move_address()?;
    let (spare, gateway) = (&pair.spare, pair.site.lab.gateway_ip());
    spare.sh(&format!("ip route add prohibit {gateway}/32"))?;
    let report = agent_json(spare, 6, &["promote", "--fenced"])?;
    ensure!(report["from_kept"] == true && report["formed"] == true, "{report:#}");
    ensure!(report["attention"].to_string().contains("no vault said"), "{report:#}");
    ensure!(report["restore"]["attention"].to_string().contains("no claim was made"), "{report:#}");
    pair.require_same()
}
