//! Two booted hosts restore the same swarm at the same time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Host, Output, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json, text},
};

use super::{OLD, READDRESS, RESTORE, engines, labels, manager, restorer};

const LIMIT: Duration = Duration::from_secs(180);

/// Process id of the engine and when it was started: another one if it was stopped meanwhile.
fn engine(host: &Host) -> Result<String> {
    host.sh("systemctl show docker.service --property=MainPID,ActiveEnterTimestampMonotonic")
}

/// Lets both hosts restore at once, and returns the one that did, its report, and the one that did not.
fn race<'h>(hosts: [&'h Host; 2], words: &[&str]) -> Result<(&'h Host, Value, &'h Host)> {
    let before = [engine(hosts[0])?, engine(hosts[1])?];
    let words = [&["swarmdr-agent"], words, &["--json"]].concat();
    let running = [hosts[0].spawn(&words)?, hosts[1].spawn(&words)?];
    let [one, two] = running.map(|it| it.wait(LIMIT));
    let outputs: [Output; 2] = [one?, two?];
    let codes = [outputs[0].status.code(), outputs[1].status.code()];
    let won = match codes {
        [Some(0 | 6), Some(3)] => 0,
        [Some(3), Some(0 | 6)] => 1,
        _ => anyhow::bail!("{codes:?}\n{}\n{}", outputs[0].stderr, outputs[1].stderr),
    };
    let lost = 1 - won;
    let told: Value = serde_json::from_str(&outputs[lost].stdout)?;
    ensure!(text(&told, "/error")?.contains("another site has this swarm"), "{told:#}");
    ensure!(engine(hosts[lost])? == before[lost], "the engine of the second host was touched");
    let swarm = hosts[lost].docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])?;
    ensure!(swarm == "inactive", "the second host is {swarm}");
    let left = hosts[lost].sh("ls -A /var/lib/docker/.swarmdr 2>/dev/null || true")?;
    ensure!(left.is_empty(), "left on the second host: {left}");
    let report: Value = serde_json::from_str(&outputs[won].stdout)?;
    ensure!(labels(hosts[won])?["swarmdr.claim"] == report["claim"]["id"], "{:#}", report["claim"]);
    Ok((hosts[won], report, hosts[lost]))
}

#[tokio::test]
async fn of_two_hosts_that_restore_at_once_one_does() -> Result<()> {
    for engine in engines() {
        let site = Site::new(Release::V20).await?;
        let old = manager(&site, *engine)?;
        agent_json(&old, 0, &["backup"])?;
        old.destroy()?;
        let (one, two) = (restorer(&site, *engine, "r1", 21)?, restorer(&site, *engine, "r2", 22)?);
        // Both have the swarm's own address, as two instances of one template behind a translated address would.
        for host in [&one, &two] {
            host.sh(&format!("ip address add {}/32 dev lo", addr(OLD)))?;
        }
        let (won, report, lost) = race([&one, &two], &RESTORE).context("at the swarm's own address")?;
        ensure!(
            report["claim"]["epoch"] == 1 && report["claim"].get("superseded").is_some_and(Value::is_null),
            "{report:#}"
        );
        ensure!(report["claim"]["vaults"].as_array().is_some_and(|vaults| vaults.len() == 1), "{report:#}");
        // The plan says whose it is, and what a run would do.
        let plan = agent_json(lost, 0, &[&RESTORE[..], &["--dry-run"]].concat())?;
        ensure!(plan["notes"].to_string().contains("would end with exit code 3"), "{plan:#}");
        // Run again where it was restored, nothing is claimed again.
        agent_json(won, 0, &RESTORE)?;
        let listed = agent_json(lost, 0, &["list", "--claims", "--identity", IDENTITY])?;
        // A gateway may take two puts of the same moment; then one of the two is void.
        let claims = listed["claims"].as_array().context("lists the claims")?;
        let mut holding = claims.iter().filter(|claim| claim["state"] == "holds");
        let (holds, other) = (holding.next().context("one claim holds")?, holding.next());
        ensure!(holds["claim_id"] == report["claim"]["id"] && other.is_none(), "{listed:#}");
        let shown = agent(lost, &["list", "--claims", "--identity", IDENTITY])?.stdout;
        ensure!(shown.contains("EPOCH") && shown.contains("holds"), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn of_two_hosts_that_readdress_at_once_one_does_and_the_next_one_asks_it() -> Result<()> {
    let engine = engines()[0];
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine)?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;
    let (one, two) = (restorer(&site, engine, "r1", 21)?, restorer(&site, engine, "r2", 22)?);
    let (won, report, lost) = race([&one, &two], &READDRESS)?;
    ensure!(report["readdressed"]["addr"] == format!("{}:2377", won.addr()), "{report:#}");
    // The backup does not know where the swarm is now; the claim does. It is asked, and answers.
    let refused = agent_json(lost, 4, &READDRESS)?;
    ensure!(text(&refused, "/error")?.contains(&won.addr().to_string()), "{refused:#}");
    // Only the operator's word goes over it, and that is told to both sides.
    let forced = agent_json(lost, 0, &[&READDRESS[..], &["--fenced"]].concat())?;
    ensure!(
        forced["claim"]["epoch"] == 2 && forced["claim"]["superseded"]["claim_id"] == report["claim"]["id"],
        "{forced:#}"
    );
    Ok(())
}
