//! The undo has a safety net against a journal that cannot be written, a disk that is full, and an agent that is killed
//! during the undo. Each time the engine runs again, on a whole state.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host},
    s3::Release,
    scenario::{Site, agent_json, agent_with_faults, describe_swarm},
};

use super::{LIMIT, RESTORE, fresh, full, generations, hangs, one_manager, reset};

/// Program that a failpoint runs, with the point as its argument.
const PROGRAM: &str = "/root/at-the-point";

/// Puts the engine's data on a disk of its own, which can be filled.
const SMALL_DISK: &str = "systemctl stop docker.socket docker.service containerd.service
    rm -rf /var/lib/docker; mkdir /var/lib/docker
    mount -t tmpfs -o size=900M,mode=710 tmpfs /var/lib/docker
    systemctl start containerd.service docker.socket docker.service";

/// Fills the disk: the journal's space is reserved, the engine's is gone.
const FILL: &str = "#!/bin/sh\ndd if=/dev/zero of=/var/lib/docker/filled bs=64k 2>/dev/null; true\n";

/// Makes the journal's directory read-only.
const READ_ONLY: &str = "#!/bin/sh\nmount --bind /var/lib/docker/.swarmdr /var/lib/docker/.swarmdr && mount -o remount,bind,ro /var/lib/docker/.swarmdr\n";

/// Result of a run that is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The state from before is back.
    Old,
    /// The backup is restored; its journal could not be completed.
    New,
}

/// Returns faults, the program for `run`, and the expected result.
fn failures() -> Vec<(String, &'static str, Expected)> {
    let mut all = vec![
        ("run@init-noted".to_owned(), FILL, Expected::Old),
        ("run@init-noted,panic@init-noted".to_owned(), READ_ONLY, Expected::Old),
        // The operator's terminal is closed.
        ("hup@place-noted".to_owned(), "", Expected::Old),
        ("hup@init-noted".to_owned(), "", Expected::Old),
    ];
    for error in ["enospc", "eio", "erofs"] {
        all.push((format!("panic@init-noted,{error}@journal-undo"), "", Expected::Old));
        for phase in ["stop", "aside", "place", "start", "init", "confirm"] {
            all.push((format!("{error}@journal-{phase}"), "", Expected::Old));
            all.push((format!("{error}@journal-{phase},{error}@journal-undo"), "", Expected::Old));
        }
        all.push((format!("{error}@journal-done"), "", Expected::New));
    }
    if full() {
        return all;
    }
    let sample = [
        "hup@init-noted",
        "run@init-noted",
        "panic@init-noted,enospc@journal-undo",
        "eio@journal-place,eio@journal-undo",
        "erofs@journal-done",
    ];
    all.retain(|(faults, program, _)| sample.contains(&faults.as_str()) || *program == READ_ONLY);
    all
}

#[tokio::test]
async fn a_note_that_cannot_be_written_keeps_nothing_from_coming_back() -> Result<()> {
    for engine in generations() {
        let (_site, host, before) = over_a_swarm(*engine).await?;
        host.sh(SMALL_DISK)?;
        for (faults, program, expected) in failures() {
            host.sh("umount /var/lib/docker/.swarmdr 2>/dev/null || true; rm -f /var/lib/docker/filled")?;
            reset(&host, true)?;
            let old = describe_swarm(&host)?;
            if !program.is_empty() {
                host.write_file(PROGRAM, program)?;
                host.sh(&format!("chmod 755 {PROGRAM}"))?;
            }
            let fault = format!("SWARMDRTEST_FAULT={faults}");
            let run = format!("SWARMDRTEST_RUN={PROGRAM}");
            let words = [&["env", &fault, &run, "swarmdr-agent"], &RESTORE[..], &["--force"]].concat();
            let ended = host.run(&words)?;
            let told = || format!("{engine:?}, {faults}: {:?} {}{}", ended.status.code(), ended.stdout, ended.stderr);
            ensure!(ended.stderr.contains("fault: "), "the fault did not happen: {}", told());
            ensure!(is_active(&host)?, "the engine does not run: {}", told());
            host.sh("rm -f /var/lib/docker/filled")?;
            host.wait_manager().with_context(told)?;
            let (code, wanted) = match expected {
                Expected::Old => (1, &old),
                Expected::New => (6, &before),
            };
            ensure!(ended.status.code() == Some(code), "{}", told());
            ensure!(describe_swarm(&host)? == *wanted, "another swarm: {}", told());
            let timers = host.sh("systemctl list-units --all --plain --no-legend 'swarmdr-failsafe-*'")?;
            ensure!(timers.is_empty(), "left armed: {timers}; {}", told());
            println!("{:8} {faults:48} exit {code}: {expected:?}", engine.version());
            // The next run must not make it worse: it refuses over the old swarm, and has nothing to do over the new
            // one.
            host.sh("umount /var/lib/docker/.swarmdr 2>/dev/null || true")?;
            let (code, result) = if expected == Expected::Old { (4, "") } else { (0, "") };
            agent_json(&host, code, &RESTORE).with_context(|| format!("{result}the run after it: {}", told()))?;
            ensure!(describe_swarm(&host)? == *wanted, "the next run changed it: {}", told());
        }
    }
    Ok(())
}

