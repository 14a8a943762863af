//! Units and people that start, stop or change the engine while a backup is running.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::{Engine, Host, IMAGE, Lab, Output};

use super::{
    host::{
        LIMIT, configure, drop_in, invocations, json, manager, picture, picture_at_rest, run, spawn, wait_for_picture,
    },
    odd::unit,
    on_each_engine,
};

const SCRIPT: &str = "/usr/local/bin/meanwhile";

#[test]
fn what_others_do_meanwhile_is_respected_and_told() -> Result<()> {
    on_each_engine(on)
}

fn on(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let host = manager(&lab, engine, 51)?;
    configure(&host, "\n[schedule]\ncron = \"* * * * *\"\n")?;
    an_engine_that_is_upheld(&host)?;
    a_unit_that_starts_the_engine_it_wants(&host)?;
    a_unit_that_fails_after_a_while(&host)?;
    a_container_that_its_unit_makes(&host)?;
    a_socket_that_was_given_up_since(&host)?;
    an_engine_that_somebody_restarts(&host)?;
    an_engine_that_somebody_stops(&host)?;
    a_swarm_that_somebody_locks(&host)?;
    a_run_that_is_killed_while_it_packs(&host)
}

/// An engine that systemd starts whenever it is not active.
fn an_engine_that_is_upheld(host: &Host) -> Result<()> {
    loose_unit(host, "keeper.service", "Upholds=docker.service", "ExecStart=/bin/sleep infinity")?;
    host.sh("systemctl start keeper")?;
    let there = invocations(host)?;
    for args in [&["backup", "--dry-run"][..], &["backup"], &["restore", "--latest", "--force"]] {
        if args[0] == "restore" {
            run(host, "freeze", "", &["backup"], 0)?;
        }
        let refused = run(host, "cold", "", args, 4)?;
        ensure!(refused.stderr.contains("keeper.service upholds docker.service"), "{}", refused.stderr);
    }
    ensure!(invocations(host)? == there, "the engine was touched");
    host.sh("systemctl stop keeper; rm /etc/systemd/system/keeper.service; systemctl daemon-reload").map(drop)
}

/// A unit that ends without its engine, and with which systemd starts the engine again.
fn a_unit_that_starts_the_engine_it_wants(host: &Host) -> Result<()> {
    loose_unit(
        host,
        "nag.service",
        "Wants=docker.service\nAfter=docker.service\nStartLimitIntervalSec=0",
        "ExecStart=/usr/bin/docker events\nRestart=always\nRestartSec=10ms",
    )?;
    host.sh("systemctl start nag")?;
    let before = picture_at_rest(host)?;
    let planned = run(host, "cold", "", &["backup", "--dry-run"], 0)?.stdout;
    ensure!(planned.contains("nag.service may start the engine while it is to be down"), "{planned}");
    // Which of the two starts the engine first is chance; in both cases nothing is left behind.
    let ended = backup(host, "cold")?;
    println!("{:?}: beside a unit that starts the engine: {:?}", host.engine(), ended.status.code());
    match ended.status.code() {
        Some(0) => {}
        Some(1) => ensure!(ended.stderr.contains("nag.service may have started it"), "{}", ended.stderr),
        _ => anyhow::bail!("{ended:?}"),
    }
    wait_for_picture(host, &before)?;
    host.sh("systemctl stop nag; rm /etc/systemd/system/nag.service; systemctl daemon-reload; rm -f /var/lib/swarmdr/absences.json")
        .map(drop)
}

/// A unit that is activating when the agent looks at it, and then fails.
fn a_unit_that_fails_after_a_while(host: &Host) -> Result<()> {
    host.sh("touch /run/well")?;
    unit(
        host,
        "wobbly.service",
        "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'test -e /run/well || { sleep 4; exit 1; }'",
    )?;
    host.sh("systemctl start wobbly; rm /run/well")?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    ensure!(report["attention"].to_string().contains("wobbly.service ran before"), "{}", report["attention"]);
    host.sh("touch /run/well")?;
    run(host, "freeze", "", &["backup"], 0)?;
    ensure!(host.sh("systemctl is-active wobbly")? == "active", "the next run starts it");
    host.sh("systemctl stop wobbly; rm /etc/systemd/system/wobbly.service; systemctl daemon-reload").map(drop)
}

