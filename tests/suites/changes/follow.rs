//! What counts as a change, and how often backups follow.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, Service},
    scenario::{agent, agent_json, text},
};

use super::site::{
    DISTANCE, UNIT, backups, boot, if_changed, set_up, settings, site, wait_for_backups, wait_for_secret,
};

#[tokio::test]
async fn what_people_change_is_backed_up_and_what_the_engine_writes_is_not() -> Result<()> {
    let engines = if full() { &Engine::ALL[..] } else { &[Engine::E26_1] };
    for engine in engines {
        counted(*engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

async fn counted(engine: Engine) -> Result<()> {
    let site = site().await?;
    let host = boot(&site.lab, engine, 11)?;
    host.swarm_init()?;
    host.load_image()?;
    host.create_service(&Service { name: "web", replicas: 2, ..Service::default() })?;
    host.wait_containers("web", 2)?;
    set_up(&site, &host, &settings())?;
    let before = host.docker(&["ps", "--quiet", "--no-trunc"])?;
    host.sh(&format!("systemctl start {UNIT}"))?;
    // The first is made because there is none.
    wait_for_backups(&host, 1)?;
    ensure!(host.docker(&["ps", "--quiet", "--no-trunc"])? == before, "a container was restarted");

    // The engine writes for a while: tasks die and start, and the node goes down and comes back.
    tasks_die(&host)?;
    ensure!(if_changed(&host)?.status.code() == Some(3), "what the engine wrote counts");
    host.create_secret("first", b"x")?;
    wait_for_secret(&host, "first")?;
    ensure!(backups(&host)?.len() == 2, "something else was backed up: {:#?}", backups(&host)?);

    // Changes that no event tells of.
    for (count, change) in [
        (3, "docker swarm join-token --rotate --quiet worker"),
        (4, "docker swarm update --task-history-limit 3"),
        (5, "docker swarm update --autolock=true"),
        (6, "docker swarm unlock-key --rotate --quiet"),
        (7, "docker node update --label-add disk=ssd $(docker node ls --quiet)"),
    ] {
        host.sh(change)?;
        wait_for_backups(&host, count).with_context(|| change.to_owned())?;
    }
    // A backup by hand holds the change, and none follows it. The unit would be about to make one too.
    host.sh(&format!("systemctl stop {UNIT}"))?;
    host.create_secret("second", b"x")?;
    agent_json(&host, 0, &["backup"])?;
    host.wait_manager()?;
    host.sh(&format!("systemctl start {UNIT}"))?;
    let again = if_changed(&host)?;
    ensure!(again.status.code() == Some(3), "{}{}", again.stdout, again.stderr);
    // It outlives a stop of the engine. Until this host's lock is free the answer is 3.
    host.wait_for("another backup by hand", super::site::LIMIT, || {
        let made = agent(&host, &["backup"])?;
        ensure!(matches!(made.status.code(), Some(0 | 3)), "{}{}", made.stdout, made.stderr);
        Ok((made.status.code() == Some(0)).then_some(()))
    })?;
    host.wait_manager()?;
    ensure!(host.sh(&format!("systemctl is-active {UNIT}"))? == "active", "it did not outlive the engine's stop");
    host.create_secret("third", b"x")?;
    wait_for_secret(&host, "third")?;
    ensure!(backups(&host)?.len() == 10, "{:#?}", backups(&host)?);
    let status = agent_json(&host, 0, &["status"])?;
    println!("{engine:?}: {}", status["result"]);
    Ok(())
}

/// Kills each container of the service until others run in their place, twice.
fn tasks_die(host: &Host) -> Result<()> {
    let list = "docker ps --quiet --filter label=com.docker.swarm.service.name=web";
    for _ in 0..2 {
        let old = host.sh(list)?;
        host.sh(&format!("docker kill $({list})"))?;
        host.wait_for("other tasks", super::site::LIMIT, || {
            let new = host.sh(list)?;
            Ok((new.lines().count() == 2 && new.lines().all(|id| !old.contains(id))).then_some(()))
        })?;
    }
    Ok(())
}

#[tokio::test]
async fn changes_without_a_pause_are_backed_up_and_not_too_often() -> Result<()> {
    let site = site().await?;
    let host = boot(&site.lab, Engine::E26_1, 11)?;
    host.swarm_init()?;
    set_up(&site, &host, &settings())?;
    host.sh(&format!("systemctl start {UNIT}"))?;
    wait_for_backups(&host, 1)?;
    // More often than `after`, for three times `at_most_every`.
    let begun = Instant::now();
    let mut made = 0;
    while begun.elapsed() < Duration::from_secs(3 * DISTANCE) {
        host.create_secret(&format!("s{made}"), b"x")?;
        made += 1;
        sleep(Duration::from_millis(500));
    }
    let meanwhile = backups(&host)?;
    ensure!(meanwhile.len() >= 2, "nothing was backed up while changes went on: {meanwhile:#?}");
    // The last change is not left behind.
    wait_for_secret(&host, &format!("s{}", made - 1))?;
    let all = backups(&host)?;
    let times: Vec<jiff::Timestamp> =
        all.iter().map(|backup| Ok(text(backup, "/created_at")?.parse()?)).collect::<Result<_>>()?;
    for pair in times.windows(2) {
        let distance = pair[0].duration_since(pair[1]).as_secs();
        ensure!(distance >= DISTANCE as i64 - 1, "{distance} s lie between two backups: {times:?}");
    }
    println!("{made} changes, {} backups", all.len());
    Ok(())
}

#[tokio::test]
async fn the_unit_says_what_is_missing() -> Result<()> {
    let site = site().await?;
    let host = boot(&site.lab, Engine::E26_1, 11)?;
    set_up(&site, &host, "")?;
    host.sh(&format!("systemctl start {UNIT}"))?;
    host.wait_for("it to give up", super::site::LIMIT, || {
        Ok((host.sh(&format!("systemctl is-failed {UNIT} || true"))? == "failed").then_some(()))
    })?;
    let log = host.journal(UNIT, 20)?;
    ensure!(log.contains("backups after changes are not configured"), "{log}");
    // On a host that is no manager it stays, and says so once.
    set_up(&site, &host, &settings())?;
    host.sh(&format!("systemctl reset-failed; systemctl restart {UNIT}"))?;
    host.wait_for("it to say so", super::site::LIMIT, || {
        Ok(host.journal(UNIT, 40)?.contains("changes of the swarm are not seen").then_some(()))
    })?;
    host.swarm_init()?;
    wait_for_backups(&host, 1)?;
    ensure!(host.journal(UNIT, 60)?.matches("changes of the swarm are not seen").count() == 1, "it said so again");
    let checks = |host: &Host| -> Result<String> { Ok(host.run(&["swarmdr-agent", "doctor"])?.stdout) };
    ensure!(checks(&host)?.contains(&format!("{UNIT} is disabled")), "{}", checks(&host)?);
    host.sh(&format!("systemctl enable {UNIT}"))?;
    ensure!(checks(&host)?.contains(&format!("{UNIT} is enabled and active")), "{}", checks(&host)?);
    // It ends at once when it is asked to.
    host.sh(&format!("systemctl stop {UNIT}"))?;
    ensure!(host.sh(&format!("systemctl show --value -p Result {UNIT}"))? == "success", "{}", host.journal(UNIT, 20)?);
    Ok(())
}
