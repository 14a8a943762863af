//! Hosts with more units than the package's own two, and containers that do not come back.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::{Engine, Host, IMAGE, Lab};

use super::{
    host::{LIMIT, configure, invocations, json, manager, picture_at_rest, run, spawn, wait_for_picture},
    on_each_engine,
};

const WRAPPED: &str = "wrapped.service";

const LIST: &str = "/var/lib/swarmdr/found.json";

#[test]
fn what_is_not_as_usual_is_left_as_it_was_or_told() -> Result<()> {
    on_each_engine(on)
}

fn on(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let host = manager(&lab, engine, 41)?;
    configure(&host, "\n[engine]\nstart_timeout = 20\n")?;
    an_engine_that_somebody_stopped(&host)?;
    a_second_socket(&host)?;
    from_inside_a_unit_that_hangs_on_the_engine(&host)?;
    what_is_started_right_before_the_stop(&host)?;
    a_unit_that_waits_for_an_unlocked_swarm(&host)?;
    a_container_that_is_removed_at_its_end(&host)?;
    a_container_that_does_not_start(&host)?;
    a_list_that_cannot_be_read(&host)?;
    behind_a_wrapper(&host)
}

/// An engine that an operator stopped. Its socket listens, so a request would start it.
fn an_engine_that_somebody_stopped(host: &Host) -> Result<()> {
    host.sh("systemctl stop docker.service")?;
    for args in [&["backup"][..], &["backup", "--dry-run"]] {
        let refused = run(host, "cold", "", args, 4)?;
        ensure!(refused.stderr.contains("docker.service is stopped"), "{}", refused.stderr);
    }
    let state = host.sh("systemctl is-active docker.service docker.socket || true")?;
    ensure!(state == "inactive\nactive", "it was started: {state}");
    host.sh("systemctl reset-failed; systemctl start docker.service")?;
    host.wait_manager()
}

/// The `docker-tcp.socket` of many how-tos: if it is not active it stays so, and if it is active it stays active.
fn a_second_socket(host: &Host) -> Result<()> {
    host.write_file(
        "/etc/systemd/system/docker-tcp.socket",
        "[Socket]\nListenStream=127.0.0.1:2375\nService=docker.service\n[Install]\nWantedBy=sockets.target\n",
    )?;
    host.sh("systemctl daemon-reload; systemctl enable docker-tcp.socket")?;
    let off = picture_at_rest(host)?;
    run(host, "cold", "", &["backup"], 0)?;
    wait_for_picture(host, &off)?;
    host.sh(
        "systemctl stop docker.socket docker.service; systemctl start docker.socket docker-tcp.socket docker.service",
    )?;
    host.wait_manager()?;
    host.wait_containers("web", 1)?;
    let on = picture_at_rest(host)?;
    ensure!(on.contains("docker-tcp.socket"), "{on}");
    let report = json(&run(host, "cold", "", &["backup", "--json"], 0)?)?;
    ensure!(report["units"].to_string().contains("docker-tcp.socket"), "{}", report["units"]);
    wait_for_picture(host, &on)?;
    host.sh("systemctl stop docker.socket docker-tcp.socket docker.service; systemctl disable docker-tcp.socket; rm /etc/systemd/system/docker-tcp.socket; systemctl daemon-reload; systemctl start docker.socket docker.service")?;
    host.wait_manager()
}

/// A run in a unit that depends on the engine: it would be stopped with the engine that it stops.
fn from_inside_a_unit_that_hangs_on_the_engine(host: &Host) -> Result<()> {
    let agent = host.sh("command -v swarmdr-agent")?;
    unit(host, "inside.service", &format!("Type=oneshot\nExecStart={agent} backup"))?;
    let there = invocations(host)?;
    let started = host.run(&["systemctl", "start", "inside.service"])?;
    ensure!(!started.status.success(), "it was not refused: {started:?}");
    let log = host.sh("journalctl -u inside.service --no-pager | tail -n 30")?;
    ensure!(log.contains("which this runs in, hangs on docker.service"), "{log}");
    ensure!(invocations(host)? == there, "the engine was touched");
    host.sh("rm /etc/systemd/system/inside.service; systemctl daemon-reload; systemctl reset-failed").map(drop)
}

/// A unit and a container that are started after the plan was made and the failsafe was armed.
fn what_is_started_right_before_the_stop(host: &Host) -> Result<()> {
    unit(host, "late.service", "ExecStart=/bin/sleep infinity")?;
    let script = "/usr/local/bin/more";
    let more =
        format!("systemctl start late.service\ndocker run -d --init --name late {IMAGE} sleep 1000000 >/dev/null\n");
    host.write_file(script, format!("#!/bin/sh\n{more}"))?;
    host.sh(&format!("chmod +x {script}"))?;
    let program = format!("SWARMDRTEST_RUN={script}");
    let made = host.run(&["env", &program, "SWARMDRTEST_FAULT=run@armed", "swarmdr-agent", "backup", "--json"])?;
    ensure!(json(&made)?["notes"].to_string().contains("the container late did not come back"), "{made:?}");
    ensure!(host.sh("systemctl is-active late.service")? == "active", "it ran when the engine was stopped");
    host.sh("docker rm -f late; systemctl stop late.service").map(drop)
}

