//! Restores that are interrupted, at any point.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, Role, addr, wait_for},
    s3::Release,
    scenario::{Site, agent, agent_json, describe_swarm},
};

use super::{OLD, RESTORE, STATE, ensure_no_trace, ensure_nothing_left, fresh, lasting, text};

/// Limit for the rest of a second engine to go away by itself after its agent was killed.
const GONE: Duration = Duration::from_secs(60);

/// Points at which a run is killed, and whether the next one finishes it; otherwise that one starts again.
const POINTS: [(&str, bool); 12] = [
    ("fetch", false),
    ("stage", false),
    ("form", false),
    ("stop-noted", false),
    ("aside-noted", false),
    ("start-noted", false),
    ("join-noted", false),
    ("joined", false),
    ("demote-noted", false),
    ("demoted", true),
    ("remove-noted", true),
    ("confirm-noted", true),
];

#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    PowerCut,
}

fn points() -> Vec<(&'static str, bool, End)> {
    let around: Vec<_> = POINTS.into_iter().filter(|(point, _)| ["joined", "demoted"].contains(point)).collect();
    let with = |points: Vec<(&'static str, bool)>, end| points.into_iter().map(move |(at, done)| (at, done, end));
    match full() {
        true => with(around, End::PowerCut).chain(with(POINTS.to_vec(), End::Kill)).collect(),
        false => with(around, End::Kill).collect(),
    }
}

fn kill(host: &Host, point: &str) -> Result<()> {
    let fault = format!("SWARMDRTEST_FAULT=kill@{point}");
    let killed = host.run(&[&["env", &fault, "swarmdr-agent"], &RESTORE[..], &["--force"]].concat())?;
    ensure!(killed.stderr.contains(&format!("fault: kill at {point}")), "{point}: {}", killed.stderr);
    wait_for("nothing to be left", GONE, || Ok(ensure_nothing_left(host).ok()))
        .or_else(|_| ensure_nothing_left(host))
        .with_context(|| format!("after a kill at {point}"))
}

/// Cuts the power at a point. That leaves a directory, which the next run removes.
fn cut_power(host: &mut Host, point: &str) -> Result<()> {
    let fault = format!("SWARMDRTEST_FAULT=hang@{point}");
    let mut running = host.spawn(&[&["env", &fault, "swarmdr-agent"], &RESTORE[..], &["--force"]].concat())?;
    let told = format!("fault: hang at {point}");
    wait_for("the agent to hang", GONE * 3, || {
        ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
        Ok(running.stderr()?.contains(&told).then_some(()))
    })?;
    host.kill()?;
    drop(running);
    host.boot()?;
    host.wait_engine()
}

#[tokio::test]
async fn a_run_that_is_killed_is_finished_or_undone_by_the_next() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let before = leave(&site)?;
    let mut host = fresh(&site, Engine::E26_1)?;
    for (point, finishes, end) in points() {
        reset(&host)?;
        let old = describe_swarm(&host)?;
        match end {
            End::Kill => kill(&host, point)?,
            End::PowerCut => cut_power(&mut host, point)?,
        }
        if !finishes {
            // This run puts the old swarm back first, then fails and leaves it.
            let failing = ["env", "SWARMDRTEST_FAULT=panic@demote-noted", "swarmdr-agent"];
            let failed = host.run(&[&failing[..], &RESTORE, &["--force"]].concat())?;
            ensure!(failed.stderr.contains("what was there before is back"), "{point}: {}", failed.stderr);
            ensure_nothing_left(&host)?;
            host.wait_manager()?;
            ensure!(describe_swarm(&host)? == old, "{point}: the old swarm is not back");
        }
        let report = agent_json(&host, 0, &[&RESTORE[..], &["--force"][..if finishes { 0 } else { 1 }]].concat())?;
        ensure!(report["finished_earlier_run"] == finishes, "{point}: {report:#}");
        ensure!(text(&report, "/result")? == "done", "{point}: {report:#}");
        ensure!(lasting(&host)? == before, "{point}");
        ensure_no_trace(&host).with_context(|| point.to_owned())?;
        ensure_nothing_left(&host)?;
        println!("{end:?} at {point}: {}", if finishes { "finished" } else { "undone, and done again" });
    }
    Ok(())
}

/// The run is killed once this host alone has the swarm; managers join it, and the next run comes at a later boot.
#[tokio::test]
async fn a_swarm_that_is_used_after_a_cut_is_not_put_away() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    leave(&site)?;
    let mut host = fresh(&site, Engine::E26_1)?;
    let spec = |n: u8| HostSpec::new(&format!("m{n}"), Engine::E26_1, addr(n));
    let others = site.lab.boot_all([spec(21), spec(22)])?;
    let points: &[&str] =
        if full() { &["demoted", "remove-noted", "confirm-noted", "finished"] } else { &["confirm-noted"] };
    for point in points {
        reset(&host)?;
        kill(&host, point)?;
        host.wait_manager()?;
        let old = host.sh("docker node ls --format '{{.ID}} {{.Self}}' | grep false | cut -d' ' -f1 || true")?;
        if !old.is_empty() {
            host.docker(&["node", "rm", "--force", &old])?;
        }
        for other in &others {
            other.join(&host, Role::Manager)?;
        }
        host.create_secret("of-a-later-day", b"x")?;
        for _ in 0..2 {
            host.reboot()?;
            let run = agent(&host, &[&RESTORE[..], &["--wait", "2m", "--json"]].concat())?;
            ensure!(matches!(run.status.code(), Some(0 | 4 | 6)), "{point}: {:?} {}", run.status.code(), run.stderr);
            host.wait_manager()?;
            host.wait_for("all three managers to be reachable", GONE * 2, || {
                let managers = host.docker(&["node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"])?;
                let well = ["Ready Leader", "Ready Reachable"];
                Ok((managers.lines().filter(|line| well.contains(line)).count() == 3).then_some(()))
            })
            .with_context(|| format!("{point}: {}{}", run.stdout, run.stderr))?;
            ensure!(
                describe_swarm(&host)?.iter().any(|line| line.contains("of-a-later-day")),
                "{point}: {}",
                run.stderr
            );
        }
        for other in &others {
            other.docker(&["swarm", "leave", "--force"])?;
        }
        println!("cut at {point}, used, and left alone");
    }
    Ok(())
}

fn leave(site: &Site) -> Result<Vec<String>> {
    let host = site.lab.boot(HostSpec::new("old", Engine::E26_1, addr(OLD)))?;
    host.swarm_init()?;
    host.create_overlay("backend")?;
    host.create_secret("db-password", b"correct horse battery staple")?;
    site.set_up_manager(&host)?;
    agent_json(&host, 0, &["backup"])?;
    let before = lasting(&host)?;
    host.destroy()?;
    Ok(before)
}

/// Makes another swarm on the host, which is not to be lost.
fn reset(host: &Host) -> Result<()> {
    host.sh(&format!(
        "systemctl stop docker.socket docker.service; systemctl reset-failed docker.service
         rm -rf {STATE}* /var/lib/docker/.swarmdr
         systemctl start docker.socket docker.service"
    ))?;
    host.wait_engine()?;
    host.swarm_init()?;
    host.create_secret("of-the-old-swarm", b"x")
}
