//! An interrupted restore that is run again much later: the swarm that it formed is in use, and nothing of it is lost.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json, agent_with_faults, describe_swarm},
};

use super::{LIMIT, RESTORE, fresh, full, generations, hangs, one_manager, reset, text};

const UNLOCK_KEY: &str = "/root/unlock-key";

/// Points at which the run is killed, from the formation of the swarm on. `finished` is after the journal is complete.
const POINTS: [&str; 6] = ["init", "init-noted", "confirm", "confirm-noted", "done", "finished"];

/// Returns how often user-data runs again, each time at a boot: often in the case in which two managers were once lost.
fn boots(point: &str) -> usize {
    if full() && point == "confirm-noted" { 10 } else { 2 }
}

/// Returns each point with and without autolock; by default only the case in which two managers were once lost, and one
/// of the others.
fn cases() -> Vec<(&'static str, bool)> {
    let all = POINTS.into_iter().flat_map(|point| [(point, true), (point, false)]);
    if full() { all.collect() } else { vec![("confirm-noted", true), ("done", false)] }
}

#[tokio::test]
async fn a_swarm_that_is_used_after_a_cut_loses_nothing_at_any_later_run() -> Result<()> {
    for engine in generations() {
        for locked in [true, false] {
            let site = Site::new(Release::V20).await?;
            let manager = one_manager(&site, *engine)?;
            let mut key = None;
            if locked {
                manager.docker(&["swarm", "update", "--autolock=true"])?;
                key = Some(manager.docker(&["swarm", "unlock-key", "-q"])?);
            }
            agent_json(&manager, 0, &["backup"])?;
            manager.destroy()?;
            let mut host = fresh(&site, *engine)?;
            let restore = user_data(&host, key.as_deref())?;
            let spec = |n: u8| HostSpec::new(&format!("m{n}"), *engine, addr(10 + n));
            let others = site.lab.boot_all([spec(2), spec(3)])?;
            for (point, _) in cases().into_iter().filter(|(_, wanted)| *wanted == locked) {
                let said = outlives(&mut host, &others, &restore, point)
                    .with_context(|| format!("{engine:?}, cut at {point}, autolocked: {locked}"))?;
                println!("{:8} cut at {point:14} autolocked: {locked:5}  {said}", engine.version());
                for other in &others {
                    other.docker(&["swarm", "leave", "--force"])?;
                }
                reset(&host, false)?;
            }
        }
    }
    Ok(())
}

/// Returns the command that an instance runs at each boot.
fn user_data(host: &Host, key: Option<&str>) -> Result<Vec<&'static str>> {
    let mut words = vec!["restore", "--latest", "--identity", IDENTITY, "--wait", "2m"];
    if let Some(key) = key {
        host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
        words.extend(["--unlock-key", UNLOCK_KEY]);
    }
    Ok(words)
}

fn outlives(host: &mut Host, others: &[Host], restore: &[&str], point: &str) -> Result<String> {
    let fault = format!("SWARMDRTEST_FAULT=hang@{point}");
    let mut running = host.spawn(&[&["env", &fault, "swarmdr-agent"], restore].concat())?;
    hangs(&mut running)?;
    running.signal("KILL")?;
    drop(running);
    if point.starts_with("init") {
        // The swarm was not formed yet, so the next run forms it. After the later points the swarm is in use at once.
        let told = agent(host, &["status", "--json"])?;
        ensure!(told.stdout.contains("was cut short in phase"), "status says nothing of it: {}", told.stdout);
        agent_json(host, 0, restore)?;
    }
    host.wait_manager()?;
    for other in others {
        other.join(host, Role::Manager)?;
    }
    host.create_secret("of-a-later-day", b"x")?;
    let mut said = Vec::new();
    let mut before = None;
    for _ in 0..boots(point) {
        host.reboot()?;
        let output = agent(host, &[restore, &["--json"]].concat())?;
        let code = output.status.code();
        ensure!(matches!(code, Some(0 | 4 | 6)), "it exited {code:?}: {}{}", output.stdout, output.stderr);
        said.push(format!("exit {}", code.unwrap_or_default()));
        host.wait_manager()?;
        let managers = host.wait_for("all three managers to be reachable", LIMIT, || {
            let listed = host.docker(&["node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"])?;
            let well = |line: &&str| {
                line.starts_with("Ready") && matches!(line.split(' ').nth(1), Some("Leader" | "Reachable"))
            };
            Ok((listed.lines().filter(well).count() == 3).then_some(listed))
        });
        managers.with_context(|| format!("after {said:?}: {}{}", output.stdout, output.stderr))?;
        for other in others {
            let state = other.docker(&["info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"])?;
            ensure!(state == "active true", "{} is {state}: {}", other.name(), output.stderr);
        }
        let now = describe_swarm(host)?;
        ensure!(now.iter().any(|line| line.contains("of-a-later-day")), "{now:#?}");
        ensure!(before.replace(now.clone()).is_none_or(|before| before == now), "it changed: {now:#?}");
    }
    Ok(said.join(", "))
}

