//! Whatever ends a drill, nothing is left of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host},
    s3::Release,
    scenario::{Site, agent_json},
};

use super::{DRILL, TRACES, manager, nothing_is_left};

/// Time after which nothing may be left of a killed run.
const GONE_AFTER: Duration = Duration::from_secs(60);

const POINTS: [&str; 9] =
    ["fetch", "make", "drill-made", "stage", "drill-staged", "boot", "drill-booted", "drill-formed", "end"];

#[tokio::test]
async fn a_killed_drill_leaves_nothing() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let mut host = manager(&site, Engine::E26_1)?;
    agent_json(&host, 0, &["backup"])?;
    for (signal, expected) in [("kill", None), ("term", Some(1)), ("panic", Some(1))] {
        for point in POINTS {
            killed(&host, signal, point, expected).with_context(|| format!("{signal} at {point}"))?;
        }
    }
    let unit = "systemctl list-units --no-legend --plain 'swarmdr-second-*' | cut -d' ' -f1";
    let keeper = format!("systemctl show --property=MainPID --value $({unit})");
    ended_from_outside(&host, &keeper, "is gone").context("the keeper")?;
    ended_from_outside(&host, &format!("pgrep --parent $({keeper})"), "SIGKILL").context("the engine")?;
    a_power_cut(&mut host)?;
    let report = agent_json(&host, 0, &DRILL)?;
    ensure!(report["outcome"] == "proven", "{report:#}");
    nothing_is_left(&host)
}

fn killed(host: &Host, signal: &str, point: &str, expected: Option<i32>) -> Result<()> {
    let fault = format!("SWARMDRTEST_FAULT={signal}@{point}");
    let output = host.run(&[&["env", &fault, "swarmdr-agent"], &DRILL[..]].concat())?;
    ensure!(output.stderr.contains(&format!("fault: {signal} at {point}")), "{}", output.stderr);
    // A run that is asked to stop when only its receipt is missing ends successfully.
    let may_end_well = signal == "term" && point == "end";
    ensure!(may_end_well || !output.status.success(), "{output:?}");
    if let Some(code) = expected.filter(|_| !may_end_well) {
        ensure!(output.status.code() == Some(code), "{:?}: {}", output.status, output.stderr);
    }
    host.wait_for("nothing to be left", GONE_AFTER, || Ok(host.sh(TRACES)?.is_empty().then_some(())))
        .with_context(|| host.sh(TRACES).unwrap_or_default())
}

/// Kills a part of the second engine during a drill, as a kernel that is out of memory does. The drill fails, leaves
/// nothing, and does not say that the backup is bad.
fn ended_from_outside(host: &Host, victim: &str, words: &str) -> Result<()> {
    let drill = [&["env", "SWARMDRTEST_FAULT=pause5@drill-booted", "swarmdr-agent"], &DRILL[..]].concat();
    let mut running = host.spawn(&drill)?;
    host.wait_for("the pause", super::LIMIT, || {
        ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
        Ok(running.stderr()?.contains("fault: pause5").then_some(()))
    })?;
    host.sh(&format!("kill -9 $({victim})"))?;
    let output = running.wait(super::LIMIT)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.contains("nothing was proven") && output.stderr.contains(words), "{}", output.stderr);
    let failed = host.sh("swarmdr-agent list --json | grep -c '\"proven\": false' || true")?;
    ensure!(failed == "0", "a failed drill was written down: {}", output.stderr);
    nothing_is_left(host)
}

/// Cuts the power during a drill: the boot removes the directory on disk, as the package configures it.
fn a_power_cut(host: &mut Host) -> Result<()> {
    host.write_file(
        "/usr/lib/tmpfiles.d/swarmdr-agent.conf",
        include_str!("../../../packaging/tmpfiles/swarmdr-agent.conf"),
    )?;
    let words = [&["env", "SWARMDRTEST_FAULT=hang@drill-booted", "swarmdr-agent"], &DRILL[..]].concat();
    let mut running = host.spawn(&words)?;
    host.wait_for("the drill to hang", super::LIMIT, || {
        ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
        Ok(running.stderr()?.contains("fault: hang").then_some(()))
    })?;
    ensure!(host.sh("ls /var/lib/swarmdr/second")?.contains("drill-"), "there was to be a directory");
    host.reboot()?;
    drop(running);
    host.wait_manager()?;
    nothing_is_left(host)
}
