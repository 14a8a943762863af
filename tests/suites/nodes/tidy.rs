//! `node tidy`: dead nodes go, their addresses are free, and nothing that lives is removed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host},
    scenario::agent_json,
};

use crate::{
    dead::{Bereft, LIMIT, down, service},
    engines, killed_at,
};

const TIDY: [&str; 4] = ["node", "tidy", "--dead-for", "0s"];

#[test]
fn ten_new_tasks_start_where_ten_dead_nodes_held_the_addresses() -> Result<()> {
    for engine in engines() {
        tidied(*engine).with_context(|| format!("on {engine:?}"))?;
    }
    Ok(())
}

fn tidied(engine: Engine) -> Result<()> {
    let bereft = Bereft::new(engine)?;
    let host = &bereft.manager;
    // They were down before the backup too, but nobody has looked since then.
    let early = agent_json(host, 0, &["node", "tidy", "--dead-for", "10m"])?;
    ensure!(outcomes(&early) == [("not-yet", 10)], "{early:#}");

    let on_the_manager = ["--name=new", "--replicas=10", "--constraint=node.role==manager"];
    service(host, &on_the_manager)?;
    host.wait_for("ten new tasks", LIMIT, || Ok((states(host)?.len() == 10).then_some(())))?;
    ensure!(
        states(host)?.iter().all(|state| state.starts_with("New")),
        "the addresses are not held: this proves nothing"
    );

    let dead = down(host)?;
    ensure!(dead.len() == 10, "{dead:?}");
    host.docker(&["node", "update", "--availability=drain", &dead[0]])?;
    let planned = agent_json(host, 0, &[&TIDY[..], &["--dry-run"]].concat())?;
    ensure!(outcomes(&planned) == [("due", 9), ("operators", 1)], "{planned:#}");
    host.docker(&["node", "update", "--availability=active", &dead[0]])?;

    one_that_answers_is_left(&bereft)?;
    one_that_comes_back_is_left(&bereft)?;
    ensure!(down(host)?.is_empty());
    host.wait_service("new", 10)?;
    host.wait_containers("new", 10)?;
    println!("{}: ten new tasks run", engine.version());
    let nothing = agent_json(host, 0, &TIDY)?;
    ensure!(nothing["nodes"] == Value::Array(Vec::new()), "{nothing:#}");
    Ok(())
}

/// An engine that stands still is down for the leader, and its host accepts connections. The others go on to be dead.
fn one_that_answers_is_left(bereft: &Bereft) -> Result<()> {
    bereft.survivor.sh("kill -STOP $(cat /run/docker.pid)")?;
    bereft.wait_survivor("Down")?;
    let host = &bereft.manager;
    let told = agent_json(host, 6, &[&TIDY[..], &["--dry-run"]].concat())?;
    ensure!(outcomes(&told) == [("answers", 1), ("due", 10)], "{told:#}");
    ensure!(told["attention"][0].as_str().is_some_and(|said| said.contains("w3")), "{told:#}");
    Ok(())
}

/// A run is killed between the drain and the removal. The next one goes on, and meets a node that comes back.
fn one_that_comes_back_is_left(bereft: &Bereft) -> Result<()> {
    let (host, survivor) = (&bereft.manager, &bereft.survivor);
    survivor.cut()?;
    killed_at(host, "drained", &TIDY)?;
    ensure!(down(host)?.len() == 11);
    ensure!(availability(host)? == "drain", "it was to be drained");
    let words = ["env", "SWARMDRTEST_FAULT=gate@drained", "SWARMDRTEST_GATE=/root/gate", "swarmdr-agent"];
    let running = host.spawn(&[&words[..], &TIDY, &["--json"]].concat())?;
    host.wait_for("the run to be at the gate", LIMIT, || Ok(running.stderr()?.contains("gate").then_some(())))?;
    survivor.heal()?;
    survivor.sh("kill -CONT $(cat /run/docker.pid)")?;
    bereft.wait_survivor("Ready")?;
    host.write_file("/root/gate", "")?;
    let ended = running.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(outcomes(&report) == [("given-back", 1), ("removed", 10)], "{report:#}");
    bereft.wait_survivor("Ready")?;
    ensure!(availability(host)? == "active", "what was set on it is still there");
    let labels = host.docker(&["node", "inspect", "--format={{json .Spec.Labels}}", "w3"])?;
    ensure!(labels == "{}", "{labels}");
    Ok(())
}

fn availability(host: &Host) -> Result<String> {
    host.docker(&["node", "inspect", "--format={{.Spec.Availability}}", "w3"])
}

/// States of the tasks of the new service that are to run.
fn states(host: &Host) -> Result<Vec<String>> {
    let tasks =
        host.docker(&["service", "ps", "--filter=desired-state=running", "--format={{.CurrentState}}", "new"])?;
    Ok(tasks.lines().map(str::to_owned).collect())
}

/// Number of nodes with each outcome.
fn outcomes(report: &Value) -> Vec<(&str, usize)> {
    let nodes = report["nodes"].as_array().into_iter().flatten();
    let mut all: Vec<&str> = nodes.filter_map(|node| node["outcome"].as_str()).collect();
    all.sort_unstable();
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for outcome in all {
        match counted.last_mut() {
            Some((same, number)) if *same == outcome => *number += 1,
            _ => counted.push((outcome, 1)),
        }
    }
    counted
}
