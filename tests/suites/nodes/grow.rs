//! `node grow`: one restored manager becomes three, and nothing becomes worse on the way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Lab, Role, addr, wait_for},
    scenario::{agent, agent_binary, agent_json, agent_with_faults},
};

use crate::killed_at;

const LIMIT: Duration = Duration::from_secs(180);
const GROW: [&str; 4] = ["node", "grow", "--managers", "3"];

/// A manager that was restored, and hosts that joined after that.
struct Group {
    _lab: Lab,
    manager: Host,
    workers: Vec<Host>,
}

impl Group {
    /// The workers' engines are given; their names are `w1` and so on.
    fn new<const N: usize>(engines: [Engine; N]) -> Result<Self> {
        let lab = Lab::new()?;
        let manager = HostSpec::new("m1", Engine::E26_1, addr(11));
        let mut last = 20;
        let workers = engines.map(|engine| {
            last += 1;
            HostSpec::new(&format!("w{}", last - 20), engine, addr(last))
        });
        let (manager, workers) = std::thread::scope(|scope| {
            let manager = scope.spawn(|| lab.boot(manager));
            let workers = lab.boot_all(workers);
            (manager.join().expect("no panic"), workers)
        });
        let (manager, workers) = (manager?, Vec::from(workers?));
        manager.swarm_init()?;
        manager.install(&agent_binary()?)?;
        agent_json(&manager, 0, &["backup"])?;
        manager.sh("systemctl stop docker.socket docker.service; rm -rf /var/lib/docker/swarm
             systemctl start docker.socket docker.service")?;
        manager.wait_engine()?;
        agent_json(&manager, 0, &["restore", "--latest"])?;
        for worker in &workers {
            worker.join(&manager, Role::Worker)?;
        }
        Ok(Self { _lab: lab, manager, workers })
    }

    fn label(&self, node: &str, zone: &str) -> Result<()> {
        self.manager.docker(&["node", "update", &format!("--label-add=zone={zone}"), node]).map(drop)
    }

    fn managers(&self) -> Result<Vec<String>> {
        managers(&self.manager)
    }
}

/// Names of the managers that are reachable.
fn managers(host: &Host) -> Result<Vec<String>> {
    let listed = host.docker(&["node", "ls", "--format={{.Hostname}} {{.ManagerStatus}}"])?;
    let reachable = |line: &str| {
        let (name, status) = line.split_once(' ')?;
        matches!(status, "Leader" | "Reachable").then(|| name.to_owned())
    };
    let mut names: Vec<String> = listed.lines().filter_map(reachable).collect();
    names.sort();
    Ok(names)
}

fn names(lines: &Value) -> Vec<&str> {
    lines.as_array().into_iter().flatten().filter_map(|line| line["hostname"].as_str()).collect()
}

fn with_zone(words: &[&'static str]) -> Vec<&'static str> {
    [words, &["--spread", "node.labels.zone"]].concat()
}

#[test]
fn one_becomes_three_in_other_zones_and_a_killed_run_goes_on() -> Result<()> {
    let group = Group::new([Engine::E26_1, Engine::E26_1, Engine::E20_10])?;
    let host = &group.manager;
    for (node, zone) in [("m1", "a"), ("w1", "a"), ("w2", "b"), ("w3", "c")] {
        group.label(node, zone)?;
    }
    // The worker of the third zone has an older engine, so there are two candidates for two places.
    let planned = agent_json(host, 0, &with_zone(&[&GROW[..], &["--dry-run"]].concat()))?;
    ensure!(names(&planned["promoted"]) == ["w2", "w1"], "{planned:#}");
    ensure!(names(&planned["left_out"]) == ["w3"] && planned.to_string().contains("older"), "{planned:#}");
    ensure!(group.managers()? == ["m1"], "a dry run changed something");

    host.install(&agent_with_faults()?)?;
    killed_at(host, "promoted", &with_zone(&GROW))?;
    let begun = Instant::now();
    let done = agent_json(host, 0, &with_zone(&GROW))?;
    println!("from one manager to three: {:.1?}", begun.elapsed());
    ensure!(names(&done["promoted"]) == ["w1"], "the first promotion was repeated: {done:#}");
    for node in ["w1", "w2"] {
        ensure!(mark(host, node)?.is_empty(), "{node} keeps the label: {}", mark(host, node)?);
    }
    ensure!(group.managers()? == ["m1", "w1", "w2"] && names(&done["managers"]).len() == 3, "{done:#}");

    let before = host.docker(&["node", "inspect", "--format={{.Version.Index}}", "w1", "w2", "w3"])?;
    let again = agent_json(host, 0, &GROW)?;
    ensure!(again["promoted"] == Value::Array(Vec::new()), "{again:#}");
    ensure!(host.docker(&["node", "inspect", "--format={{.Version.Index}}", "w1", "w2", "w3"])? == before);
    not_the_leader(&group)?;
    an_unreachable_manager(group)
}

fn not_the_leader(group: &Group) -> Result<()> {
    let other = &group.workers[0];
    other.install(&agent_binary()?)?;
    for verb in [&GROW[..], &["node", "tidy"], &["node", "spread"]] {
        let ended = agent(other, verb)?;
        ensure!(ended.status.code() == Some(3) && ended.stderr.contains("m1 leads"), "{verb:?}: {ended:?}");
    }
    let worker = &group.workers[2];
    worker.install(&agent_binary()?)?;
    let ended = agent(worker, &GROW)?;
    ensure!(ended.status.code() == Some(4) && ended.stderr.contains("no manager"), "{ended:?}");
    let two = agent(&group.manager, &["node", "grow", "--managers", "2"])?;
    ensure!(two.status.code() == Some(2) && two.stderr.contains("odd"), "{two:?}");
    Ok(())
}

/// Four more managers are asked for while one of three is dead.
fn an_unreachable_manager(mut group: Group) -> Result<()> {
    group.workers[1].kill()?;
    let host = &group.manager;
    let refused = agent(host, &["node", "grow", "--managers", "5"])?;
    ensure!(refused.status.code() == Some(4) && refused.stderr.contains("w2"), "{refused:?}");
    // Two of three are a majority: the dead one may leave, and is removed.
    let down = host.wait_for("the dead manager to be down", LIMIT, || {
        let report = agent_json(host, 0, &["node", "tidy", "--dead-for", "0s", "--dry-run"])?;
        Ok((report["nodes"][0]["outcome"] == "due").then_some(report))
    })?;
    ensure!(names(&down["nodes"]) == ["w2"], "{down:#}");
    let tidied = agent_json(host, 0, &["node", "tidy", "--dead-for", "0s"])?;
    ensure!(tidied["nodes"][0]["outcome"] == "removed", "{tidied:#}");
    ensure!(group.managers()? == ["m1", "w1"], "{:?}", group.managers()?);
    // Two are left: the one that answers no more is not removed, since one of two is no majority.
    group.workers[0].kill()?;
    let host = &group.manager;
    host.wait_for("the majority to be lost", LIMIT, || {
        let ended = agent(host, &["node", "tidy", "--dead-for", "0s"])?;
        Ok((ended.status.code() == Some(4) && ended.stderr.contains("recover-quorum")).then_some(()))
    })
}

#[test]
fn a_second_manager_that_dies_is_told_and_the_way_out_works() -> Result<()> {
    let mut group = Group::new([Engine::E26_1, Engine::E26_1])?;
    group.manager.install(&agent_with_faults()?)?;
    let first = {
        let planned = agent_json(&group.manager, 0, &[&GROW[..], &["--dry-run"]].concat())?;
        let names = names(&planned["promoted"]);
        let first = *names.first().context("nobody is promoted")?;
        group.workers.iter().position(|worker| worker.name() == first).context("is no worker")?
    };
    let words = ["env", "SWARMDRTEST_FAULT=gate@promoted", "SWARMDRTEST_GATE=/root/gate", "swarmdr-agent"];
    let mut running = group.manager.spawn(&[&words[..], &GROW, &["--limit", "25s", "--json"]].concat())?;
    let host = &group.manager;
    host.wait_for("two managers", LIMIT, || Ok((managers(host)?.len() == 2).then_some(())))?;
    // One that dies before it has written its log has nothing to come back with.
    group.workers[first].wait_manager()?;
    group.workers[first].kill()?;
    let host = &group.manager;
    host.write_file("/root/gate", "")?;
    let ended = wait_for("the agent to end", LIMIT, || running.finished())?;
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))?;
    println!("{report:#}");
    let name = group.workers[first].name();
    ensure!(report["attention"][0].as_str().is_some_and(|said| said.contains(name)), "{report:#}");
    ensure!(report["to_do"].to_string().contains("recover-quorum"), "{report:#}");
    ensure!(names(&report["promoted"]) == [name], "nothing was to be done after that: {report:#}");
    // Without its majority the swarm takes nothing; a further run says so and changes nothing.
    let again = agent(host, &GROW)?;
    ensure!(again.status.code() == Some(4) && again.stderr.contains("recover-quorum"), "{again:?}");

    // The way out: the host comes back, and the next run goes on.
    group.workers[first].boot()?;
    let host = &group.manager;
    host.wait_for("a leader", LIMIT, || host.docker(&["node", "ls"]).map(Some))?;
    let done = host.wait_for("the group to be whole", LIMIT, || {
        let ended = agent(host, &[&GROW[..], &["--json"]].concat())?;
        Ok((ended.status.code() == Some(0)).then_some(ended.stdout))
    })?;
    println!("{done}");
    ensure!(managers(host)?.len() == 3);
    Ok(())
}

#[test]
fn workers_that_are_missing_are_waited_for() -> Result<()> {
    let group = Group::new([Engine::E26_1, Engine::E26_1])?;
    let (host, late) = (&group.manager, &group.workers[1]);
    late.docker(&["swarm", "leave", "--force"])?;
    host.wait_for("it to be down", LIMIT, || {
        let states = host.docker(&["node", "ls", "--format={{.Status}}"])?;
        Ok(states.contains("Down").then_some(()))
    })?;
    // One candidate would lead to two managers, which are worse than one.
    let short = agent_json(host, 6, &GROW)?;
    ensure!(short["missing"] == 1 && short["promoted"] == Value::Array(Vec::new()), "{short:#}");
    ensure!(group.managers()? == ["m1"]);
    let running = host.spawn(&[&["swarmdr-agent"], &GROW[..], &["--wait", "3m"]].concat())?;
    let token = host.docker(&["swarm", "join-token", "--quiet", "worker"])?;
    late.docker(&["swarm", "join", "--token", &token, &format!("{}:2377", host.addr())])?;
    let ended = running.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(0), "{ended:?}");
    ensure!(group.managers()? == ["m1", "w1", "w2"]);
    Ok(())
}

