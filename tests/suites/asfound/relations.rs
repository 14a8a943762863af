//! Less usual ways in which units depend on the engine, and what else a stop of it could end or break.

use anyhow::{Result, ensure};
use swarmdr_tests::lab::{Engine, Host, IMAGE, Lab};

use super::{
    host::{LIMIT, invocations, json, manager, picture_at_rest, run, wait_for_picture},
    on_each_engine,
};

#[test]
fn units_that_hang_on_the_engine_in_other_ways_are_as_they_were() -> Result<()> {
    on_each_engine(on)
}

fn on(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let host = manager(&lab, engine, 61)?;
    one_that_is_about_to_start(&host)?;
    a_target(&host)?;
    one_that_the_engine_wants_and_is_off(&host)?;
    one_that_was_made_by_a_command(&host)?;
    a_socket_that_others_may_use(&host)?;
    an_engine_that_would_not_start_again(&host)?;
    an_agent_that_runs_in_a_container(&host)
}

/// A unit that is about to start, as at a boot: its start waits for something else, and a stop of the engine cancels
/// it.
fn one_that_is_about_to_start(host: &Host) -> Result<()> {
    host.write_file(
        "/etc/systemd/system/slow.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'until test -e /run/go; do sleep 1; done'\n",
    )?;
    host.write_file(
        "/etc/systemd/system/queued.service",
        "[Unit]\nRequires=docker.service\nAfter=docker.service slow.service\n[Service]\nExecStart=/bin/sleep infinity\n",
    )?;
    host.sh("rm -f /run/go; systemctl daemon-reload; systemctl start --no-block slow.service; systemctl start --no-block queued.service")?;
    let jobs = host.sh("systemctl list-jobs --no-legend")?;
    ensure!(jobs.contains("queued.service"), "its start is not queued: {jobs}");
    let invocation = "systemctl show --property=InvocationID docker.service";
    let before = host.sh(invocation)?;
    let running = host.spawn(&["swarmdr-agent", "backup"])?;
    host.wait_for("the engine to be back, and the unit to be asked for", LIMIT, || {
        let is_back =
            host.sh(invocation)? != before && host.sh("systemctl is-active docker.service || true")? == "active";
        Ok((is_back && host.sh("systemctl list-jobs --no-legend")?.contains("queued.service")).then_some(()))
    })?;
    host.sh("touch /run/go")?;
    let ended = running.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(0), "{ended:?}");
    host.wait_for("the unit that was about to start", LIMIT, || {
        Ok((host.sh("systemctl is-active queued.service || true")? == "active").then_some(()))
    })?;
    host.sh("systemctl stop queued.service; rm /etc/systemd/system/queued.service /etc/systemd/system/slow.service; systemctl daemon-reload")
        .map(drop)
}

