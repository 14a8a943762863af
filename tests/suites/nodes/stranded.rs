//! Workers whose engines say `active`, and whom no manager keeps: the swarm was restored without them, or elsewhere.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, Host, Lab, Role, addr},
    scenario::{CONFIG, agent_json, text},
};

use crate::yard::{
    LIMIT, MANAGER, SILENT, TOKEN, boot, configure, join, manage, report, said, start, token, wait_worker,
};

const ELSEWHERE: u8 = 21;

/// The backup is older than two of the workers. The engine of one runs on, and stays `active`; that of the other was
/// started since, and stays `pending`.
#[test]
fn workers_that_a_restored_manager_does_not_know_join_anew() -> Result<()> {
    for engine in generations() {
        unknown(*engine).with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

fn unknown(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [("m", MANAGER), ("known", 12), ("active", 13), ("pending", 14)];
    let [manager, known, active, pending] = boot(&lab, engine, hosts)?;
    manage(&manager)?;
    known.join(&manager, Role::Worker)?;
    agent_json(&manager, 0, &["backup"])?;
    for host in [&active, &pending] {
        host.join(&manager, Role::Worker)?;
    }
    for host in [&known, &active, &pending] {
        configure(host, &[MANAGER])?;
        host.write_file(TOKEN, token(&manager, "worker")?)?;
    }
    let before = [&known, &active, &pending].map(node_id).into_iter().collect::<Result<Vec<_>>>()?;
    manager.sh("systemctl stop docker.socket docker.service; rm -rf /var/lib/docker/swarm
         systemctl start docker.socket docker.service")?;
    manager.wait_engine()?;
    agent_json(&manager, 0, &["restore", "--latest"])?;
    pending.sh("systemctl restart docker.service")?;
    wait_worker(&manager, &known)?;

    // Not found by the managers, and not for long enough: it stays, and this is no success.
    let told = active.wait_for("it to be refused", LIMIT, || {
        let output = active.run(&["swarmdr-agent", "node", "join", "--json"])?;
        Ok((output.status.code() == Some(1)).then_some(output.stdout))
    })?;
    ensure!(told.contains("its node is not known"), "{told}");
    ensure!(node_id(&active)? == before[1], "it left at once");

    let mut joins = [start(&known)?, start(&active)?, start(&pending)?];
    said(&active, &mut joins[1], "do not know this node")?;
    for ((host, join), id) in [&known, &active, &pending].into_iter().zip(joins).zip(before) {
        let report = report(&join.wait(LIMIT)?, 0).with_context(|| host.name().to_owned())?;
        let is_known = host.name() == "known";
        ensure!(report["outcome"] == if is_known { "already" } else { "joined" }, "{}: {report:#}", host.name());
        ensure!(report["was_unknown"] == !is_known, "{report:#}");
        ensure!((node_id(host)? == id) == is_known, "{}: {id}", host.name());
        wait_worker(&manager, host)?;
        ensure!(join_again(host)? == "already");
    }
    Ok(())
}

fn join_again(host: &Host) -> Result<String> {
    Ok(text(&join(host, 0, &[])?, "/outcome")?.to_owned())
}

fn node_id(host: &Host) -> Result<String> {
    host.docker(&["info", "--format", "{{.Swarm.NodeID}}"])
}

/// The swarm was restored at another address, with the same root CA, and its old manager is gone after a while.
#[test]
fn a_worker_follows_its_swarm_to_another_address_and_leaves_no_swarm_that_lives() -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [("m", MANAGER), ("new", ELSEWHERE), ("second", 22), ("h", 12), ("b", 13)];
    let [mut manager, new, second, host, balanced] = boot(&lab, Engine::E26_1, hosts)?;
    manage(&manager)?;
    for host in [&host, &balanced] {
        host.join(&manager, Role::Worker)?;
    }
    agent_json(&manager, 0, &["backup"])?;
    new.write_file("/root/agent.tar", lab_copy(&manager)?)?;
    new.sh("base64 -d /root/agent.tar | tar x -C /")?;
    let worker = token(&manager, "worker")?;
    for host in [&host, &balanced] {
        host.write_file(TOKEN, &worker)?;
    }
    what_is_no_manager(&lab, &manager, &host)?;

    // A twin, as after a restore that was told that the old site is off.
    agent_json(&new, 0, &["restore", "--latest", "--readdress", "--fenced", "--without-claim"])?;
    ensure!(token(&new, "worker")? == worker, "it is another root CA");
    a_manager_that_is_off_for_a_while(&manager, &host)?;

    manager.kill()?;
    let id = node_id(&host)?;
    configure(&host, &[ELSEWHERE])?;
    // Ten minutes are not over after twenty seconds.
    let early = join(&host, 1, &["--wait", "20s"])?;
    ensure!(text(&early, "/error")?.contains("no manager that it knows answers"), "{early:#}");
    ensure!(node_id(&host)? == id, "it left too early");
    dead_after(&host, &[ELSEWHERE], "20s")?;
    a_manager_without_a_leader(&new, &second, &host)?;
    let planned = join(&host, 0, &["--dry-run"])?;
    ensure!(planned["outcome"] == "would-leave" && node_id(&host)? == id, "{planned:#}");
    let moved = join(&host, 0, &["--wait", "4m"])?;
    ensure!(moved["outcome"] == "joined" && moved["role"] == "worker", "{moved:#}");
    ensure!(moved["moved_from"] == Value::from(vec![format!("{}:2377", addr(MANAGER))]), "{moved:#}");
    wait_worker(&new, &host)?;
    ensure!(join_again(&host)? == "already");
    behind_a_load_balancer(&lab, &new, &balanced)
}

/// One of two managers shows its certificate without the other, and lets nobody in.
fn a_manager_without_a_leader(new: &Host, second: &Host, host: &Host) -> Result<()> {
    second.join(new, Role::Manager)?;
    second.sh("systemctl stop docker.socket docker.service")?;
    new.wait_for("the swarm to have no leader", LIMIT, || Ok(new.docker(&["node", "ls"]).is_err().then_some(())))?;
    let id = node_id(host)?;
    let stays = join(host, 1, &["--wait", "45s"])?;
    ensure!(stays.to_string().contains("it hands out no root CA as a manager does"), "{stays:#}");
    ensure!(node_id(host)? == id, "it left for a manager that lets nobody in");
    second.sh("systemctl start docker.socket docker.service")?;
    new.wait_manager()
}

/// What takes connections at the only address that a worker knows is a load balancer whose manager is gone.
fn behind_a_load_balancer(lab: &Lab, new: &Host, host: &Host) -> Result<()> {
    let balancer = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 2377)))??;
    host.sh(&format!(
        "iptables -t nat -I OUTPUT -p tcp -d {} --dport 2377 -j DNAT --to-destination {}",
        addr(MANAGER),
        balancer.local_addr()?
    ))?;
    dead_after(host, &[ELSEWHERE], "20s")?;
    let id = node_id(host)?;
    let stays = join(host, 1, &["--wait", "40s"])?;
    ensure!(text(&stays, "/error")?.contains("what answers where it knows managers is none"), "{stays:#}");
    ensure!(stays.to_string().contains("--leave-dead --wait 15m") && node_id(host)? == id, "{stays:#}");
    let moved = join(host, 0, &["--leave-dead", "--wait", "4m"])?;
    ensure!(moved["outcome"] == "joined" && moved["moved_from"][0].is_string(), "{moved:#}");
    wait_worker(new, host)
}