/// A worker that the leader cannot call back stays outside of the group of managers, and stops no other.
#[test]
fn a_worker_that_cannot_become_a_manager_is_passed_over() -> Result<()> {
    let group = Group::new([Engine::E26_1, Engine::E26_1, Engine::E26_1])?;
    let host = &group.manager;
    host.install(&agent_with_faults()?)?;
    let planned = agent_json(host, 0, &[&GROW[..], &["--dry-run"]].concat())?;
    let order = names(&planned["promoted"]);
    let of = |name: &str| group.workers.iter().find(|worker| worker.name() == name).context("is no worker");
    let (shut, other) = (of(order[0])?, of(order[1])?);
    for worker in [shut, other] {
        host.docker(&["node", "update", "--label-add=grow=yes", worker.name()])?;
    }

    // Only two may become managers, and the second one cannot: two managers would be worse than one. A port that drops what
    // it gets is seen before anything is changed.
    port_of_managers(other, "-I", "DROP")?;
    let short = agent_json(host, 1, &[&GROW[..], &["--only", "grow=yes"]].concat())?;
    println!("{short:#}");
    ensure!(names(&short["passed_over"]) == [other.name()] && short["missing"] == 1, "{short:#}");
    ensure!(short["promoted"] == Value::Array(Vec::new()) && short["manager_count"] == 1, "{short:#}");
    ensure!(short["left_out"].to_string().contains("it has no label grow=yes"), "{short:#}");
    ensure!(group.managers()? == [host.name()], "{:?}", group.managers()?);
    worker_again(host, other)?;
    port_of_managers(other, "-D", "DROP")?;

    // One that refuses is not, as if nobody listened yet. The promotion of a run that was killed is passed over too.
    port_of_managers(shut, "-I", "REJECT")?;
    killed_at(host, "promoted", &GROW)?;
    let grown = agent_json(host, 6, &[&GROW[..], &["--limit", "15s"]].concat())?;
    println!("{grown:#}");
    ensure!(names(&grown["passed_over"]) == [shut.name()] && names(&grown["promoted"]).len() == 2, "{grown:#}");
    let three = group.managers()?;
    ensure!(three.len() == 3 && !three.iter().any(|name| name == shut.name()), "{three:?}");

    // Nobody waits for it once there are enough.
    host.wait_for("it to be noted when its node is ready again", LIMIT, || {
        let enough = agent_json(host, 0, &[&GROW[..], &["--limit", "15s"]].concat())?;
        ensure!(enough["manager_count"] == 3, "{enough:#}");
        Ok(enough["notes"].to_string().contains(shut.name()).then_some(()))
    })?;

    // It joins by itself when it can, and then there are four.
    port_of_managers(shut, "-D", "REJECT")?;
    host.wait_for("it to join by itself", LIMIT, || Ok((managers(host)?.len() == 4).then_some(())))?;
    ensure!(mark(host, shut.name())?.starts_with("20"), "{}", mark(host, shut.name())?);
    let even = agent_json(host, 0, &GROW)?;
    ensure!(mark(host, shut.name())?.is_empty(), "a manager that keeps up has the label: {}", mark(host, shut.name())?);
    ensure!(even["notes"].to_string().contains("4 managers survive the loss of 1, as 3 do"), "{even:#}");
    shut.wait_manager()?;
    host.docker(&["node", "demote", shut.name()])?;
    worker_again(host, shut)?;
    a_member_that_falls_silent(&group, shut, &three)?;
    let rests = agent_json(host, 1, &["node", "grow", "--managers", "4"])?;
    ensure!(rests["missing"] == 1 && names(&rests["left_out"]) == [shut.name()], "{rests:#}");
    let four = agent_json(host, 6, &["node", "grow", "--managers", "4", "--only", "grow=yes"])?;
    ensure!(names(&four["promoted"]) == [shut.name()] && group.managers()?.len() == 4, "{four:#}");
    Ok(())
}

