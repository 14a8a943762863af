//! Fresh hosts that join at once while everything is late, wrong or gone for a while.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, Lab},
    scenario::{agent, agent_json},
};

use crate::yard::{
    LIMIT, MANAGER, NOBODY, PUBLISHED, SILENT, TOKEN, boot, configure, install_unit, join, leave, manage, no_token_in,
    nodes, of_another_ca, report, run_unit, said, start, token, wait_worker,
};

/// The engine's own files of a swarm; `state.json` it may write again at any time.
const OWN_FILES: &str = "cd /var/lib/docker/swarm; sha256sum docker-state.json certificates/*";

#[test]
fn four_fresh_hosts_join_although_everything_is_late() -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [("m", MANAGER), ("late", 12), ("off", 13), ("stale", 14), ("wrong", 15)];
    let [mut manager, mut late, off, stale, wrong] = boot(&lab, Engine::E26_1, hosts)?;
    manage(&manager)?;
    for host in [&late, &stale, &wrong] {
        configure(host, &[NOBODY, MANAGER])?;
    }
    // Its kernel accepts connections, and nobody ever answers.
    let _silent = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 2377)))??;
    configure(&off, &[NOBODY, SILENT, MANAGER])?;
    // Packets to nobody are lost, as those to a host that was switched off.
    late.sh("ip neigh add 10.77.0.99 lladdr 02:00:00:00:00:63 dev host0")?;
    off.sh("systemctl stop docker.socket docker.service")?;

    let old = token(&manager, "worker")?;
    stale.write_file(TOKEN, &old)?;
    wrong.write_file(TOKEN, of_another_ca(&old))?;
    rotated(&manager, &old)?;
    let mut joins = [start(&late)?, start(&off)?, start(&stale)?, start(&wrong)?];
    said(&late, &mut joins[0], "gives no token that can be used")?;
    said(&stale, &mut joins[2], "refuses the token")?;
    said(&wrong, &mut joins[3], "the token is of another swarm than the managers")?;
    said(&off, &mut joins[1], "gives no token that can be used")?;

    let new = manager.read_file(PUBLISHED)?;
    manager.kill()?;
    off.write_file(TOKEN, &new)?;
    said(&off, &mut joins[1], "an attempt to join the swarm went nowhere")?;
    manager.boot()?;
    manager.wait_manager()?;
    for host in [&late, &stale, &wrong] {
        host.write_file(TOKEN, &new)?;
    }
    for (host, join) in [&late, &off, &stale, &wrong].into_iter().zip(joins) {
        let output = join.wait(LIMIT)?;
        let report = report(&output, 0).with_context(|| host.name().to_owned())?;
        ensure!(report["outcome"] == "joined" && report["role"] == "worker", "{report:#}");
        wait_worker(&manager, host)?;
        no_token_in(host, &[&output])?;
    }
    println!("{:?}", nodes(&manager)?);
    ensure!(nodes(&manager)?.len() == 5, "{:?}", nodes(&manager)?);
    a_second_boot_changes_nothing(&manager, &mut late)
}

/// New tokens are made and published, and the old one is refused from then on.
fn rotated(manager: &Host, old: &str) -> Result<()> {
    let before = (token(manager, "manager")?, spec(manager)?);
    let planned = agent_json(manager, 0, &["node", "rotate-tokens", "--dry-run"])?;
    ensure!(planned["rotated"] == true && token(manager, "worker")? == old, "{planned:#}");
    let output = agent(manager, &["node", "rotate-tokens"])?;
    ensure!(output.status.success(), "{output:?}");
    let new = token(manager, "worker")?;
    ensure!(manager.read_file(PUBLISHED)? == new && new != old, "another token was published");
    ensure!(token(manager, "manager")? != before.0, "the manager token is the same");
    ensure!(spec(manager)? == before.1, "a setting of the swarm changed");
    no_token_in(manager, &[&output])
}

fn spec(manager: &Host) -> Result<String> {
    manager.docker(&["info", "--format", "{{json .Swarm.Cluster.Spec}}"])
}

fn a_second_boot_changes_nothing(manager: &Host, host: &mut Host) -> Result<()> {
    host.sh(&format!("rm {TOKEN}"))?;
    let before = host.sh(OWN_FILES)?;
    host.reboot()?;
    let again = join(host, 0, &["--wait", "2m"])?;
    ensure!(again["outcome"] == "already" && again["attempts"] == 0, "{again:#}");
    ensure!(host.sh(OWN_FILES)? == before, "a file of the swarm changed");
    wait_worker(manager, host)?;
    ensure!(nodes(manager)?.len() == 5, "{:?}", nodes(manager)?);
    Ok(())
}

