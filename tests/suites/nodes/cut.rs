//! Joins that are killed: the next run ends them.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, Lab},
    scenario::text,
};

use crate::yard::{
    LIMIT, MANAGER, TOKEN, boot, configure, faulty, join, leave, manage, report, said, start, token, wait_worker,
};

#[test]
fn a_join_that_was_killed_is_ended_by_the_next_run() -> Result<()> {
    let lab = Lab::new()?;
    let [manager, host] = boot(&lab, Engine::E26_1, [("m", MANAGER), ("h", 12)])?;
    manage(&manager)?;
    configure(&host, &[MANAGER])?;
    a_signal_ends_the_wait(&host)?;
    host.write_file(TOKEN, token(&manager, "worker")?)?;
    for point in ["node-join-call", "node-join-called"] {
        let killed = faulty(&host, &format!("kill@{point}"), &["--wait", "2m"])?;
        ensure!(killed.stderr.contains(&format!("kill at {point}")), "{killed:?}");
        join(&host, 0, &["--wait", "2m"])?;
        wait_worker(&manager, &host)?;
        leave(&manager, &host)?;
    }
    an_engine_that_was_cut_off_in_the_middle(&manager, &host)
}

fn a_signal_ends_the_wait(host: &Host) -> Result<()> {
    let mut waits = start(host)?;
    said(host, &mut waits, "no worker token")?;
    let mut second = start(host)?;
    said(host, &mut second, "another run of the agent is active")?;
    for run in [waits, second] {
        run.signal("TERM")?;
        let ended = report(&run.wait(LIMIT)?, 1)?;
        ensure!(text(&ended, "/error")?.contains("interrupted"), "{ended:#}");
    }
    Ok(())
}

/// The manager's engine stands still while this host's is joining, and the agent is killed. The engine goes on, and is
/// waited for.
fn an_engine_that_was_cut_off_in_the_middle(manager: &Host, host: &Host) -> Result<()> {
    killed_while_joining(manager, host)?;
    let mut second = start(host)?;
    said(host, &mut second, "the engine is joining through 10.77.0.11:2377")?;
    manager.sh("kill -CONT $(pidof dockerd)")?;
    let joined = report(&second.wait(LIMIT)?, 0)?;
    ensure!(joined["outcome"] == "joined" && joined["attempts"] == 0, "{joined:#}");
    wait_worker(manager, host)?;
    leave(manager, host)?;

    // An engine that is cut off too has forgotten the token, and gives the attempt up when it starts again.
    killed_while_joining(manager, host)?;
    let before = host.sh("pidof dockerd; systemctl kill --signal=KILL docker.service")?;
    host.wait_for("another engine", LIMIT, || Ok((host.sh("pidof dockerd || true")? != before).then_some(())))?;
    let third = start(host)?;
    manager.sh("kill -CONT $(pidof dockerd)")?;
    let joined = report(&third.wait(LIMIT)?, 0)?;
    ensure!(joined["outcome"] == "joined" && joined["role"] == "worker", "{joined:#}");
    wait_worker(manager, host)
}

fn killed_while_joining(manager: &Host, host: &Host) -> Result<()> {
    manager.sh("kill -STOP $(pidof dockerd)")?;
    let run = start(host)?;
    host.wait_for("the engine to be joining", LIMIT, || {
        Ok((host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "pending").then_some(()))
    })?;
    run.signal("KILL")?;
    run.wait(LIMIT).map(drop)
}