/// A unit that makes a fresh container of the same name at each start.
fn a_container_that_its_unit_makes(host: &Host) -> Result<()> {
    unit(
        host,
        "made.service",
        &format!(
            "ExecStartPre=/bin/sleep 3\nExecStart=/usr/bin/docker run --init --rm --name made {IMAGE} sleep 1000000\n\
             ExecStop=/usr/bin/docker stop made"
        ),
    )?;
    host.sh("systemctl start made")?;
    host.wait_for("its container", LIMIT, || Ok(picture(host)?.contains("made running").then_some(())))?;
    let before = picture_at_rest(host)?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 0)?)?;
    ensure!(!report["attention"].to_string().contains("gone"), "{report:#}");
    wait_for_picture(host, &before)?;
    host.sh("systemctl stop made; rm /etc/systemd/system/made.service; systemctl daemon-reload").map(drop)
}

/// A container stays on the list for long, and by then the engine has other units.
fn a_socket_that_was_given_up_since(host: &Host) -> Result<()> {
    host.write_file(
        "/etc/systemd/system/docker-tcp.socket",
        "[Socket]\nListenStream=127.0.0.1:2375\nService=docker.service\n[Install]\nWantedBy=sockets.target\n",
    )?;
    host.sh("systemctl daemon-reload
         systemctl stop docker.socket docker.service
         systemctl reset-failed
         systemctl start docker.socket docker-tcp.socket docker.service
         mkdir -p /srv/needed")?;
    host.wait_manager()?;
    host.sh(&format!("docker run -d --init --name needs --mount type=bind,src=/srv/needed,dst=/x {IMAGE} sleep 1000000; rmdir /srv/needed"))?;
    configure(host, "\n[engine]\nstart_timeout = 20\n[schedule]\ncron = \"* * * * *\"\n")?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    let told = report["attention"].to_string();
    ensure!(told.contains("docker rm needs") && report["units"].to_string().contains("docker-tcp"), "{report:#}");
    host.sh(
        "systemctl stop docker-tcp.socket docker.socket docker.service; systemctl reset-failed; systemctl start docker.socket docker.service",
    )?;
    host.wait_manager()?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    ensure!(!report["units"].to_string().contains("docker-tcp"), "{}", report["units"]);
    ensure!(!report["attention"].to_string().contains("docker-tcp"), "{}", report["attention"]);
    ensure!(host.sh("systemctl is-active docker-tcp.socket || true")? == "inactive", "it was started again");
    host.sh("systemctl stop docker.service")?;
    for _ in 0..2 {
        let refused = run(host, "cold", "", &["backup", "--if-due"], 4)?;
        ensure!(refused.stderr.contains("docker.service is stopped"), "{}", refused.stderr);
    }
    ensure!(host.sh("systemctl is-active docker.service || true")? == "inactive", "a question started it");
    host.sh("systemctl reset-failed; systemctl start docker.service")?;
    host.wait_manager()?;
    host.sh("docker rm -f needs; rm /etc/systemd/system/docker-tcp.socket; systemctl daemon-reload")?;
    let report = json(&run(host, "freeze", "", &["backup", "--json"], 6)?)?;
    ensure!(report["attention"].to_string().contains("needs is gone"), "{}", report["attention"]);
    run(host, "freeze", "", &["backup"], 0).map(drop)
}

/// A restart by an operator, which has begun and takes a while.
fn an_engine_that_somebody_restarts(host: &Host) -> Result<()> {
    drop_in(host, "docker.service", "ExecStartPost=/bin/sleep 5")?;
    let before = picture_at_rest(host)?;
    let ended =
        meanwhile(host, "armed", "systemctl reset-failed; systemctl restart --no-block docker.service; sleep 1")?;
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    ensure!(ended.stderr.contains("docker.service was stopped or restarted by someone else"), "{}", ended.stderr);
    ensure!(ended.stderr.contains("the engine was not touched"), "{}", ended.stderr);
    host.wait_for("the restart to be done", LIMIT, || {
        Ok((host.sh("systemctl is-active docker.service || true")? == "active").then_some(()))
    })?;
    drop_in(host, "docker.service", "")?;
    wait_for_picture(host, &before)?;
    ensure!(absences(host)? == 0, "that was no absence of ours");
    Ok(())
}

/// An operator who stops the engine at that moment means it, so it stays stopped.
fn an_engine_that_somebody_stops(host: &Host) -> Result<()> {
    let ended = meanwhile(host, "armed", "systemctl stop docker.socket docker.service")?;
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    ensure!(ended.stderr.contains("docker.service was stopped or restarted by someone else"), "{}", ended.stderr);
    ensure!(host.sh("systemctl is-active docker.service || true")? == "inactive", "it was started: {}", ended.stderr);
    let timers = host.sh("systemctl list-units --all --plain --no-legend 'swarmdr-failsafe-*'")?;
    ensure!(timers.is_empty(), "left armed: {timers}");
    host.sh("systemctl reset-failed; systemctl start docker.socket docker.service")?;
    host.wait_manager()?;
    host.wait_containers("web", 1)
}

/// A swarm that an operator locks: the engine would come back locked, and the agent would not have its key.
fn a_swarm_that_somebody_locks(host: &Host) -> Result<()> {
    let there = invocations(host)?;
    for change in ["docker swarm update --autolock=true", "docker swarm unlock-key --rotate"] {
        let ended = meanwhile(host, "recheck", change)?;
        ensure!(ended.status.code() == Some(1), "{ended:?}");
        ensure!(ended.stderr.contains("was changed while its backup was being prepared"), "{}", ended.stderr);
        ensure!(invocations(host)? == there, "the engine was touched");
    }
    run(host, "cold", "", &["backup"], 0)?;
    host.sh("docker swarm update --autolock=false").map(drop)
}

/// A run that is killed while it packs: whatever killed it would kill the next one at the same point.
fn a_run_that_is_killed_while_it_packs(host: &Host) -> Result<()> {
    let ended = spawn(host, "kill@pack")?.wait(LIMIT)?;
    ensure!(ended.status.code().is_none_or(|code| code == 137), "it was not killed: {ended:?}");
    host.wait_manager()?;
    let there = invocations(host)?;
    let refused = host.wait_for("the next backup to be due", LIMIT, || {
        let ended = host.run(&["swarmdr-agent", "backup", "--if-due"])?;
        Ok((ended.status.code() != Some(3)).then_some(ended))
    })?;
    ensure!(refused.status.code() == Some(4), "{refused:?}");
    ensure!(refused.stderr.contains("stopped once without a backup being made"), "{}", refused.stderr);
    ensure!(invocations(host)? == there, "the engine was touched");
    // A run that had sealed the archive has made its backup.
    host.sh("rm /var/lib/swarmdr/absences.json")?;
    let ended = spawn(host, "kill@store")?.wait(LIMIT)?;
    ensure!(ended.status.code().is_none_or(|code| code == 137), "it was not killed: {ended:?}");
    let there = invocations(host)?;
    let sent = run(host, "cold", "", &["backup", "--if-due"], 0)?;
    ensure!(invocations(host)? == there, "the engine was touched");
    ensure!(!sent.stderr.contains("without a backup being made"), "{}", sent.stderr);
    ensure!(absences(host)? == 0, "it was counted");
    Ok(())
}

/// Returns how often the engine was down in vain since the last backup, from the agent's own record.
fn absences(host: &Host) -> Result<u64> {
    let noted = host.sh("cat /var/lib/swarmdr/absences.json 2>/dev/null || echo '{\"in_vain\":0}'")?;
    let noted: serde_json::Value = serde_json::from_str(&noted)?;
    noted["in_vain"].as_u64().with_context(|| format!("no number in {noted}"))
}

fn backup(host: &Host, mode: &str) -> Result<Output> {
    host.run(&["env", &format!("SWARMDR_BACKUP__MODE={mode}"), "swarmdr-agent", "backup"])
}

/// Runs a backup that runs this command at a failpoint.
fn meanwhile(host: &Host, point: &str, command: &str) -> Result<Output> {
    host.write_file(SCRIPT, format!("#!/bin/sh\n{command}\n"))?;
    host.sh(&format!("chmod +x {SCRIPT}"))?;
    let (program, fault) = (format!("SWARMDRTEST_RUN={SCRIPT}"), format!("SWARMDRTEST_FAULT=run@{point}"));
    host.run(&["env", &program, &fault, "swarmdr-agent", "backup"])
}

/// Makes a unit that does not depend on the engine, but has another relation to it.
fn loose_unit(host: &Host, name: &str, relation: &str, service: &str) -> Result<()> {
    host.write_file(&format!("/etc/systemd/system/{name}"), format!("[Unit]\n{relation}\n[Service]\n{service}\n"))?;
    host.sh("systemctl daemon-reload").map(drop)
}