/// It joins the group, and answers no more: the three others are a majority of four, and take it out again.
fn a_member_that_falls_silent(group: &Group, shut: &Host, three: &[String]) -> Result<()> {
    let host = &group.manager;
    let words = ["env", "SWARMDRTEST_FAULT=gate@promoted", "SWARMDRTEST_GATE=/root/gate", "swarmdr-agent"];
    let grow = ["node", "grow", "--managers", "4", "--limit", "25s", "--json"];
    let mut running = host.spawn(&[&words[..], &grow].concat())?;
    host.wait_for("four managers", LIMIT, || Ok((managers(host)?.len() == 4).then_some(())))?;
    port_of_managers(shut, "-I", "DROP")?;
    host.wait_for("it to be unreachable", LIMIT, || Ok((managers(host)? == three).then_some(())))?;
    host.write_file("/root/gate", "")?;
    let ended = wait_for("the agent to end", LIMIT, || running.finished())?;
    let report: Value = serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))?;
    println!("{report:#}");
    ensure!(ended.status.code() == Some(1) && names(&report["passed_over"]) == [shut.name()], "{ended:?}");
    ensure!(managers(host)? == three, "{:?}", managers(host)?);
    worker_again(host, shut)?;
    port_of_managers(shut, "-D", "DROP")
}

