//! The whole move: away from the old address, and a life at the new one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, IMAGE, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json, describe_swarm, fingerprint, populate, wait_populated},
};

use super::{NEW, OLD, RESTORE, ensure_no_trace, ensure_nothing_left, fresh, lasting, text};

/// Returns the engine that wrote the state, the one that takes over, and whether the long life of the swarm there is
/// tested.
fn pairs() -> Vec<(Engine, Engine, bool)> {
    let mut pairs = vec![(Engine::E26_1, Engine::E26_1, true), (Engine::E20_10, Engine::E28_5, full())];
    if full() {
        pairs.extend([(Engine::E20_10, Engine::E20_10, true), (Engine::E28_5, Engine::E28_5, true)]);
    }
    pairs
}

#[tokio::test]
async fn a_swarm_moves_and_stays() -> Result<()> {
    for (from, to, stays) in pairs() {
        let words = format!("engine {} to {}", from.version(), to.version());
        let site = Site::new(Release::V20).await?;
        let took = moves_and_stays(&site, from, to, stays).with_context(|| words.clone())?;
        println!("{words}: {took} ms");
    }
    Ok(())
}

fn moves_and_stays(site: &Site, from: Engine, to: Engine, stays: bool) -> Result<u64> {
    let before = leave(site, from)?;
    let mut host = fresh(site, to)?;
    refuses_without_being_told(&host)?;
    let took = moves(&host, &before)?;
    // From here on no route leads to the old address.
    host.sh("systemctl restart docker.service")?;
    host.wait_manager()?;
    ensure_no_trace(&host).context("after a restart of the engine")?;
    if !stays {
        return Ok(took);
    }
    works(site, &host, to)?;
    for boot in 1..=2 {
        host.reboot()?;
        host.wait_manager()?;
        ensure_no_trace(&host).with_context(|| format!("after {boot} boots"))?;
        host.wait_containers("cron", 1)?;
    }
    comes_back_at_its_new_address(site, host, to)?;
    Ok(took)
}

/// Makes and destroys a manager with all kinds of objects, after a backup. Returns the description that must come back.
fn leave(site: &Site, engine: Engine) -> Result<Vec<String>> {
    let host = site.lab.boot(HostSpec::new("old", engine, addr(OLD)))?;
    host.swarm_init()?;
    populate(&host)?;
    // The update is refused while the swarm itself changes the node ("update out of sequence").
    host.wait_for("the label", Duration::from_secs(60), || {
        Ok(host.docker(&["node", "update", "--label-add", "zone=one", "old"]).ok())
    })?;
    let pinned = ["--constraint=node.hostname==old", "--mount=type=volume,source=data,target=/data"];
    let fixed = ["service", "create", "--detach", "--no-resolve-image", "--init", "--network=host", "--name=pinned"];
    host.docker(&[&fixed[..], &pinned, &[IMAGE, "sleep", "1000000"]].concat())?;
    host.wait_containers("pinned", 1)?;
    site.set_up_manager(&host)?;
    agent_json(&host, 0, &["backup"])?;
    let before = lasting(&host)?;
    host.destroy()?;
    Ok(before)
}

fn refuses_without_being_told(host: &Host) -> Result<()> {
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 4, &["restore", "--latest", "--identity", IDENTITY])?;
    ensure!(refused["to_do"].to_string().contains("--readdress"), "{refused:#}");
    let plan = agent_json(host, 0, &[&RESTORE[..], &["--dry-run"]].concat())?;
    ensure!(text(&plan, "/readdress/addr")? == format!("{}:2377", addr(NEW)), "{plan:#}");
    let told = agent(host, &[&RESTORE[..], &["--dry-run"]].concat())?.stdout;
    println!("{told}");
    ensure!(told.contains(&format!("from {}:2377 to {}:2377", addr(OLD), addr(NEW))), "{told}");
    ensure!(fingerprint(host)? == untouched, "a dry run changed something");
    Ok(())
}

