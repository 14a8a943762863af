//! Unusual swarms that move: autolocked, of three managers, with IPv6, behind a translated address.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{Site, agent_json},
};

use super::{NEW, OLD, RESTORE, ensure_no_trace, ensure_nothing_left, fresh, lasting, text};

const UNLOCK_KEY: &str = "/root/unlock-key";

const SITE_LOCAL: [&str; 2] = ["fd77::11", "fd77::12"];

#[tokio::test]
async fn a_locked_swarm_of_three_moves_locked() -> Result<()> {
    if !full() {
        println!("LEFT OUT, runs with SWARMDR_TEST_FULL=1");
        return Ok(());
    }
    for engine in Engine::ALL {
        locked(engine).await.with_context(|| format!("engine {}", engine.version()))?;
        println!("{}: three managers, locked, and one of them elsewhere", engine.version());
    }
    Ok(())
}

async fn locked(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let spec = |n: u8| HostSpec::new(&format!("m{n}"), engine, addr(n));
    let hosts = site.lab.boot_all([spec(OLD), spec(21), spec(22)])?;
    hosts[0].swarm_init()?;
    hosts[0].create_secret("db-password", b"correct horse battery staple")?;
    for host in &hosts[1..] {
        host.join(&hosts[0], Role::Manager)?;
    }
    hosts[0].docker(&["swarm", "update", "--autolock=true"])?;
    let key = hosts[0].docker(&["swarm", "unlock-key", "-q"])?;
    site.set_up_manager(&hosts[0])?;
    agent_json(&hosts[0], 0, &["backup"])?;
    let before = lasting(&hosts[0])?;
    // One living manager is enough for a refusal, even if it is the old one itself.
    let mut host = fresh(&site, engine)?;
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
    let with_key = [&RESTORE[..], &["--unlock-key", UNLOCK_KEY]].concat();
    let [old, second, third] = hosts;
    second.destroy()?;
    third.destroy()?;
    let refused = agent_json(&host, 4, &with_key)?;
    ensure!(text(&refused, "/error")?.contains(&addr(OLD).to_string()), "{refused:#}");
    old.destroy()?;

    let report = agent_json(&host, 0, &with_key)?;
    ensure!(report["autolocked"] == Value::Bool(true), "{report:#}");
    ensure!(report["dead_nodes"].as_array().is_some_and(|nodes| nodes.len() == 2), "{report:#}");
    ensure_nothing_left(&host)?;
    ensure!(lasting(&host)? == before);
    ensure!(host.docker(&["swarm", "unlock-key", "-q"])? == key, "the key is another one");
    ensure_no_trace(&host)?;
    host.reboot()?;
    host.wait_engine()?;
    ensure!(host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "locked");
    // The same command unlocks it.
    let report = agent_json(&host, 0, &with_key)?;
    ensure!(text(&report, "/result")? == "already-there" && report["unlocked"] == Value::Bool(true), "{report:#}");
    host.wait_manager()?;
    ensure!(lasting(&host)? == before);
    ensure!(!host.journal("*", 100_000)?.contains(key.trim_start_matches("SWMKEY-1-")), "the journal holds the key");
    Ok(())
}

#[tokio::test]
async fn a_swarm_with_ipv6_moves() -> Result<()> {
    let [old, new] = SITE_LOCAL;
    elsewhere(old, &format!("[{old}]:2377"), old, new).await
}

/// No interface has the swarm's address, neither on the old host nor on the new one.
#[tokio::test]
async fn a_swarm_behind_a_translated_address_moves() -> Result<()> {
    let own = addr(OLD).to_string();
    elsewhere("192.0.2.7", &format!("{own}:2377"), &own, &addr(NEW).to_string()).await
}

/// Moves a swarm from its address `raft`, on a host with the address `own`, to the address `new`.
async fn elsewhere(raft: &str, listen: &str, own: &str, new: &str) -> Result<()> {
    if !full() {
        println!("LEFT OUT, runs with SWARMDR_TEST_FULL=1");
        return Ok(());
    }
    let site = Site::new(Release::V20).await?;
    let old = site.lab.boot(HostSpec::new("old", Engine::E26_1, addr(OLD)))?;
    give(&old, own)?;
    old.docker(&["swarm", "init", "--advertise-addr", raft, "--listen-addr", listen])?;
    old.wait_manager()?;
    old.create_secret("db-password", b"correct horse battery staple")?;
    site.set_up_manager(&old)?;
    agent_json(&old, 0, &["backup"])?;
    let before = lasting(&old)?;
    old.destroy()?;

    let host = fresh(&site, Engine::E26_1)?;
    if new.contains(':') {
        let refused = agent_json(&host, 4, &RESTORE)?;
        ensure!(refused["to_do"].to_string().contains("--advertise-addr"), "{refused:#}");
    }
    give(&host, new)?;
    let report = agent_json(&host, 0, &RESTORE)?;
    let at = text(&report, "/readdressed/addr")?;
    ensure!(at.parse::<SocketAddr>()?.ip().to_string() == new, "{report:#}");
    ensure_nothing_left(&host)?;
    ensure!(lasting(&host)? == before);
    host.sh("systemctl restart docker.service")?;
    host.wait_manager()?;
    let info = host.docker(&["info", "--format", "{{json .Swarm}}"])?;
    ensure!(!info.contains(raft) && info.contains(new), "{info}");
    Ok(())
}

/// Adds an IPv6 address to the host, which is gone after the next boot.
fn give(host: &Host, ip: &str) -> Result<()> {
    if ip.contains(':') {
        host.sh(&format!("ip -6 address add {ip}/64 dev host0 nodad"))?;
    }
    Ok(())
}