/// A unit whose start ends when the swarm works, which is locked until the agent unlocks it.
fn a_unit_that_waits_for_an_unlocked_swarm(host: &Host) -> Result<()> {
    let wait = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'until docker node ls; do sleep 1; done'";
    unit(host, "waits.service", wait)?;
    host.sh("systemctl start waits.service")?;
    host.docker(&["swarm", "update", "--autolock=true"])?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 0)?)?;
    let spent = report["phases"].as_array().context("a list")?.iter().filter_map(|phase| phase["ms"].as_u64());
    let spent: u64 = spent.sum();
    // The limit for a start is 20 s here.
    ensure!(spent < 20_000, "something was waited for in vain: {}", report["phases"]);
    ensure!(host.sh("systemctl is-active waits.service")? == "active", "it is not back");
    host.docker(&["swarm", "update", "--autolock=false"])?;
    host.sh("systemctl stop waits.service; rm /etc/systemd/system/waits.service; systemctl daemon-reload").map(drop)
}

/// Makes a unit that depends on the engine.
pub fn unit(host: &Host, name: &str, service: &str) -> Result<()> {
    let text = format!("[Unit]\nRequires=docker.service\nAfter=docker.service\n[Service]\n{service}\n");
    host.write_file(&format!("/etc/systemd/system/{name}"), text)?;
    host.sh("systemctl daemon-reload").map(drop)
}

fn a_container_that_is_removed_at_its_end(host: &Host) -> Result<()> {
    host.sh(&format!("docker run -d --init --rm --name shell {IMAGE} sleep 1000000"))?;
    let planned = run(host, "cold", "", &["backup", "--dry-run"], 0)?.stdout;
    ensure!(planned.contains("the container shell was run with --rm"), "{planned}");
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    ensure!(report["attention"].to_string().contains("the container shell is gone"), "{}", report["attention"]);
    // It is reported once: it cannot be brought back.
    ensure!(!is_there(host, LIST)?, "the list is still there");
    run(host, "cold", "", &["backup"], 0).map(drop)
}

/// A container that is reported by each run until it is back.
fn a_container_that_does_not_start(host: &Host) -> Result<()> {
    host.sh(&format!(
        "mkdir -p /srv/needed; docker run -d --init --name needs --mount type=bind,src=/srv/needed,dst=/x {IMAGE} sleep 1000000"
    ))?;
    configure(host, "\n[engine]\nstart_timeout = 20\n[schedule]\ncron = \"0 0 1 1 *\"\n")?;
    host.sh("rmdir /srv/needed")?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    ensure!(report["attention"].to_string().contains("the container needs ran before"), "{}", report["attention"]);
    ensure!(is_there(host, LIST)?, "what is not back is forgotten");
    let idle = json(&run(host, "cold", "", &["backup", "--if-due", "--json"], 6)?)?;
    ensure!(idle["because"].to_string().contains("no backup is due"), "{idle:#}");
    ensure!(idle["attention"].to_string().contains("the container needs"), "{idle:#}");
    host.sh("mkdir /srv/needed")?;
    run(host, "cold", "", &["backup", "--if-due"], 3)?;
    ensure!(host.docker(&["inspect", "-f", "{{.State.Running}}", "needs"])? == "true", "it was not started");
    ensure!(!is_there(host, LIST)?, "what is back is owed");
    host.sh("docker rm -f needs").map(drop)
}

/// A list that is damaged: the engine is started first, whatever the file contains.
fn a_list_that_cannot_be_read(host: &Host) -> Result<()> {
    let ended = spawn(host, "kill@copying")?.wait(LIMIT)?;
    ensure!(ended.status.code().is_none_or(|code| code == 137), "it was not killed: {ended:?}");
    host.write_file(LIST, "{")?;
    let next = host.run(&["swarmdr-agent", "backup", "--if-due"])?;
    ensure!(host.sh("systemctl is-active docker.service")? == "active", "{next:?}");
    ensure!(next.stderr.contains("cannot be read, so see for yourself"), "{next:?}");
    ensure!(is_there(host, "/var/lib/swarmdr/found.json.unreadable")?, "{next:?}");
    host.wait_manager()
}

/// A unit whose main process starts the engine and waits for it.
fn behind_a_wrapper(host: &Host) -> Result<()> {
    host.sh("systemctl disable --now docker.socket docker.service")?;
    host.write_file("/usr/local/bin/wrapped", "#!/bin/sh\n/usr/sbin/dockerd -H unix:///run/docker.sock &\nwait\n")?;
    host.write_file(
        &format!("/etc/systemd/system/{WRAPPED}"),
        "[Unit]\nAfter=containerd.service\n[Service]\nDelegate=yes\nExecStart=/usr/local/bin/wrapped\n",
    )?;
    host.sh(&format!("chmod +x /usr/local/bin/wrapped; systemctl daemon-reload; systemctl start {WRAPPED}"))?;
    host.wait_manager()?;
    host.wait_containers("web", 1)?;
    let refused = run(host, "cold", "", &["backup"], 4)?;
    for part in [format!("{WRAPPED} runs below its main process"), format!("if {WRAPPED} runs nothing but this engine")]
    {
        ensure!(refused.stderr.contains(&part), "`{part}` is not in {}", refused.stderr);
    }
    configure(host, &format!("\n[engine]\nservice = \"{WRAPPED}\"\nsocket_unit = \"\"\n"))?;
    let before = picture_at_rest(host)?;
    run(host, "cold", "", &["backup"], 0)?;
    wait_for_picture(host, &before)
}

fn is_there(host: &Host, path: &str) -> Result<bool> {
    Ok(host.run(&["test", "-e", path])?.status.success())
}