/// The operator gave the restore up and made another swarm on this host, autolocked or not; at a boot that swarm does
/// not even work yet.
#[tokio::test]
async fn a_host_that_became_part_of_another_swarm_is_left_alone() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let manager = one_manager(&site, *engine)?;
        agent_json(&manager, 0, &["backup"])?;
        manager.destroy()?;
        let mut host = fresh(&site, *engine)?;
        let restore = user_data(&host, None)?;
        for autolock in [false, true] {
            reset(&host, false)?;
            let mut running = host
                .spawn(&[&["env", "SWARMDRTEST_FAULT=hang@confirm-noted", "swarmdr-agent"], &restore[..]].concat())?;
            hangs(&mut running)?;
            running.signal("KILL")?;
            drop(running);
            host.docker(&["swarm", "leave", "--force"])?;
            let lock = format!("--autolock={autolock}");
            host.docker(&["swarm", "init", &lock, "--advertise-addr", &host.addr().to_string()])?;
            let key = if autolock { host.docker(&["swarm", "unlock-key", "-q"])? } else { String::new() };
            host.create_secret("of-another-swarm", b"x")?;
            let before = describe_swarm(&host)?;
            for _ in 0..2 {
                host.reboot()?;
                let refused = agent_json(&host, 4, &restore)?;
                ensure!(text(&refused, "/error")?.contains("became part of another one"), "{refused:#}");
            }
            if autolock {
                host.wait_engine()?;
                host.sh(&format!("printf '%s\\n' '{key}' | docker swarm unlock"))?;
            }
            host.wait_manager()?;
            ensure!(describe_swarm(&host)? == before);
        }
        println!("{:8} another swarm was left alone", engine.version());
    }
    Ok(())
}

/// Kills a restore once the state is placed, and returns the host, and the description of the swarm that was backed up.
fn not_formed_yet(site: &Site, engine: Engine) -> Result<(Host, Vec<String>)> {
    let manager = one_manager(site, engine)?;
    let before = describe_swarm(&manager)?;
    agent_json(&manager, 0, &["backup"])?;
    manager.destroy()?;
    let host = fresh(site, engine)?;
    let hanging = ["env", "SWARMDRTEST_FAULT=hang@init-noted", "swarmdr-agent"];
    let mut running = host.spawn(&[&hanging[..], &RESTORE].concat())?;
    hangs(&mut running)?;
    running.signal("KILL")?;
    Ok((host, before))
}

/// A disk was copied, or a host was moved: the host that has the swarm's address by now is not known, so the swarm is
/// not formed.
#[tokio::test]
async fn a_restore_that_was_cut_is_not_formed_at_another_address() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let (host, before) = not_formed_yet(&site, *engine)?;
        host.sh("ip address add 10.77.0.19/24 dev host0; ip address del 10.77.0.11/24 dev host0; ip address add 10.77.0.19/24 dev host0 2>/dev/null || true")?;
        let there = "ls -A /var/lib/docker/swarm; systemctl show --property=InvocationID docker.service";
        let untouched = host.sh(there)?;
        let refused = agent_json(&host, 4, &RESTORE)?;
        let error = text(&refused, "/error")?;
        ensure!(error.contains("before its swarm was formed at 10.77.0.11") && error.contains("10.77.0.19"), "{error}");
        ensure!(host.sh(there)? == untouched, "something was touched");
        host.sh("ip address add 10.77.0.11/24 dev host0")?;
        agent_json(&host, 0, &RESTORE)?;
        host.wait_manager()?;
        ensure!(describe_swarm(&host)? == before);
        println!("{:8} not formed at another address", engine.version());
    }
    Ok(())
}

