//! Times from the command to a leader, for one state of three managers with a long log, in one run: a state that was
//! formed beforehand, the newest backup of a vault, and what the manual says.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, Host, addr},
    scenario::{IDENTITY, agent_json, number},
};

use super::site::{Pair, SHELF};

/// Most milliseconds from `promote` to a leader on a machine that does nothing else. Twice that is too much anywhere.
const WANTED: u64 = 2_000;

#[tokio::test]
async fn a_promotion_is_compared_with_a_restore_and_with_the_manual() -> Result<()> {
    for engine in generations() {
        let mut pair = Pair::new(*engine, true).await?;
        agent_json(&pair.spare, 0, &["standby"])?;
        let state = save(&pair.managers[0])?;
        pair.burn()?;
        pair.move_address()?;
        let spare = &pair.spare;
        spare.sh(&format!("cp -a {SHELF} /root/shelf"))?;

        let mut promoted = Vec::new();
        for _ in 0..3 {
            reset(spare)?;
            let report = agent_json(spare, 0, &["promote", "--fenced"])?;
            ensure!(report["formed"] == true, "{report:#}");
            promoted.push((number(&report, "/leader_ms")?, phases(&report["phases"])));
        }
        promoted.sort();
        reset(spare)?;
        let begun = Instant::now();
        let report = agent_json(spare, 0, &["restore", "--latest", "--fenced", "--identity", IDENTITY])?;
        let restored = begun.elapsed().as_millis();
        reset(spare)?;
        spare.write_file("/root/state.tar", &state)?;
        let manual = by_hand(spare, addr(pair.maker))?;
        println!("\n{engine:?}: from the command to a leader");
        println!("  promote, state formed beforehand  {:>6} ms  {}", promoted[1].0, promoted[1].1);
        println!("    (three runs: {:?})", promoted.iter().map(|(ms, _)| ms).collect::<Vec<_>>());
        println!("  restore --latest                  {restored:>6} ms  {}", phases(&report["phases"]));
        println!("  the manual's way                  {manual:>6} ms  stop, tar x, start, init --force-new-cluster\n");
        ensure!(promoted[0].0 < 2 * WANTED, "{promoted:?}");
        if *engine == Engine::E26_1 {
            ensure!(u128::from(promoted[1].0) < restored, "the state was formed beforehand for nothing");
        }
    }
    Ok(())
}

/// Returns a copy of a manager's state as the manual makes it.
fn save(manager: &Host) -> Result<Vec<u8>> {
    manager.sh("systemctl stop docker.socket docker.service; tar -C /var/lib/docker -cf /root/state.tar swarm")?;
    Ok(std::fs::read(manager.root()?.join("root/state.tar"))?)
}

/// Does what Docker's manual says (Administer and maintain a swarm of Docker Engines), and returns the milliseconds.
fn by_hand(spare: &Host, own: Ipv4Addr) -> Result<u128> {
    let begun = Instant::now();
    spare.sh(&format!(
        "systemctl stop docker.socket docker.service; rm -rf /var/lib/docker/swarm
         tar -C /var/lib/docker -xf /root/state.tar; systemctl start docker.service
         docker swarm init --force-new-cluster --advertise-addr {own} >/dev/null
         until docker node ls >/dev/null 2>&1; do :; done"
    ))?;
    Ok(begun.elapsed().as_millis())
}

fn reset(spare: &Host) -> Result<()> {
    spare.sh(&format!(
        "docker swarm leave --force >/dev/null 2>&1 || true
         systemctl stop docker.socket docker.service
         rm -rf /var/lib/docker/swarm* /var/lib/docker/.swarmdr {SHELF} /var/lib/swarmdr/promotion.json /var/lib/swarmdr/claim.json
         cp -a /root/shelf {SHELF}
         systemctl reset-failed docker.socket docker.service 2>/dev/null || true
         systemctl start docker.socket docker.service"
    ))?;
    spare.wait_engine()
}

fn phases(phases: &Value) -> String {
    let one = |phase: &Value| format!("{} {}", phase["name"].as_str().unwrap_or_default(), phase["ms"]);
    phases.as_array().map(|all| all.iter().map(one).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}