fn moves(host: &Host, before: &[String]) -> Result<u64> {
    // The service that is bound to the old host needs the operator's attention.
    let report = agent_json(host, 6, &[&RESTORE[..], &["--copy-labels"]].concat())?;
    ensure_nothing_left(host)?;
    ensure!(text(&report, "/readdressed/addr")? == format!("{}:2377", addr(NEW)), "{report:#}");
    let attention = report["attention"].as_array().context("no list")?;
    ensure!(attention.len() == 1 && attention[0].to_string().contains("node.hostname==old"), "{report:#}");
    let left = report["readdressed"]["left_behind"].to_string();
    ensure!(left.contains("service pinned uses the volume data") && !left.contains("labels"), "{report:#}");
    ensure!(lasting(host)? == before, "{:#?} is not {before:#?}", lasting(host)?);
    let node = host.docker(&["node", "inspect", "self", "--format", "{{.Spec.Labels.zone}} {{.Spec.Availability}}"])?;
    ensure!(node == "one active", "{node}");
    ensure!(host.docker(&["node", "ls", "--quiet"])?.lines().count() == 1);
    ensure_no_trace(host)?;
    wait_populated(host)?;

    let again = agent_json(host, 0, &RESTORE)?;
    ensure!(text(&again, "/result")? == "already-there", "{again:#}");
    println!("phases: {}", report["phases"]);
    let spent = report["phases"].as_array().context("no list")?.iter();
    Ok(spent.filter_map(|phase| phase["ms"].as_u64()).sum())
}

/// Checks that a worker joins with the printed command, and that services run where their constraints say.
fn works(site: &Site, host: &Host, engine: Engine) -> Result<()> {
    let join = host.docker(&["swarm", "join-token", "worker"])?;
    ensure!(join.contains(&format!("{}:2377", addr(NEW))) && !join.contains(&format!("{}:", addr(OLD))), "{join}");
    let worker = site.lab.boot(HostSpec::new("worker", engine, addr(13)))?;
    worker.load_image()?;
    worker.join(host, Role::Worker)?;
    host.docker(&["service", "update", "--detach", "--constraint-add=node.role==worker", "web"])?;
    worker.wait_containers("web", 2)?;
    host.docker(&["service", "update", "--detach", "--replicas=2", "--env-add=A=b", "cron"])?;
    let image = |host: &Host| host.sh("docker ps --filter label=com.docker.swarm.service.name=cron -q | wc -l");
    host.wait_for("both tasks of cron", Duration::from_secs(90), || {
        let (here, there) = (image(host)?, image(&worker)?);
        Ok((here.parse::<u32>()? + there.parse::<u32>()? == 2).then_some(()))
    })?;
    worker.sh("docker swarm leave")?;
    worker.destroy()?;
    host.docker(&["service", "update", "--detach", "--replicas=1", "cron"])?;
    host.docker(&["service", "update", "--detach", "--constraint-rm=node.role==worker", "web"])?;
    Ok(())
}

/// Checks that a new backup has the new address, and that its restore is like any other.
fn comes_back_at_its_new_address(site: &Site, host: Host, engine: Engine) -> Result<()> {
    let members = swarm_state::examine(&host.var().join("lib/docker/swarm"), None)?.raft.context("no log")?.members;
    let addrs: Vec<_> = members.iter().filter_map(|member| member.addr.clone()).collect();
    ensure!(addrs == [format!("{}:2377", addr(NEW))], "raft members {members:#?}");
    site.configure_manager(&host)?;
    let before = describe_swarm(&host)?;
    let backup = agent_json(&host, 0, &["backup"])?;
    let id = text(&backup, "/id")?.to_owned();
    host.destroy()?;
    let host = fresh(site, engine)?;
    // The host that claimed the swarm some moments ago is destroyed, and only the operator knows that.
    let report = agent_json(&host, 0, &["restore", &id, "--identity", IDENTITY, "--fenced"])?;
    ensure!(report.get("readdressed").is_none_or(Value::is_null), "{report:#}");
    ensure!(text(&report, "/raft_addr")? == format!("{}:2377", addr(NEW)), "{report:#}");
    ensure!(describe_swarm(&host)? == before);
    Ok(())
}