/// Reduced: on the newest engine; the story above is on another one.
#[test]
fn a_published_token_lets_a_host_in() -> Result<()> {
    let engines = if full() { &Engine::ALL[..] } else { &[Engine::E28_5] };
    for engine in engines {
        let_in(*engine).with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

fn let_in(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let [manager, host] = boot(&lab, engine, [("m", MANAGER), ("h", 12)])?;
    manage(&manager)?;
    configure(&host, &[MANAGER])?;
    let missing = join(&host, 1, &[])?;
    ensure!(missing["error"].as_str().is_some_and(|it| it.contains("no worker token")), "{missing:#}");
    let published = agent_json(&manager, 0, &["node", "publish-token"])?;
    ensure!(published["published"] == true && published["rotated"] == false, "{published:#}");
    ensure!(manager.read_file(PUBLISHED)? == token(&manager, "worker")?);
    host.write_file(TOKEN, manager.read_file(PUBLISHED)?)?;
    let planned = join(&host, 0, &["--dry-run"])?;
    ensure!(planned["outcome"] == "would-join" && nodes(&manager)?.len() == 1, "{planned:#}");
    let unnamed = join(&host, 1, &["--advertise-addr", "nope0"])?;
    ensure!(unnamed.to_string().contains("no interface of this host has the name `nope0`"), "{unnamed:#}");
    let joined = join(&host, 0, &[])?;
    ensure!(joined["outcome"] == "joined" && joined["role"] == "worker", "{joined:#}");
    wait_worker(&manager, &host)?;
    ensure!(join(&host, 0, &[])?["outcome"] == "already");
    leave(&manager, &host)?;
    by_the_unit(&manager, &host)?;
    only_the_leader_publishes(&manager, &host)?;
    println!("{}: {joined:#}", engine.version());
    Ok(())
}

/// The hardened unit starts an engine that is stopped, and joins with the token of its credential.
fn by_the_unit(manager: &Host, host: &Host) -> Result<()> {
    install_unit(host)?;
    host.write_file("/etc/swarmdr/agent.toml", format!("[join]\nmanagers = [\"{}\"]\n", manager.addr()))?;
    host.sh(&format!("install -D -m 600 {TOKEN} /etc/credstore/swarmdr.join-token; rm {TOKEN}"))?;
    host.sh("systemctl stop docker.socket docker.service")?;
    let journal = run_unit(host)?;
    ensure!(journal.contains("This host joined swarm"), "{journal}");
    wait_worker(manager, host)?;
    no_token_in(host, &[])
}

/// A manager that does not lead does nothing, and a program that does not take the token is a failure.
fn only_the_leader_publishes(manager: &Host, host: &Host) -> Result<()> {
    agent_json(host, 2, &["node", "publish-token"])?;
    agent_json(host, 4, &["node", "rotate-tokens"])?;
    manager.docker(&["node", "promote", host.name()])?;
    manager.wait_for("a second manager", LIMIT, || Ok(host.docker(&["node", "ls"]).ok().map(drop)))?;
    agent_json(host, 3, &["node", "rotate-tokens"])?;
    let before = token(manager, "worker")?;
    for (command, told) in [("true", "without reading"), ("cat >&2; exit 7", "exit status: 7")] {
        manager.write_file(
            "/etc/swarmdr/agent.toml",
            format!("[join]\npublish_command = [\"sh\", \"-c\", {command:?}]\n"),
        )?;
        let output = agent(manager, &["node", "publish-token"])?;
        ensure!(output.status.code() == Some(1) && output.stderr.contains(told), "{output:?}");
        no_token_in(manager, &[&output])?;
    }
    let output = agent(manager, &["node", "rotate-tokens"])?;
    ensure!(output.status.code() == Some(6) && output.stdout.contains("was not published"), "{output:?}");
    ensure!(token(manager, "worker")? != before, "the tokens are those of before");
    no_token_in(manager, &[&output])?;
    manage_again(manager)
}

/// What was rotated and not published is published by the next run.
fn manage_again(manager: &Host) -> Result<()> {
    let config = format!("[join]\npublish_command = [\"sh\", \"-c\", \"umask 77; cat > {PUBLISHED}\"]\n");
    manager.write_file("/etc/swarmdr/agent.toml", config)?;
    let killed =
        manager.run(&["env", "SWARMDRTEST_FAULT=kill@tokens-rotated", "swarmdr-agent", "node", "rotate-tokens"])?;
    ensure!(!killed.status.success() && manager.read_file(PUBLISHED)? != token(manager, "worker")?, "{killed:?}");
    agent_json(manager, 0, &["node", "publish-token"])?;
    ensure!(manager.read_file(PUBLISHED)? == token(manager, "worker")?);
    Ok(())
}
