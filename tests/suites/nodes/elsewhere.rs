//! Hosts that are in another swarm, and tokens of other kinds.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, Host, Lab, Network, Role, Service},
    scenario::{CONFIG, text},
};

use crate::yard::{
    LIMIT, MANAGER, SILENT, TOKEN, boot, configure, faulty, install_unit, join, leave, manage, nodes, of_another_ca,
    run_unit, token, wait_worker,
};

const OTHER: u8 = 21;

/// The manager of a third swarm.
const THIRD: u8 = 31;

#[test]
fn a_host_leaves_another_swarm_only_if_that_one_is_gone() -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [("m", MANAGER), ("o", OTHER), ("t", THIRD), ("h", 12)];
    let [manager, mut other, third, host] = boot(&lab, Engine::E26_1, hosts)?;
    manage(&manager)?;
    other.swarm_init()?;
    third.swarm_init()?;
    host.join(&other, Role::Worker)?;
    for host in [&host, &other] {
        configure(host, &[MANAGER])?;
    }

    let unknown = join(&host, 1, &[])?;
    ensure!(text(&unknown, "/error")?.contains("no token tells whether"), "{unknown:#}");
    for host in [&host, &other] {
        host.write_file(TOKEN, token(&manager, "worker")?)?;
    }
    let refused = join(&host, 4, &["--wait", "2m"])?;
    ensure!(text(&refused, "/error")?.contains("this host is in another swarm"), "{refused:#}");
    let refused = join(&host, 4, &["--leave-dead", "--wait", "2m"])?;
    ensure!(text(&refused, "/error")?.contains("which lives (10.77.0.21:2377 answers)"), "{refused:#}");
    let refused = join(&other, 4, &["--leave-dead", "--wait", "2m"])?;
    ensure!(text(&refused, "/error")?.contains("a manager of another swarm"), "{refused:#}");
    wait_worker(&other, &host)?;

    other.kill()?;
    for what_answers in [SILENT, THIRD] {
        no_manager_of_the_wanted_swarm(&lab, &host, what_answers)?;
    }
    configure(&host, &[MANAGER])?;
    let planned = join(&host, 0, &["--leave-dead", "--dry-run"])?;
    ensure!(planned["outcome"] == "would-leave", "{planned:#}");
    // A manager that reboots is silent too: ten minutes are asked for, and more time than that.
    let short = join(&host, 4, &["--leave-dead", "--wait", "9m"])?;
    ensure!(text(&short, "/error")?.contains("have to be silent for 600 s"), "{short:#}");
    let config = host.read_file(CONFIG)?;
    host.write_file(CONFIG, format!("{config}\ndead_after = \"20s\"\n"))?;
    let killed = faulty(&host, "kill@node-join-left", &["--leave-dead", "--wait", "3m"])?;
    ensure!(killed.stderr.contains("kill at node-join-left"), "{killed:?}");
    let joined = join(&host, 0, &["--leave-dead", "--wait", "3m"])?;
    ensure!(joined["outcome"] == "joined" && joined["role"] == "worker", "{joined:#}");
    wait_worker(&manager, &host)?;
    tokens_of_other_kinds(&manager, &host)
}

/// What listens at the address of a wanted manager is no reason to leave, as long as it is none of the token's swarm: a
/// socket that takes connections, or a manager with another root CA.
fn no_manager_of_the_wanted_swarm(lab: &Lab, host: &Host, what_answers: u8) -> Result<()> {
    let _open = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 2377)))??;
    configure(host, &[what_answers])?;
    let config = host.read_file(CONFIG)?;
    host.write_file(CONFIG, format!("{config}\ndead_after = \"5s\"\n"))?;
    let id = host.docker(&["info", "--format", "{{.Swarm.NodeID}}"])?;
    for more in [&["--leave-dead", "--dry-run"][..], &["--leave-dead", "--wait", "30s"]] {
        let stays = join(host, 1, more)?;
        let (error, told) = match what_answers {
            THIRD => ("the token is of another swarm than the managers", "than the one that the token names"),
            _ => ("no manager of the wanted swarm shows its certificate", "did not answer within"),
        };
        ensure!(text(&stays, "/error")?.contains(error) && stays.to_string().contains(told), "{stays:#}");
    }
    ensure!(host.docker(&["info", "--format", "{{.Swarm.NodeID}}"])? == id, "it left for what is no manager");
    Ok(())
}