/// The run that promoted it is killed, and the new member falls silent: the next run ends what that one began.
#[test]
fn a_silent_manager_of_a_killed_run_is_taken_back_by_the_next_one() -> Result<()> {
    let group = Group::new([Engine::E26_1, Engine::E26_1, Engine::E26_1])?;
    let host = &group.manager;
    // The second manager is an operator's.
    host.docker(&["node", "promote", "w1"])?;
    group.workers[0].wait_manager()?;
    host.wait_for("two managers", LIMIT, || Ok((group.managers()?.len() == 2).then_some(())))?;
    host.install(&agent_with_faults()?)?;
    let planned = agent_json(host, 0, &[&GROW[..], &["--dry-run"]].concat())?;
    let first = names(&planned["promoted"])[0].to_owned();
    let (silent, other) = match first.as_str() {
        "w2" => (&group.workers[1], &group.workers[2]),
        _ => (&group.workers[2], &group.workers[1]),
    };
    killed_at(host, "promoted", &GROW)?;
    host.wait_for("three managers", LIMIT, || Ok((group.managers()?.len() == 3).then_some(())))?;
    silent.wait_manager()?;
    port_of_managers(silent, "-I", "DROP")?;
    host.wait_for("it to be unreachable", LIMIT, || Ok((group.managers()?.len() == 2).then_some(())))?;
    let before = mark(host, silent.name())?;
    ensure!(before.starts_with("20"), "{before}");

    let planned = agent_json(host, 6, &[&GROW[..], &["--dry-run"]].concat())?;
    ensure!(planned["attention"].to_string().contains("by a run that did not end"), "{planned:#}");
    ensure!(mark(host, silent.name())? == before, "a dry run changed something");
    let grown = agent_json(host, 6, &[&GROW[..], &["--limit", "20s"]].concat())?;
    println!("{grown:#}");
    ensure!(names(&grown["passed_over"]) == [silent.name()], "{grown:#}");
    ensure!(names(&grown["promoted"]) == [other.name()] && grown["manager_count"] == 3, "{grown:#}");
    let mut three = vec!["m1".to_owned(), "w1".to_owned(), other.name().to_owned()];
    three.sort();
    ensure!(group.managers()? == three, "{:?}", group.managers()?);
    ensure!(mark(host, silent.name())?.starts_with("taken-back/20"), "{}", mark(host, silent.name())?);
    for node in &three {
        ensure!(mark(host, node)?.is_empty(), "{node} keeps the label: {}", mark(host, node)?);
    }

    // For an hour nobody tries it again, unless an operator takes the label away.
    port_of_managers(silent, "-D", "DROP")?;
    worker_again(host, silent)?;
    let four = ["node", "grow", "--managers", "4", "--dry-run"];
    let rests = agent_json(host, 6, &four)?;
    ensure!(names(&rests["left_out"]) == [silent.name()] && rests.to_string().contains("passed over"), "{rests:#}");
    host.docker(&["node", "update", "--label-rm=swarmdr.grow", silent.name()])?;
    let tried = agent_json(host, 6, &four)?;
    ensure!(names(&tried["promoted"]) == [silent.name()], "{tried:#}");
    killed_while_it_takes_back(&group, silent, &three)
}