/// A target that is active again, without the unit that it wants and that an operator has stopped.
fn a_target(host: &Host) -> Result<()> {
    host.write_file(
        "/etc/systemd/system/apps.target",
        "[Unit]\nRequires=docker.service\nAfter=docker.service\nWants=resting.service\n",
    )?;
    host.write_file("/etc/systemd/system/resting.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
    host.sh("systemctl daemon-reload; systemctl start apps.target; systemctl stop resting.service")?;
    let before = picture_at_rest(host)?;
    ensure!(before.contains("apps.target") && !before.contains("resting.service"), "{before}");
    run(host, "cold", "", &["backup"], 0)?;
    wait_for_picture(host, &before)?;
    let ended = host.run(&["env", "SWARMDRTEST_FAULT=kill@copying", "swarmdr-agent", "backup"])?;
    ensure!(ended.status.code().is_none_or(|code| code == 137), "it was not killed: {ended:?}");
    wait_for_picture(host, &before)?;
    run(host, "freeze", "", &["backup"], 0)?;
    host.sh("systemctl stop apps.target; rm /etc/systemd/system/apps.target /etc/systemd/system/resting.service; systemctl daemon-reload")
        .map(drop)
}

/// A unit that systemd starts with the engine. It is reported once, as it runs from then on.
fn one_that_the_engine_wants_and_is_off(host: &Host) -> Result<()> {
    host.write_file("/etc/systemd/system/helper.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
    host.write_file("/etc/systemd/system/docker.service.d/helper.conf", "[Unit]\nWants=helper.service\n")?;
    host.sh("systemctl daemon-reload")?;
    let planned = run(host, "cold", "", &["backup", "--dry-run"], 0)?.stdout;
    ensure!(planned.contains("helper.service is off, and is started with the engine"), "{planned}");
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    ensure!(report["attention"].to_string().contains("helper.service was off"), "{}", report["attention"]);
    run(host, "cold", "", &["backup"], 0)?;
    host.sh(
        "rm /etc/systemd/system/docker.service.d/helper.conf; systemctl daemon-reload; systemctl stop helper.service",
    )
    .map(drop)
}

/// A transient unit, which is gone once it is stopped.
fn one_that_was_made_by_a_command(host: &Host) -> Result<()> {
    host.sh(
        "systemd-run --unit=passing --property=BindsTo=docker.service --property=After=docker.service sleep infinity",
    )?;
    let there = invocations(host)?;
    for args in [&["backup", "--dry-run"][..], &["backup"]] {
        let refused = run(host, "cold", "", args, 4)?;
        ensure!(refused.stderr.contains("passing.service would be stopped with docker.service"), "{}", refused.stderr);
    }
    ensure!(invocations(host)? == there, "the engine was touched");
    run(host, "freeze", "", &["backup"], 0)?;
    host.sh("systemctl stop passing.service").map(drop)
}

/// A socket with mode 666, which many how-tos recommend.
fn a_socket_that_others_may_use(host: &Host) -> Result<()> {
    host.sh("chmod 666 /run/docker.sock")?;
    let report = json(&run(host, "cold", "", &["backup", "--json"], 6)?)?;
    ensure!(report["attention"].to_string().contains("had mode 666"), "{}", report["attention"]);
    run(host, "cold", "", &["backup"], 0).map(drop)
}

/// An engine whose configuration was broken since it was started.
fn an_engine_that_would_not_start_again(host: &Host) -> Result<()> {
    host.sh("mkdir -p /etc/docker; cp /etc/docker/daemon.json /root/ 2>/dev/null || true")?;
    host.write_file("/etc/docker/daemon.json", "{\"debug\": false,}")?;
    let there = invocations(host)?;
    for args in [&["backup", "--dry-run"][..], &["backup"], &["restore", "--latest", "--force"]] {
        let refused = run(host, "cold", "", args, 4)?;
        ensure!(refused.stderr.contains("/etc/docker/daemon.json cannot be read"), "{}", refused.stderr);
    }
    ensure!(invocations(host)? == there, "the engine was touched");
    run(host, "freeze", "", &["backup"], 0)?;
    host.sh("rm /etc/docker/daemon.json; cp /root/daemon.json /etc/docker/ 2>/dev/null || true").map(drop)
}

/// An agent in a container: a process that enters the host from there stays in the container's cgroup.
fn an_agent_that_runs_in_a_container(host: &Host) -> Result<()> {
    host.sh(&format!("docker run -d --init --name console {IMAGE} sleep 1000000"))?;
    let inside = "pid=$(docker inspect -f '{{.State.Pid}}' console)
         group=$(sed -n 's/^0:://p' /proc/$pid/cgroup)
         sh -c 'echo $$ >/sys/fs/cgroup/'\"$group\"'/cgroup.procs; exec swarmdr-agent backup' || echo \"exit $?\" >&2";
    let there = invocations(host)?;
    let ran = host.run(&["sh", "-uc", inside])?;
    ensure!(ran.stderr.contains("exit 4") && ran.stderr.contains("it would end itself"), "{ran:?}");
    ensure!(invocations(host)? == there, "the engine was touched");
    host.sh("docker rm -f console").map(drop)
}