/// Points of the undo, and whether the engine is stopped there.
const WAY_BACK: [(&str, bool); 4] =
    [("undo-noted", false), ("undo-armed", false), ("undo-stopped", true), ("undone", true)];

#[tokio::test]
async fn an_agent_that_is_killed_on_the_way_back_leaves_an_engine_that_comes_back() -> Result<()> {
    for engine in generations() {
        let (site, host, before) = over_a_swarm(*engine).await?;
        site.configure(&host, &(site.config("s3://vault/prod") + "\n[engine]\nstop_timeout = 20\n"))?;
        for (point, is_stopped) in WAY_BACK.into_iter().filter(|(point, _)| full() || *point == "undo-stopped") {
            reset(&host, true)?;
            let old = describe_swarm(&host)?;
            let fault = format!("SWARMDRTEST_FAULT=panic@init-noted,hang@{point}");
            let mut running = host.spawn(&[&["env", &fault, "swarmdr-agent"], &RESTORE[..], &["--force"]].concat())?;
            hangs(&mut running)?;
            running.signal("KILL")?;
            drop(running);
            ensure!(is_active(&host)? != is_stopped, "at {point} the engine was to be stopped: {is_stopped}");
            host.wait_for("the failsafe to start the engine", LIMIT, || Ok(is_active(&host)?.then_some(())))?;
            let forced = [&RESTORE[..], &["--force"]].concat();
            let report = agent_json(&host, 0, &forced).with_context(|| format!("{engine:?}, killed at {point}"))?;
            ensure!(describe_swarm(&host)? == before, "{report:#}");
            let aside = host.sh("ls -d /var/lib/docker/swarm.before-*")?;
            let kept = aside.lines().any(|dir| host.sh(&format!("test -s {dir}/docker-state.json")).is_ok());
            ensure!(kept, "the old swarm is not kept: {aside}");
            println!(
                "{:8} killed at {point:14} engine back, {} lines of the old swarm kept",
                engine.version(),
                old.len()
            );
        }
    }
    Ok(())
}

/// The engine is kept from starting again: the copy is good anyway, and is stored.
#[tokio::test]
async fn a_good_copy_is_stored_although_the_engine_does_not_come_back() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let manager = one_manager(&site, Engine::E26_1)?;
    manager.install(&agent_with_faults()?)?;
    let broken = "/run/systemd/system/docker.service.d/broken.conf";
    manager.write_file(
        PROGRAM,
        format!("#!/bin/sh\nmkdir -p $(dirname {broken})\nprintf '[Service]\\nExecStartPre=/bin/false\\n' >{broken}\nsystemctl daemon-reload\n"),
    )?;
    manager.sh(&format!("chmod 755 {PROGRAM}"))?;
    let run = format!("SWARMDRTEST_RUN={PROGRAM}");
    let ended = manager.run(&["env", "SWARMDRTEST_FAULT=run@copied", &run, "swarmdr-agent", "backup"])?;
    ensure!(ended.status.code() == Some(1), "{:?} {}{}", ended.status.code(), ended.stdout, ended.stderr);
    ensure!(ended.stderr.contains("but the engine did not come back"), "{}", ended.stderr);
    manager.sh(&format!("rm {broken}; systemctl daemon-reload"))?;
    manager.wait_for("the failsafe to start the engine", LIMIT, || Ok(is_active(&manager)?.then_some(())))?;
    manager.wait_manager()?;
    // The next run sends it, and makes a backup of its own.
    let next = swarmdr_tests::scenario::agent(&manager, &["backup"])?;
    ensure!(matches!(next.status.code(), Some(0 | 6)), "{}{}", next.stdout, next.stderr);
    let listed = agent_json(&manager, 0, &["list"])?;
    ensure!(listed["backups"].as_array().is_some_and(|backups| backups.len() == 2), "{listed:#}");
    ensure!(listed["backups"][1]["proof"] == "proven", "{listed:#}");
    Ok(())
}

/// Makes a host to which a backup can be restored over another swarm.
async fn over_a_swarm(engine: Engine) -> Result<(Site, Host, Vec<String>)> {
    let site = Site::new(Release::V20).await?;
    let manager = one_manager(&site, engine)?;
    agent_json(&manager, 0, &["backup"])?;
    let before = describe_swarm(&manager)?;
    manager.destroy()?;
    let host = fresh(&site, engine)?;
    Ok((site, host, before))
}

fn is_active(host: &Host) -> Result<bool> {
    Ok(host.sh("systemctl is-active docker.service || true")? == "active")
}
