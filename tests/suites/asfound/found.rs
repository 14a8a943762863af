//! The same units are active and the same containers run afterwards, whatever stopped the engine and however that
//! ended.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, Lab, Role, addr},
};

use super::{
    host::{
        LIMIT, MAX_PAUSE, drop_in, furnish, invocations, json, manager, picture, picture_at_rest, run, spawn,
        wait_for_picture,
    },
    on_each_engine,
};

#[test]
fn what_ran_before_runs_again() -> Result<()> {
    on_each_engine(on)
}

fn on(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let host = manager(&lab, engine, 11)?;
    furnish(&host)?;
    let before = picture_at_rest(&host)?;
    ensure!(before.contains("app-chain.service") && !before.contains("app-off.service"), "{before}");
    told_before(&host, &before)?;
    left_alone_by_a_freeze(&host, &before)?;
    after_a_backup(&host, &before)?;
    after_kills(&host, &before)?;
    after_a_stop_that_failed(&host, &before)?;
    after_a_restore_that_was_undone(&host, &before)?;
    after_a_restore(&host, &before)?;
    after_a_recovery(&lab, &host, engine, &before)
}

fn told_before(host: &Host, before: &str) -> Result<()> {
    let there = invocations(host)?;
    let planned = json(&run(host, "cold", "", &["backup", "--dry-run", "--json"], 0)?)?;
    let units: Vec<&str> =
        planned["found"]["dependents"].as_array().context("a list")?.iter().filter_map(|it| it.as_str()).collect();
    for unit in ["app-requires", "app-binds", "app-part", "app-requisite", "app-chain"] {
        ensure!(units.contains(&format!("{unit}.service").as_str()), "{unit} is not in {units:?}");
    }
    ensure!(units.contains(&"app-tick.timer") && !units.contains(&"app-off.service"), "{units:?}");
    ensure!(planned["units"] == serde_json::json!(["docker.service"]), "the socket was off: {}", planned["units"]);
    let text = run(host, "cold", "", &["backup", "--dry-run"], 0)?.stdout;
    for part in
        ["app-chain.service hangs on the engine", "container plain has no restart policy", "container again ends"]
    {
        ensure!(text.contains(part), "`{part}` is not in {text}");
    }
    let doctor = host.run(&["swarmdr-agent", "doctor"])?.stdout;
    ensure!(doctor.contains("engine.found") && doctor.contains("app-binds.service hangs on"), "{doctor}");
    ensure!(invocations(host)? == there, "a dry run restarted something");
    wait_for_picture(host, before)
}

fn left_alone_by_a_freeze(host: &Host, before: &str) -> Result<()> {
    let there = invocations(host)?;
    run(host, "freeze", "", &["backup"], 0)?;
    ensure!(invocations(host)? == there, "a freeze restarted something");
    ensure!(picture(host)? == before, "a freeze changed what runs: {}", picture(host)?);
    Ok(())
}

fn after_a_backup(host: &Host, before: &str) -> Result<()> {
    let report = json(&run(host, "cold", "", &["backup", "--json"], 0)?)?;
    let notes = report["notes"].to_string();
    ensure!(notes.contains("container plain did not come back with the engine, and was started again"), "{notes}");
    ensure!(!notes.contains("container again "), "the engine itself starts that one: {notes}");
    // They are active at once: the run does not end before.
    for unit in ["app-requires", "app-binds", "app-part", "app-requisite", "app-chain"] {
        host.sh(&format!("systemctl is-active {unit}"))?;
    }
    ensure!(host.docker(&["inspect", "-f", "{{.State.Status}}", "resting"])? == "paused", "it was paused");
    wait_for_picture(host, before)?;
    check_nothing_owed(host)
}

/// Kills the agent at several points. While there is a failsafe, it brings everything back without another run of the
/// agent; after that, the next run does.
fn after_kills(host: &Host, before: &str) -> Result<()> {
    let points: &[&str] = if full() { &["armed", "copying", "copied", "back"] } else { &["copying", "back"] };
    for point in points {
        killed(host, point)?;
        wait_for_picture(host, before).with_context(|| format!("after a kill at {point}, by the failsafe"))?;
        run(host, "freeze", "", &["backup"], 0)?;
        wait_for_picture(host, before)?;
        check_nothing_owed(host)?;
    }
    // The failsafe is gone already, and the containers are not back.
    killed(host, "bring-back")?;
    let next = json(&run(host, "freeze", "", &["backup", "--json"], 0)?)?;
    ensure!(next["notes"].to_string().contains("container plain"), "{}", next["notes"]);
    wait_for_picture(host, before)?;
    // An operator stops one of the units after that: it stays stopped.
    killed(host, "bring-back")?;
    host.sh("systemctl is-active app-part && systemctl stop app-part")?;
    run(host, "freeze", "", &["backup"], 0)?;
    ensure!(host.sh("systemctl is-active app-part || true")? == "inactive", "somebody had stopped it");
    host.sh("systemctl start app-part")?;
    wait_for_picture(host, before)?;
    check_nothing_owed(host)
}

fn killed(host: &Host, point: &str) -> Result<()> {
    let ended = spawn(host, &format!("kill@{point}"))?.wait(LIMIT)?;
    ensure!(ended.status.code().is_none_or(|code| code == 137), "it was not killed at {point}: {ended:?}");
    Ok(())
}

fn after_a_stop_that_failed(host: &Host, before: &str) -> Result<()> {
    drop_in(host, "docker.service", &format!("KillSignal=SIGWINCH\nTimeoutStopSec={}", MAX_PAUSE + 5))?;
    let failed = run(host, "cold", "", &["backup"], 1)?;
    ensure!(failed.stderr.contains("did not stop within"), "{failed:?}");
    drop_in(host, "docker.service", "")?;
    wait_for_picture(host, before)?;
    check_nothing_owed(host)
}

fn after_a_restore_that_was_undone(host: &Host, before: &str) -> Result<()> {
    let undone = run(host, "cold", "panic@start-noted", &["restore", "--latest", "--force"], 1)?;
    ensure!(undone.stderr.contains("what was there before is back"), "{undone:?}");
    wait_for_picture(host, before)?;
    check_nothing_owed(host)
}

fn after_a_restore(host: &Host, before: &str) -> Result<()> {
    run(host, "cold", "", &["restore", "--latest", "--force"], 0)?;
    wait_for_picture(host, before)?;
    check_nothing_owed(host)
}

fn after_a_recovery(lab: &Lab, host: &Host, engine: Engine, before: &str) -> Result<()> {
    let second = lab.boot(HostSpec::new("m12", engine, addr(12)))?;
    second.join(host, Role::Manager)?;
    second.destroy()?;
    host.wait_for("the leader to be gone", LIMIT, || {
        Ok(host.docker(&["info", "--format", "{{.Swarm.Error}}"])?.contains("leader").then_some(()))
    })?;
    let plan = json(&run(host, "cold", "", &["recover-quorum", "--dry-run", "--json"], 0)?)?;
    ensure!(plan["found"]["dependents"].to_string().contains("app-chain.service"), "{plan:#}");
    run(host, "cold", "", &["recover-quorum"], 0)?;
    wait_for_picture(host, before)?;
    check_nothing_owed(host)
}

fn check_nothing_owed(host: &Host) -> Result<()> {
    let left = host.sh("ls /var/lib/swarmdr/found.json /var/lib/swarmdr/run.json 2>/dev/null || true")?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(())
}