/// A worker that was removed while it was off cannot come back as the node that it was.
#[test]
fn a_host_whose_node_was_removed_joins_anew() -> Result<()> {
    for engine in generations() {
        removed(*engine).with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

fn removed(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let [manager, mut host] = boot(&lab, engine, [("m", MANAGER), ("h", 12)])?;
    manage(&manager)?;
    configure(&host, &[MANAGER])?;
    host.write_file(TOKEN, token(&manager, "worker")?)?;
    let before = join(&host, 0, &[])?;
    host.kill()?;
    manager.docker(&["node", "rm", "--force", host.name()])?;
    host.boot()?;
    install_unit(&host)?;
    let journal = run_unit(&host)?;
    ensure!(journal.contains("have removed the node that this host was before"), "{journal}");
    let now = host.docker(&["info", "--format", "{{.Swarm.NodeID}}"])?;
    ensure!(before["node_id"] != now.as_str(), "it is the node of before");
    wait_worker(&manager, &host)?;
    an_engine_that_is_leaving(&manager, &host)
}

/// An engine that leaves removes one container after the other: it is in no swarm then, and has everything of one on its
/// disk. So does the engine that a run has told to leave, and that was killed since.
fn an_engine_that_is_leaving(manager: &Host, host: &Host) -> Result<()> {
    const TASKS: u32 = 20;
    host.load_image()?;
    manager.docker(&["node", "update", "--availability=drain", "m"])?;
    let many = Service { name: "many", replicas: TASKS, network: Network::Host, secrets: &[], configs: &[] };
    manager.create_service(&many)?;
    host.wait_containers("many", TASKS as usize)?;
    let mut leaving = host.spawn(&["docker", "swarm", "leave"])?;
    let seen = "docker info --format '{{.Swarm.LocalNodeState}}'; ls /var/lib/docker/swarm/certificates/swarm-node.crt";
    host.wait_for("the engine to be leaving", LIMIT, || {
        ensure!(leaving.finished()?.is_none(), "it has left already");
        let seen = host.run(&["sh", "-c", seen])?;
        Ok((seen.status.success() && seen.stdout.starts_with("inactive")).then_some(()))
    })?;
    let joined = join(host, 0, &["--wait", "2m"])?;
    ensure!(joined["outcome"] == "joined", "{joined:#}");
    let new = host.docker(&["info", "--format", "{{.Swarm.NodeID}}"])?;
    manager.wait_for("the new node to be ready", LIMIT, || {
        Ok((manager.docker(&["node", "inspect", "--format={{.Status.State}}", &new])? == "ready").then_some(()))
    })
}

fn tokens_of_other_kinds(manager: &Host, host: &Host) -> Result<()> {
    // The root CA was rotated since the token was published: the addresses show that it is the same swarm.
    host.write_file(TOKEN, of_another_ca(&token(manager, "worker")?))?;
    ensure!(join(host, 0, &[])?["outcome"] == "already");

    leave(manager, host)?;
    host.write_file(TOKEN, "nonsense")?;
    let wrong = join(host, 1, &[])?;
    ensure!(wrong.to_string().contains("is no join token") && !wrong.to_string().contains("nonsense"), "{wrong:#}");

    host.write_file(TOKEN, token(manager, "manager")?)?;
    let promoted = join(host, 6, &[])?;
    ensure!(promoted["role"] == "manager", "{promoted:#}");
    ensure!(promoted["attention"][0].as_str().is_some_and(|it| it.contains("docker node demote")), "{promoted:#}");
    ensure!(join(host, 0, &[])?["outcome"] == "already");
    println!("{:?}", nodes(manager)?);
    Ok(())
}
