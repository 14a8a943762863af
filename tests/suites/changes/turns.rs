//! Several managers: one backup for each change, and another manager if the first does not make it.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, Role},
    scenario::text,
};

use super::site::{UNIT, backups, boot, set_up, settings, site, wait_for_backups, wait_for_secret};

#[tokio::test]
async fn one_manager_backs_a_change_up_and_another_takes_over() -> Result<()> {
    let site = site().await?;
    let mut hosts = Vec::new();
    for last in [11, 12, 13] {
        let host = boot(&site.lab, Engine::E26_1, last)?;
        match hosts.first() {
            None => host.swarm_init()?,
            Some(first) => host.join(first, Role::Manager)?,
        }
        set_up(&site, &host, &settings())?;
        hosts.push(host);
    }
    for host in &hosts {
        host.sh(&format!("systemctl start {UNIT}"))?;
    }
    let [leader, ..] = &hosts[..] else { unreachable!("three were booted") };
    wait_for_backups(leader, 1)?;
    for round in 0..3 {
        leader.create_secret(&format!("s{round}"), b"x")?;
        wait_for_secret(leader, &format!("s{round}"))?;
    }
    let all = backups(leader)?;
    ensure!(all.len() == 4, "managers made more than one backup of a change: {all:#?}");
    let maker = text(&all[0], "/hostname")?.to_owned();
    ensure!(all.iter().all(|backup| backup["hostname"] == maker.as_str()), "they took turns: {all:#?}");
    let Some(maker) = hosts.iter().find(|host| host.name() == maker) else {
        anyhow::bail!("{maker} is no host");
    };

    // Its agent no longer works; its engine does.
    maker.sh(&format!("systemctl stop {UNIT}"))?;
    leader.create_secret("taken-over", b"x")?;
    wait_for_secret(leader, "taken-over")?;
    let newest = backups(leader)?;
    ensure!(newest[0]["hostname"] != maker.name(), "it made it all the same: {newest:#?}");
    ensure!(newest.len() == 5, "{newest:#?}");
    others_are_quiet(&hosts, maker)
}

/// A manager that has nothing to do reports no failure.
fn others_are_quiet(hosts: &[Host], stopped: &Host) -> Result<()> {
    for host in hosts.iter().filter(|host| host.name() != stopped.name()) {
        let log = host.sh(&format!("journalctl -u {UNIT} -p warning --no-pager --quiet"))?;
        ensure!(log.is_empty(), "{}: {log}", host.name());
    }
    Ok(())
}
