//! Engines that do not do as they are told, and people and programs that interfere.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Background, Engine, Lab, Output},
    scenario::agent_with_faults,
};

use super::manager::{LIMIT, MAX_PAUSE, Manager};

#[test]
fn an_engine_that_does_not_obey_is_up_in_the_end_and_told_of() -> Result<()> {
    let (lab, agent) = (Lab::new()?, agent_with_faults()?);
    thread::scope(|scope| {
        let engines = [(Engine::E20_10, 11), (Engine::E28_5, 12)].map(|(engine, last)| {
            let (lab, agent) = (&lab, &agent);
            scope.spawn(move || {
                let manager = Manager::boot(lab, engine, last, agent)?;
                try_all(&manager).with_context(|| format!("{engine:?}"))
            })
        });
        let ended = engines.map(|engine| engine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.into_iter().collect()
    })
}

fn try_all(manager: &Manager) -> Result<()> {
    poked_all_the_time(manager)?;
    started_by_somebody(manager)?;
    thawed_by_somebody(manager)?;
    refuses_to_stop(manager)?;
    refuses_to_start(manager)?;
    the_agent_hangs(manager)?;
    the_disk_hangs_under_a_freeze(manager)?;
    manager.backup("cold", "", 0)?;
    manager.check_tidy()?;
    manager.check_intact()
}

fn end(manager: &Manager, run: Background, said: &[&str]) -> Result<Output> {
    let ended = run.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    for part in said {
        ensure!(ended.stderr.contains(part), "`{part}` is not in: {}", ended.stderr);
    }
    ensure!(ended.stdout.is_empty(), "a failed backup printed a report: {}", ended.stdout);
    manager.wait_until_back()?;
    Ok(ended)
}

/// Runs `docker ps` in a loop during a cold backup that takes its time.
fn poked_all_the_time(manager: &Manager) -> Result<()> {
    let script = "n=0; while :; do timeout 2 docker ps >/dev/null 2>&1 || n=$((n + 1)); echo $n >/run/pokes; done";
    let poking = manager.host.spawn(&["sh", "-c", script])?;
    let report = manager.backup("cold", "pause4@copying", 0)?;
    let in_vain: u64 = manager.host.sh("cat /run/pokes")?.parse()?;
    drop(poking);
    ensure!(in_vain > 0, "nobody knocked while the engine was away");
    ensure!(ms(&report, "ours_ms") >= 4000, "{report:#}");
    println!(
        "{:?}: docker ps knocked {in_vain} times in vain, and the engine stayed away for the copy",
        manager.host.engine()
    );
    manager.check_intact()?;
    manager.check_tidy()
}

fn started_by_somebody(manager: &Manager) -> Result<()> {
    let mut run = manager.spawn("cold", "pause4@copying")?;
    manager.wait_for_fault(&mut run)?;
    manager.host.sh("systemctl start docker.service")?;
    end(manager, run, &["docker.service was started by someone else", "discarded", "journalctl -u docker"])?;
    manager.check_intact()?;
    manager.check_tidy()
}

fn thawed_by_somebody(manager: &Manager) -> Result<()> {
    let config = format!("[backup]\nmax_pause = {MAX_PAUSE}\nmax_freeze_ms = 2000\n");
    manager.host.write_file("/etc/swarmdr/agent.toml", config)?;
    // On a busy machine the thaw may come too late, when the backup is made.
    let mut late = 0;
    loop {
        let mut run = manager.spawn("freeze", "pause1@copying")?;
        manager.wait_for_fault(&mut run)?;
        manager.host.sh("systemctl thaw docker.service")?;
        let ended = run.wait(LIMIT)?;
        if ended.status.code() == Some(1) && ended.stderr.contains("docker.service was thawed by someone else") {
            break;
        }
        late += 1;
        ensure!(ended.status.code() == Some(0) && late < 10, "{ended:?}");
    }
    manager.host.write_file("/etc/swarmdr/agent.toml", format!("[backup]\nmax_pause = {MAX_PAUSE}\n"))?;
    manager.check_intact()?;
    manager.check_tidy()
}

/// The engine ignores the signal to stop until systemd sends SIGKILL when the unit's own timeout is over. (A SIGSTOP
/// would not do: systemd sends SIGCONT after SIGTERM.)
fn refuses_to_stop(manager: &Manager) -> Result<()> {
    drop_in(manager, &format!("KillSignal=SIGWINCH\nTimeoutStopSec={}", MAX_PAUSE + 5))?;
    let run = manager.spawn("cold", "")?;
    let limit = format!("did not stop within {MAX_PAUSE} s (backup.max_pause)");
    end(manager, run, &[&limit, "raise backup.max_pause", "the engine runs again"])?;
    drop_in(manager, "")?;
    manager.check_intact()?;
    manager.check_tidy()
}

/// The engine is kept from starting, but no longer when the failsafe fires, which then does what the agent could not.
fn refuses_to_start(manager: &Manager) -> Result<()> {
    let mut run = manager.spawn("cold", "pause1@copying")?;
    manager.wait_for_fault(&mut run)?;
    drop_in(manager, "ExecStartPre=/bin/false")?;
    let ended = run.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    for part in ["docker.service did not start", "the failsafe starts it in", "start it by hand"] {
        ensure!(ended.stderr.contains(part), "`{part}` is not in: {}", ended.stderr);
    }
    let timers = manager.host.sh("systemctl list-units --plain --no-legend 'swarmdr-failsafe-*.timer' | wc -l")?;
    ensure!(timers == "1", "the failsafe is not armed any more");
    drop_in(manager, "")?;
    manager.wait_until_back()?;
    manager.check_intact()?;
    let next = manager.backup("freeze", "", 0)?;
    let told = super::manager::notes(&next);
    ensure!(told.contains("failed, and the engine was not running") && !told.contains("was killed"), "{next:#}");
    manager.check_tidy()
}

/// Both threads of the agent hang for longer than the engine may be down.
fn the_agent_hangs(manager: &Manager) -> Result<()> {
    let mut run = manager.spawn("cold", &format!("pause{}@copied", MAX_PAUSE + 6))?;
    manager.wait_for_fault(&mut run)?;
    let back = manager.wait_until_back()?;
    ensure!(run.finished()?.is_none(), "the agent did not hang");
    let (engine, back) = (manager.host.engine(), back.as_secs_f64());
    println!("{engine:?}: the agent hangs, and the failsafe has the engine answering after {back:.1} s");
    end(manager, run, &["discarded", "no backup was made; the engine runs again"])?;
    manager.check_intact()?;
    manager.check_tidy()
}

/// Only the copying thread hangs, in both attempts.
fn the_disk_hangs_under_a_freeze(manager: &Manager) -> Result<()> {
    let started = manager.host.sh("docker ps --quiet --no-trunc | sort")?;
    let mut run = manager.spawn("freeze", "pause4@copying")?;
    manager.wait_for_fault(&mut run)?;
    let back = manager.wait_until_back()?;
    ensure!(back < Duration::from_secs(4), "only the thread that hung brought the engine back, after {back:.1?}");
    end(manager, run, &["one more try", "had been down for 1000 ms", "mode = \"cold\""])?;
    ensure!(manager.host.sh("docker ps --quiet --no-trunc | sort")? == started, "containers were restarted");
    manager.check_tidy()
}

fn drop_in(manager: &Manager, line: &str) -> Result<()> {
    let unit = format!("[Service]\n{line}\n");
    manager.host.write_file("/etc/systemd/system/docker.service.d/stubborn.conf", unit)?;
    manager.host.sh("systemctl daemon-reload")?;
    Ok(())
}

fn ms(report: &Value, key: &str) -> u64 {
    report["downtime"][key].as_u64().unwrap_or_default()
}
