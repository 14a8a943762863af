//! Times from the command to a leader, for one state of three managers with a long log, in one run: a state that was
//! formed beforehand, the newest backup of a vault, and what the manual says.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::{full, generations},
    lab::{Engine, Host, addr},
    scenario::{IDENTITY, agent_json, number},
};

use super::site::{Pair, SHELF};

/// Most milliseconds from `promote` to a leader on a machine that does nothing else. Twice that is too much anywhere.
const WANTED: u64 = 2_000;

/// A way to a leader, how many milliseconds it took, and on what they were spent.
struct Row {
    way: &'static str,
    ms: u64,
    phases: String,
}

#[tokio::test]
async fn a_promotion_is_compared_with_a_restore_and_with_the_manual() -> Result<()> {
    if !full() {
        println!("the comparison takes minutes: SWARMDR_TEST_FULL=1 makes it");
        return Ok(());
    }
    for engine in generations() {
        let mut pair = Pair::new(*engine, true).await?;
        agent_json(&pair.spare, 0, &["standby"])?;
        let state = save(&pair.managers[0])?;
        pair.burn()?;
        pair.move_address()?;
        pair.spare.sh(&format!("cp -a {SHELF} /root/shelf"))?;
        let rows = [promoted(&pair.spare)?, restored(&pair.spare)?, by_hand(&pair.spare, &state, addr(pair.maker))?];
        print(*engine, &rows);
        let [promoted, restored, _] = &rows;
        ensure!(promoted.ms < 2 * WANTED, "a promotion took {} ms: {}", promoted.ms, promoted.phases);
        if *engine == Engine::E26_1 {
            ensure!(promoted.ms < restored.ms, "the state was formed beforehand for nothing");
        }
    }
    Ok(())
}

fn print(engine: Engine, rows: &[Row]) {
    println!("\n| {engine:?} | to a leader | phases (ms) |\n|---|---:|---|");
    for Row { way, ms, phases } in rows {
        println!("| {way} | {:.2} s | {phases} |", *ms as f64 / 1000.0);
    }
    println!();
}

/// The middle one of three promotions of the state that was formed beforehand.
fn promoted(spare: &Host) -> Result<Row> {
    let mut runs = Vec::new();
    for _ in 0..3 {
        reset(spare)?;
        let report = agent_json(spare, 0, &["promote", "--fenced"])?;
        ensure!(report["formed"] == true, "{report:#}");
        runs.push((number(&report, "/leader_ms")?, phases(&report["phases"])));
    }
    runs.sort();
    let (ms, phases) = runs.swap_remove(1);
    Ok(Row { way: "promote, formed beforehand", ms, phases })
}

/// A restore of the newest backup in the vault. What comes after the leader does not count.
fn restored(spare: &Host) -> Result<Row> {
    reset(spare)?;
    let begun = Instant::now();
    let report = agent_json(spare, 0, &["restore", "--latest", "--fenced", "--identity", IDENTITY])?;
    let took = u64::try_from(begun.elapsed().as_millis())?;
    let all = report["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(all.iter().any(|phase| phase["name"] == "confirm"), "{report:#}");
    let after: u64 = all.iter().skip_while(|phase| phase["name"] != "confirm").filter_map(|it| it["ms"].as_u64()).sum();
    Ok(Row { way: "restore --latest", ms: took.saturating_sub(after), phases: phases(&report["phases"]) })
}

/// Returns a copy of a manager's state as the manual makes it.
fn save(manager: &Host) -> Result<Vec<u8>> {
    manager.sh("systemctl stop docker.socket docker.service; tar -C /var/lib/docker -cf /root/state.tar swarm")?;
    Ok(std::fs::read(manager.root()?.join("root/state.tar"))?)
}

/// Does what Docker's manual says (Administer and maintain a swarm of Docker Engines).
fn by_hand(spare: &Host, state: &[u8], own: Ipv4Addr) -> Result<Row> {
    reset(spare)?;
    spare.write_file("/root/state.tar", state)?;
    let begun = Instant::now();
    spare.sh(&format!(
        "systemctl stop docker.socket docker.service; rm -rf /var/lib/docker/swarm
         tar -C /var/lib/docker -xf /root/state.tar; systemctl start docker.service
         docker swarm init --force-new-cluster --advertise-addr {own} >/dev/null
         until docker node ls >/dev/null 2>&1; do :; done"
    ))?;
    let ms = u64::try_from(begun.elapsed().as_millis())?;
    Ok(Row { way: "by hand", ms, phases: "stop, tar x, start, init --force-new-cluster".to_owned() })
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