/// There are enough managers without the silent one, and the run that makes it a worker again is killed too.
fn killed_while_it_takes_back(group: &Group, silent: &Host, three: &[String]) -> Result<()> {
    let host = &group.manager;
    killed_at(host, "promoted", &["node", "grow", "--managers", "4"])?;
    host.wait_for("four managers", LIMIT, || Ok((group.managers()?.len() == 4).then_some(())))?;
    silent.wait_manager()?;
    port_of_managers(silent, "-I", "DROP")?;
    host.wait_for("it to be unreachable", LIMIT, || Ok((group.managers()? == three).then_some(())))?;
    killed_at(host, "taken-back", &[&GROW[..], &["--limit", "15s"]].concat())?;
    let done = agent_json(host, 0, &GROW)?;
    ensure!(done["manager_count"] == 3 && done["promoted"] == Value::Array(Vec::new()), "{done:#}");
    ensure!(names(&done["left_out"]) == [silent.name()] && done.to_string().contains("passed over"), "{done:#}");
    ensure!(mark(host, silent.name())?.starts_with("taken-back/20"), "{}", mark(host, silent.name())?);
    port_of_managers(silent, "-D", "DROP")?;
    worker_again(host, silent)
}

/// The label of `node grow` on a node; empty for none.
fn mark(host: &Host, node: &str) -> Result<String> {
    host.docker(&["node", "inspect", "--format={{index .Spec.Labels \"swarmdr.grow\"}}", node])
}

/// Changes the rule for the port that managers answer on: `-I` or `-D`.
fn port_of_managers(host: &Host, change: &str, target: &str) -> Result<()> {
    host.sh(&format!("iptables {change} INPUT -p tcp --dport 2377 -j {target}")).map(drop)
}

/// Waits until a node is a ready worker for the swarm, and its own engine is no manager. That engine may keep the error of a
/// manager that could not join in its answer (26.1.5).
fn worker_again(manager: &Host, host: &Host) -> Result<()> {
    let mut seen = String::new();
    let waited = manager.wait_for("it to be a worker again", LIMIT, || {
        let listed = manager.docker(&["node", "inspect", "--format={{.Spec.Role}} {{.Status.State}}", host.name()])?;
        let own = host.docker(&["info", "--format={{.Swarm.ControlAvailable}} {{.Swarm.LocalNodeState}}"])?;
        seen = format!("{listed}, {own}");
        Ok(seen.starts_with("worker ready, false").then_some(()))
    });
    waited.with_context(|| {
        format!("{} is {seen}: {}", host.name(), host.journal("docker.service", 15).unwrap_or_default())
    })
}