/// The agent's own directory of a host: the keys and the vault.
fn lab_copy(host: &Host) -> Result<String> {
    host.sh("tar c -C / var/lib/swarmdr | base64")
}

fn dead_after(host: &Host, managers: &[u8], after: &str) -> Result<()> {
    configure(host, managers)?;
    let config = host.read_file(CONFIG)?;
    host.write_file(CONFIG, format!("{config}\ndead_after = {after:?}\n"))
}

/// The wanted address accepts connections, as a load balancer does, and no manager is behind it.
fn what_is_no_manager(lab: &Lab, manager: &Host, host: &Host) -> Result<()> {
    let _open = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 2377)))??;
    dead_after(host, &[SILENT], "5s")?;
    let id = node_id(host)?;
    ensure!(join_again(host)? == "already");
    manager.sh("systemctl stop docker.socket docker.service")?;
    let silent = join(host, 1, &["--wait", "40s"])?;
    ensure!(text(&silent, "/error")?.contains("no manager that it knows answers"), "{silent:#}");
    ensure!(node_id(host)? == id, "it left for what is no manager");
    manager.sh("systemctl start docker.socket docker.service")?;
    manager.wait_manager()?;
    wait_worker(manager, host)
}

/// The wanted manager is a real one elsewhere, and the known one is off for less than it takes.
fn a_manager_that_is_off_for_a_while(manager: &Host, host: &Host) -> Result<()> {
    dead_after(host, &[ELSEWHERE], "60s")?;
    let id = node_id(host)?;
    ensure!(join_again(host)? == "already");
    manager.sh("systemctl stop docker.socket docker.service")?;
    let mut running = start(host)?;
    said(host, &mut running, "no manager answers of")?;
    manager.sh("systemctl start docker.socket docker.service")?;
    manager.wait_manager()?;
    let report = report(&running.wait(LIMIT)?, 0)?;
    ensure!(report["outcome"] == "already" && node_id(host)? == id, "{report:#}");
    wait_worker(manager, host)
}
