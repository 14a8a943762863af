//! `node spread`: services use the nodes that have joined, one after the other, and a failure ends it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Host, HostSpec, IMAGE, Lab, Role, addr},
    scenario::{agent_binary, agent_json, agent_with_faults},
};

use crate::{engines, killed_at};

const LIMIT: Duration = Duration::from_secs(120);
/// The services are in the network of their hosts, since that is the quickest to start.
const SPREAD: [&str; 3] = ["node", "spread", "--with-host-ports"];

/// A manager with services, and two workers that joined after that.
struct Site {
    _lab: Lab,
    manager: Host,
    _workers: [Host; 2],
}

impl Site {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let engine = engines()[0];
        let spec = |name, last| HostSpec::new(name, engine, addr(last));
        let [manager, first, second] = lab.boot_all([spec("m1", 11), spec("w1", 21), spec("w2", 22)])?;
        manager.swarm_init()?;
        manager.install(&agent_binary()?)?;
        [&manager, &first, &second].into_iter().try_for_each(Host::load_image)?;
        manager.sh("mkdir /root/only-here")?;
        for (name, replicas, more) in [
            ("a-web", 3, &["--health-cmd=true", "--health-interval=1s"][..]),
            ("b-api", 6, &["--update-order=start-first", "--update-parallelism=2"]),
            ("c-db", 1, &[]),
            // Its tasks run where this directory is, and are rejected elsewhere.
            ("d-bad", 2, &["--mount=type=bind,source=/root/only-here,target=/data"]),
            ("e-late", 4, &[]),
            ("f-here", 4, &["--constraint=node.role==manager"]),
            ("k-data", 2, &["--mount=type=volume,source=data,target=/data"]),
        ] {
            service(&manager, &[&["--name", name, "--replicas", &replicas.to_string()], more].concat(), &[])?;
            manager.wait_service(name, replicas)?;
        }
        service(&manager, &["--name=g-all", "--mode=global"], &[])?;
        service(&manager, &["--name=h-job", "--mode=replicated-job", "--replicas=2"], &["true"])?;
        service(&manager, &["--name=i-once", "--replicas=2", "--restart-condition=none"], &["true"])?;
        let workers = [first, second];
        workers.iter().try_for_each(|worker| worker.join(&manager, Role::Worker))?;
        manager.wait_for("the one-shots to end", LIMIT, || {
            let left = manager.docker(&["service", "ps", "--filter=desired-state=running", "--quiet", "i-once"])?;
            Ok(left.is_empty().then_some(()))
        })?;
        manager.wait_service("g-all", 3)?;
        Ok(Self { _lab: lab, manager, _workers: workers })
    }
}

fn service(host: &Host, more: &[&str], command: &[&str]) -> Result<()> {
    let fixed = ["service", "create", "--detach", "--no-resolve-image", "--init", "--network=host"];
    let sleep = ["sleep", "1000000"];
    let command = if command.is_empty() { &sleep[..] } else { command };
    let is_job = more.iter().any(|word| word.contains("job"));
    let update: &[&str] = if is_job { &[] } else { &["--update-monitor=1s", "--restart-delay=200ms"] };
    host.docker(&[&fixed[..], update, more, &[IMAGE], command].concat()).map(drop)
}

