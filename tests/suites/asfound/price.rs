//! A stop that may not end in time is not attempted, and one that failed is not repeated too soon.

use anyhow::{Result, ensure};
use swarmdr_tests::lab::{Engine, Host, IMAGE, Lab};

use super::{
    host::{LIMIT, MAX_PAUSE, configure, drop_in, json, manager, run},
    on_each_engine,
};

#[test]
fn the_price_of_a_stop_is_known_before_it_is_paid() -> Result<()> {
    on_each_engine(on)
}

fn on(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let host = manager(&lab, engine, 31)?;
    configure(&host, "\n[schedule]\ncron = \"* * * * *\"\n")?;
    a_container_that_does_not_listen(&host)?;
    a_task_that_may_take_long(&host)?;
    a_unit_that_would_be_killed(&host)?;
    a_host_that_is_impatient(&host)?;
    not_twice_within_the_hour(&host)
}

fn a_container_that_does_not_listen(host: &Host) -> Result<()> {
    host.sh(&format!(
        "docker run -d --name deaf --stop-timeout 300 {IMAGE} sh -c 'trap \"\" TERM; while :; do sleep 1; done'"
    ))?;
    let there = engine(host)?;
    for args in
        [&["backup", "--dry-run"][..], &["backup"], &["backup", "--if-due"], &["restore", "--latest", "--force"]]
    {
        if args[0] == "restore" {
            // A backup to restore, made without a stop.
            run(host, "freeze", "", &["backup"], 0)?;
        }
        let refused = run(host, "cold", "", args, 4)?;
        for part in ["the container deaf", "300 s", "--stop-timeout"] {
            ensure!(refused.stderr.contains(part), "`{part}` is not in {}", refused.stderr);
        }
        ensure!(args[0] == "restore" || refused.stderr.contains("mode = \"freeze\""), "{}", refused.stderr);
    }
    ensure!(engine(host)? == there, "the engine was touched");
    host.sh("docker rm -f deaf; rm -rf /var/lib/swarmdr/*").map(drop)
}

/// A host with a short default timeout for all units, which says nothing about this engine and its containers.
fn a_host_that_is_impatient(host: &Host) -> Result<()> {
    let conf = "/etc/systemd/system.conf.d/test.conf";
    host.write_file(conf, "[Manager]\nDefaultTimeoutStopSec=10s\n")?;
    host.sh("systemctl daemon-reexec")?;
    run(host, "cold", "", &["backup", "--dry-run"], 0)?;
    drop_in(host, "docker.service", "TimeoutStopSec=infinity")?;
    run(host, "cold", "", &["backup", "--dry-run"], 0)?;
    drop_in(host, "docker.service", "")?;
    host.sh(&format!("rm {conf}; systemctl daemon-reexec")).map(drop)
}

/// A task with a long grace period. A stopping engine waits for the container's own stop timeout, which may or may not
/// be the grace period of the service.
fn a_task_that_may_take_long(host: &Host) -> Result<()> {
    host.sh(&format!(
        "docker service create --detach --no-resolve-image --init --name slow --stop-grace-period 200s {IMAGE} sleep 1000000"
    ))?;
    host.wait_containers("slow", 1)?;
    let id = "docker ps -q --filter label=com.docker.swarm.service.name=slow";
    let given = host.sh(&format!("docker inspect -f '{{{{.Config.StopTimeout}}}}' $({id})"))?;
    println!("{:?}: a task with a grace of 200 s has a stop timeout of {given}", host.engine());
    if given.contains("200") {
        let refused = run(host, "cold", "", &["backup", "--dry-run"], 4)?;
        ensure!(refused.stderr.contains("docker service update --stop-grace-period 10s slow"), "{}", refused.stderr);
    }
    host.sh("docker service rm slow")?;
    host.wait_for("the service to be gone", LIMIT, || Ok(host.sh(id)?.is_empty().then_some(())))
}

fn a_unit_that_would_be_killed(host: &Host) -> Result<()> {
    drop_in(host, "docker.service", "TimeoutStopSec=3")?;
    let there = engine(host)?;
    let refused = run(host, "cold", "", &["backup"], 4)?;
    ensure!(refused.stderr.contains("TimeoutStopSec="), "{}", refused.stderr);
    ensure!(engine(host)? == there, "the engine was touched");
    drop_in(host, "docker.service", "")
}

fn not_twice_within_the_hour(host: &Host) -> Result<()> {
    drop_in(host, "docker.service", &format!("KillSignal=SIGWINCH\nTimeoutStopSec={}", MAX_PAUSE + 5))?;
    run(host, "cold", "", &["backup", "--if-due"], 1)?;
    host.wait_manager()?;
    drop_in(host, "docker.service", "")?;
    let there = engine(host)?;
    for args in [&["backup", "--if-due"][..], &["backup", "--if-due", "--dry-run"]] {
        let refused = run(host, "cold", "", args, 4)?;
        for part in [
            "stopped once without a backup being made",
            "did not stop within",
            "the timer does not stop it again before",
        ] {
            ensure!(refused.stderr.contains(part), "`{part}` is not in {}", refused.stderr);
        }
    }
    ensure!(engine(host)? == there, "the engine was touched");
    let status = host.run(&["swarmdr-agent", "status"])?;
    ensure!(status.stdout.contains("CRITICAL the engine was stopped once"), "{status:?}");
    // An operator who has fixed the cause need not wait, and after that run the timer need not either.
    let tried = json(&run(host, "cold", "", &["backup", "--json"], 0)?)?;
    ensure!(tried["notes"].to_string().contains("this run was started by hand"), "{}", tried["notes"]);
    let status = host.run(&["swarmdr-agent", "status"])?;
    ensure!(!status.stdout.contains("the engine was stopped once"), "{status:?}");
    Ok(())
}

fn engine(host: &Host) -> Result<String> {
    host.sh("systemctl show --property=InvocationID,MainPID docker.service")
}