/// The decision about a state is checked again once its engine is stopped.
#[tokio::test]
async fn what_changes_right_before_the_stop_is_not_formed_again() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let (host, before) = not_formed_yet(&site, *engine)?;
        host.write_file("/root/change", "#!/bin/sh\nmv /var/lib/docker/swarm/certificates /root/\n")?;
        host.sh("chmod +x /root/change")?;
        let changing = ["env", "SWARMDRTEST_RUN=/root/change", "SWARMDRTEST_FAULT=run@stop", "swarmdr-agent"];
        let refused = host.run(&[&changing[..], &RESTORE].concat())?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        ensure!(refused.stderr.contains("changed while its engine was stopped"), "{}", refused.stderr);
        ensure!(host.sh("systemctl is-active docker.service || true")? == "active", "the engine is away: {refused:?}");
        host.sh("mv /root/certificates /var/lib/docker/swarm/")?;
        agent_json(&host, 0, &RESTORE)?;
        host.wait_manager()?;
        ensure!(describe_swarm(&host)? == before);
        println!("{:8} not formed from what had changed", engine.version());
    }
    Ok(())
}

/// The state on the disk is newer, the address comes late, and the engine says `error` until then.
#[tokio::test]
async fn a_newer_state_is_not_rolled_back_because_its_address_is_late() -> Result<()> {
    for engine in generations() {
        late_address(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

/// A terminal is closed while the engine is restarted for a swarm that stays in `error`: the engine runs again anyway.
fn interrupted_restart(host: &Host, restore: &[&str]) -> Result<()> {
    let words = [&["env", "SWARMDRTEST_FAULT=hup@restart-stopped", "swarmdr-agent"], restore].concat();
    let ended = host.run(&words)?;
    let told = format!("{:?} {}{}", ended.status.code(), ended.stdout, ended.stderr);
    ensure!(ended.stderr.contains("fault: hup at restart-stopped"), "the engine was not restarted: {told}");
    ensure!(ended.status.code() == Some(1) && told.contains("interrupted by a signal"), "{told}");
    ensure!(host.sh("systemctl is-active docker.service || true")? == "active", "the engine is away: {told}");
    let timers = host.sh("systemctl list-units --all --plain --no-legend 'swarmdr-failsafe-*'")?;
    ensure!(timers.is_empty(), "left armed: {timers}; {told}");
    Ok(())
}

async fn late_address(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    // The swarm listens on an address of its own; the vault is reached through the other.
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(15)))?;
    host.sh("ip address add 10.77.0.11/24 dev host0")?;
    host.docker(&["swarm", "init", "--listen-addr", "10.77.0.11:2377", "--advertise-addr", "10.77.0.11"])?;
    host.create_secret("first", b"1")?;
    site.set_up_manager(&host)?;
    agent_json(&host, 0, &["backup"])?;
    host.create_secret("a-day-of-work", b"2")?;
    let before = describe_swarm(&host)?;
    site.write_identity(&host)?;
    host.install(&agent_with_faults()?)?;

    host.sh("systemctl stop docker.socket docker.service; ip address del 10.77.0.11/24 dev host0; \
             systemctl start docker.socket docker.service")?;
    host.wait_for("the engine to say that its swarm does not work", LIMIT, || {
        Ok((host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "error").then_some(()))
    })?;
    // A run without `--wait` is refused, and nothing is touched.
    let restore = ["restore", "--latest", "--identity", IDENTITY];
    let refused = agent_json(&host, 4, &[&restore[..], &["--dry-run"]].concat())?;
    ensure!(text(&refused, "/error")?.contains("its own state may be newer"), "{refused:#}");
    interrupted_restart(&host, &restore)?;
    let running = host.spawn(&[&["swarmdr-agent"], &restore[..], &["--wait", "5m", "--json"]].concat())?;
    host.wait_for("it to wait for the address", LIMIT, || {
        Ok(running.stderr()?.contains("no interface of this host has 10.77.0.11").then_some(()))
    })?;
    host.sh("sleep 40; ip address add 10.77.0.11/24 dev host0")?;
    let ended = running.wait(LIMIT * 2)?;
    ensure!(ended.status.code() == Some(0), "{}{}", ended.stdout, ended.stderr);
    ensure!(ended.stdout.contains("already-there"), "{}{}", ended.stdout, ended.stderr);
    ensure!(describe_swarm(&host)? == before, "{}", ended.stderr);
    let aside = host.sh("ls -d /var/lib/docker/swarm.* || true")?;
    ensure!(!aside.contains("before"), "something was moved aside: {aside}");
    println!("{:8} the address came late, nothing was rolled back", engine.version());
    Ok(())
}