#[test]
fn services_use_the_nodes_that_have_joined_and_a_failure_ends_it() -> Result<()> {
    let site = Site::new()?;
    let host = &site.manager;
    let ran = once(host)?;
    let tied = agent_json(host, 0, &["node", "spread", "--dry-run"])?;
    ensure!(with(&tied, "held") == ["a-web", "b-api", "d-bad", "e-late", "k-data"], "{tied:#}");
    ensure!(tied.to_string().contains("network of their host"), "{tied:#}");
    let planned = agent_json(host, 0, &[&SPREAD[..], &["--dry-run"]].concat())?;
    ensure!(with(&planned, "would") == ["a-web", "b-api", "e-late"], "{planned:#}");
    ensure!(with(&planned, "held") == ["d-bad", "k-data"], "{planned:#}");
    ensure!(planned.to_string().contains("the volume `data`"), "{planned:#}");
    let all = agent_json(host, 0, &[&SPREAD[..], &["--dry-run", "--with-volumes"]].concat())?;
    ensure!(with(&all, "would") == ["a-web", "b-api", "d-bad", "e-late", "k-data"], "{all:#}");

    // One is left for later, and a run that is killed in the middle of an update is followed by one that leaves that be.
    let first = agent_json(host, 0, &[&SPREAD[..], &["--service=?-web", "--service=e-*", "--at-most=1"]].concat())?;
    ensure!(with(&first, "spread") == ["a-web"] && with(&first, "later") == ["e-late"], "{first:#}");
    ensure!(placed(host, "a-web")? == [1, 1, 1], "{first:#}");
    host.install(&agent_with_faults()?)?;
    killed_at(host, "update-begun", &[&SPREAD[..], &["--service=b-*"]].concat())?;
    host.wait_for("the update to end", LIMIT, || Ok((update_state(host, "b-api")? == "completed").then_some(())))?;
    // The scheduler counts the old tasks of a start-first update too.
    println!("start-first: {:?}", placed(host, "b-api")?);
    ensure!(placed(host, "b-api")?.len() > 1);

    let before = [versions(host, "a-web")?, versions(host, "b-api")?];
    // What its tasks need is on one node only: they fail elsewhere, as the operator who includes it finds out.
    let failed = agent_json(host, 1, &[&SPREAD[..], &["--with-volumes"]].concat())?;
    println!("{failed:#}");
    ensure!(with(&failed, "failed") == ["d-bad"] && failed["attention"].to_string().contains("paused"), "{failed:#}");
    ensure!(placed(host, "e-late")? == [4], "it went on after a failure");
    ensure!(
        [versions(host, "a-web")?, versions(host, "b-api")?] == before,
        "what was updated before was updated again"
    );
    forgotten_by_the_host(&site)?;

    // The paused one is left, and would go on with another update.
    let state = versions(host, "d-bad")?;
    let rest = agent_json(host, 6, &SPREAD)?;
    ensure!(with(&rest, "spread") == ["e-late"] && with(&rest, "left").contains(&"d-bad"), "{rest:#}");
    ensure!(with(&rest, "held") == ["k-data"] && placed(host, "k-data")? == [2], "{rest:#}");
    ensure!(placed(host, "e-late")? == [1, 1, 2] && versions(host, "d-bad")? == state, "{rest:#}");
    let all: Vec<String> = all_versions(host)?;
    agent_json(host, 6, &SPREAD)?;
    ensure!(all_versions(host)? == all, "a second run changed something");
    ensure!(once(host)? == ran, "what had ended ran again");
    Ok(())
}

/// What was updated for these nodes is remembered by the swarm, whatever happens to the host that led it.
fn forgotten_by_the_host(site: &Site) -> Result<()> {
    let label = "--format={{index .Spec.Labels \"swarmdr.spread\"}}";
    for service in ["a-web", "b-api"] {
        let noted = site.manager.docker(&["service", "inspect", label, service])?;
        ensure!(noted.starts_with("1/"), "{service}: {noted}");
    }
    site.manager.sh("rm -rf /var/lib/swarmdr").map(drop)
}

/// Number of tasks that the job and the one-shot ever had.
fn once(host: &Host) -> Result<usize> {
    let tasks = host.docker(&["service", "ps", "--quiet", "h-job", "i-once"])?;
    Ok(tasks.lines().count())
}

fn update_state(host: &Host, service: &str) -> Result<String> {
    host.docker(&["service", "inspect", "--format={{with .UpdateStatus}}{{.State}}{{end}}", service])
}

fn versions(host: &Host, service: &str) -> Result<String> {
    host.docker(&["service", "inspect", "--format={{.Version.Index}}", service])
}

fn all_versions(host: &Host) -> Result<Vec<String>> {
    ["a-web", "b-api", "c-db", "d-bad", "e-late", "f-here", "g-all", "h-job", "i-once", "k-data"]
        .iter()
        .map(|service| versions(host, service))
        .collect()
}

/// Names of the services with this outcome.
fn with<'a>(report: &'a Value, outcome: &str) -> Vec<&'a str> {
    let services = report["services"].as_array().into_iter().flatten();
    services.filter(|line| line["outcome"] == outcome).filter_map(|line| line["service"].as_str()).collect()
}

/// Numbers of running tasks of a service on the nodes that have some, in rising order.
fn placed(host: &Host, service: &str) -> Result<Vec<usize>> {
    let filter = "--filter=desired-state=running";
    let nodes = host.docker(&["service", "ps", filter, "--format={{.Node}} {{.CurrentState}}", service])?;
    let mut on: BTreeMap<&str, usize> = BTreeMap::new();
    for (node, _) in nodes.lines().filter_map(|line| line.split_once(" Running")) {
        *on.entry(node).or_default() += 1;
    }
    let mut numbers: Vec<usize> = on.into_values().collect();
    numbers.sort_unstable();
    Ok(numbers)
}
